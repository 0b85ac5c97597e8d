"""Verify the audit's chain, or export it."""

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk import audit_views
from desk.management.commands._command import DeskCommand
from incidents import sealing


class Command(DeskCommand):
    help = "Verify the audit's chain from its first link, or print all of it as CSV."
    example = "./run manage audit verify\n  ./run manage audit export > audit.csv"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["verify", "export"])

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        if options["what"] == "export":
            for line in audit_views.lines():
                sys.stdout.write(line)
            return
        found = sealing.verify(now=timezone.now())
        if found.fault:
            raise CommandError(f"the audit does not hold: {found.fault}")
        self.stdout.write(
            f"{found.links} links hold, {found.unsealed} entries wait for their seal, head {found.head}"
        )
