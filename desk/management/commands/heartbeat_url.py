"""The address that a job calls to say that it is alive."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from desk.management.commands._command import DeskCommand
from probes import heartbeats
from probes.models import Check


class Command(DeskCommand):
    help = (
        "Print the address of a check of kind heartbeat, and nothing else. Whoever has it can beat."
    )
    example = "curl $(./run manage heartbeat_url nightly-backup)"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", metavar="CHECK", help="the slug of the check")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        found = Check.objects.filter(kind=heartbeats.KIND, enabled=True).select_related("page")
        check = found.filter(slug=options["slug"]).first()
        if check is None:
            slugs = ", ".join(each.slug for each in found) or "none"
            raise CommandError(f"CHECK is no check of kind heartbeat; there are: {slugs}")
        self.stdout.write(
            f"{settings.SITE_URL.rstrip('/')}/probes/heartbeat/{heartbeats.token_of(check)}"
        )
