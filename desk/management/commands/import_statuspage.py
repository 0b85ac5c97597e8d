"""Move in from Statuspage: history, components and groups."""

import os
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk import moving_in
from desk.management.commands._command import DeskCommand
from incidents import importing, reads
from incidents.importing import OldIncident, Taken
from incidents.lifecycle import FINAL
from incidents.models import Incident, Page
from incidents.wire import is_zone

BATCH = 100  # incidents a transaction: what an interruption may cost


class Command(DeskCommand):
    help = (
        "Bring over history, components and groups of a Statuspage; ids and dates are kept, nobody is messaged. "
        "Run again, it goes on where it stopped and adds what is new. Without a key it reads the public pages."
    )
    example = "STATUSPAGE_KEY=… ./run manage import_statuspage https://status.example.com"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", metavar="URL", help="the public page")
        parser.add_argument(
            "--key", default="", help="a key of its management API; or STATUSPAGE_KEY in the environment"
        )  # fmt: skip
        parser.add_argument(
            "--api", default=moving_in.MANAGEMENT, metavar="URL", help="where its management API is"
        )

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        key = options["key"] or os.environ.get("STATUSPAGE_KEY", "")
        begun, total = time.monotonic(), Taken()
        page = reads.the_page()
        try:
            there = moving_in.Statuspage(options["url"], key=key, api=options["api"])
            old = there.page()
            for line in _name(page, old):
                self.stdout.write(line)
            for line in importing.take_components(
                page, old.groups, old.components, now=timezone.now()
            ):
                self.stdout.write(line)
            for batch in _batches(there.incidents(old.uid, _known(page))):
                taken = importing.take_incidents(page, batch, now=timezone.now())
                total.incidents += taken.incidents
                total.updates += taken.updates
                total.renewed += taken.renewed
                total.unchanged += taken.unchanged
                self.stderr.write(
                    f"{total.incidents + total.renewed + total.unchanged:,} incidents read, back to "
                    f"{batch[-1].created_at:%Y-%m-%d}, after {time.monotonic() - begun:.0f} s"
                )
        except moving_in.Unreadable as error:
            raise CommandError(
                f"{error}; what was taken before stays, run this again to go on"
            ) from None
        self.stdout.write(
            f"{total.incidents:,} incidents with {total.updates:,} updates taken; {total.renewed:,} brought up to date; "
            f"{total.unchanged:,} here already. Nobody was messaged."
        )


def _batches(incidents: Iterator[OldIncident]) -> Iterator[list[OldIncident]]:
    while batch := list(islice(incidents, BATCH)):
        yield batch


def _known(page: Page) -> list[str]:
    """Return the ids that need no second look: those of incidents that are over."""
    return list(Incident.objects.filter(page=page, status__in=FINAL).values_list("uid", flat=True))


def _name(page: Page, old: moving_in.OldPage) -> Iterator[str]:
    """An empty installation takes name, zone and id of the page; one that is in use keeps its own."""
    if page.components.exists() or page.incidents.exists():
        if page.uid != old.uid:
            yield f"note: the page keeps its name and its id {page.uid}; over there the id is {old.uid}"
        return
    page.uid, page.name = old.uid[:12], old.name[:255] or page.name
    if is_zone(old.time_zone):
        page.time_zone = old.time_zone
    page.updated_at = timezone.now()
    page.save(update_fields=["uid", "name", "time_zone", "updated_at"])
    yield f"page: {page.name}, id {page.uid}, {page.time_zone}"
