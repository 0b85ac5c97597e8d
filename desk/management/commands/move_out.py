"""Everything as files, to take elsewhere."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk import moving_out
from desk.management.commands._command import DeskCommand


class Command(DeskCommand):
    help = (
        "Write everything that is here into FOLDER: each table as JSON and as CSV, site.yaml, subscribers.csv as "
        "import_subscribers takes it, and a manifest with counts and hashes. Addresses stand in it in the clear: only "
        "you may read the folder. Secrets (keys, passwords) are not in it."
    )
    example = "./run manage move_out leaving"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="FOLDER", type=Path, help="a name that is free")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        folder: Path = options["folder"]
        try:
            tables = moving_out.move_out(
                folder.absolute(), now=timezone.now(), say=self.stderr.write
            )
        except moving_out.CannotWrite as error:
            raise CommandError(f"move_out: {error}") from None
        rows = sum(table.rows for table in tables)
        self.stdout.write(
            f"{rows:,} rows of {len(tables)} tables are in {folder}, as JSON and as CSV."
        )
