"""site.yaml into the installation."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk import applying, siteconfig
from desk.management.commands._command import DeskCommand
from desk.siteconfig import FILE_BYTES_MAX, BadSite


class Command(DeskCommand):
    help = (
        "Make page, operators, components, checks, policies, alerts and templates what FILE says."
    )
    example = "./run manage apply site.yaml --dry-run"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="a site.yaml; - reads from standard input")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would change, and change nothing"
        )
        parser.add_argument(
            "--overwrite", action="store_true", help="let the file win over what was changed in the admin since"
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        path, dry_run = options["file"], options["dry_run"]
        name = "standard input" if path == "-" else Path(path).name
        try:
            site = siteconfig.parse(_text(path), around=applying.surroundings(), file=name)
        except BadSite as error:
            raise CommandError(str(error)) from None
        done = applying.apply(
            site, now=timezone.now(), dry_run=dry_run, overwrite=options["overwrite"]
        )
        for line in done.changes or ["nothing to change"]:
            self.stdout.write(line)
        for line in [*done.kept, *applying.notes(site)]:
            self.stdout.write(f"note: {line}")
        if dry_run and done.changes:
            self.stdout.write("note: this was a dry run; nothing was changed")


def _text(path: str) -> str:
    try:
        raw = sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if path == "-" else Path(path).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CommandError(
            f"{path} line {line}: a byte is not UTF-8; expected a text file in UTF-8"
        ) from None
