"""A place that probes run from, and the token of its prober."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk.management.commands._command import DeskCommand
from desk.siteconfig import SLUG, SLUG_CHARS_MAX
from incidents.lifecycle import Refused
from probes import services


class Command(DeskCommand):
    help = (
        "Add a location and print its prober's token, and nothing else. It cannot be shown again."
    )
    example = "PROBE_TOKEN=$(./run manage create_location frankfurt)"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="as the checks name it in `locations`")
        parser.add_argument(
            "--again", action="store_true", help="issue a new token; the old one ends"
        )

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        name = options["name"]
        if not SLUG.match(name) or len(name) > SLUG_CHARS_MAX:
            raise CommandError(
                f"NAME is {name[:40]!r}; expected lower-case letters, digits and hyphens"
            )
        try:
            make = services.issue_token if options["again"] else services.create_location
            self.stdout.write(make(name=name, now=timezone.now()))
        except Refused as error:
            raise CommandError(f"{error} (--again)") from None
