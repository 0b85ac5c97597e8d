"""What all of the desk's commands share: an example in --help, one sentence on stderr, exit codes 0, 1 and 2."""

import argparse
import sys
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError


class DeskCommand(BaseCommand):
    """`example` closes the help text."""

    example: ClassVar[str] = ""
    requires_system_checks = []  # a sentence about the command, not about the whole project

    def create_parser(
        self, prog_name: str, subcommand: str, **kwargs: Any
    ) -> CommandParser:  # Any: argparse's own
        parser = super().create_parser(
            prog_name, subcommand, epilog=f"example:\n  {self.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs,
        )  # fmt: skip
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:  # Any: Django's signature
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            why = CommandError(
                f"the database cannot be used ({_first_line(error)}); is it there, and migrated?"
            )
            self._stop(why)
        except CommandError as error:
            self._stop(error)
        return None

    def _stop(self, error: CommandError) -> None:
        """End with one sentence; inside another program (call_command) the exception itself is raised."""
        if not self._called_from_command_line:  # type: ignore[attr-defined]  # django-stubs does not know it
            raise error
        self.stderr.write(str(error))
        sys.exit(error.returncode)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
