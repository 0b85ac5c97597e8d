"""Publishes the public files now: from the database, or by hand from a file when there is none."""

from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from public import clock, notice, snapshot, watchdog
from public.publish import Publisher

MIRRORS_WAIT_S = 30.0
EXAMPLE = """
Example, with the database gone:
  ./run manage publish --break-glass notice.yaml

notice.yaml (name and body suffice; the parts of the product, and how those are that it does not name, are as last published;
a notice that names none is critical unless it says an impact):
  name: Followers may not receive readings or alerts
  body: Since 01:02 no new readings reach followers. We are looking for the cause.
  what_to_do: Check the wearer or their own device.
  next_update_by: 2026-11-23T02:30:00Z
  components: {follow: major_outage}

Afterwards the files stay as they are for a day, or until `./run manage publish` lets the database speak again.
"""


class Command(BaseCommand):
    help = "Write the public files now; with --break-glass from a file, without any database."
    requires_system_checks = []  # noqa: RUF012  # the base class declares it so

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name,
            subcommand,
            epilog=EXAMPLE,
            formatter_class=RawDescriptionHelpFormatter,
            **kwargs,
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--break-glass", metavar="FILE", type=Path, help="a notice in YAML or JSON"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(settings.PUBLISH_DIR)
        publisher = clock.opened(folder)
        try:
            if options["break_glass"]:
                written = self._by_hand(publisher, options["break_glass"])
            else:
                written = self._from_database(publisher)
        except OSError as error:
            raise CommandError(
                f"{error.filename or folder} cannot be written: {error.strerror}."
            ) from error
        publisher.finish_mirrors(MIRRORS_WAIT_S)
        self.stdout.write(f"{written} files written to {folder}.")

    def _by_hand(self, publisher: Publisher, file: Path) -> int:
        try:
            taken = notice.read(
                file, publisher.folder, site_url=settings.SITE_URL, now=timezone.now()
            )
        except notice.BadNotice as error:
            raise CommandError(str(error)) from error
        # Held first: a clock that comes back must not write its own index over this one.
        watchdog.hold(publisher.folder)
        return publisher.publish_notice(taken)

    def _from_database(self, publisher: Publisher) -> int:
        try:
            taken = snapshot.take(timezone.now())
        except DatabaseError as error:
            raise CommandError(
                "The database does not answer; publish by hand with --break-glass FILE."
            ) from error
        written = publisher.publish(taken)
        for uids in _batches(publisher.missing(taken), snapshot.NEWEST):
            written += publisher.publish_incidents(taken, snapshot.incidents_of(uids))
        watchdog.release(publisher.folder)
        return written


def _batches(uids: list[str], size: int) -> list[list[str]]:
    return [uids[start : start + size] for start in range(0, len(uids), size)]
