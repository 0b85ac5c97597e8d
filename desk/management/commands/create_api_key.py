"""Make a key to /v1 and /intake, printed once."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk import keys
from desk.management.commands._command import DeskCommand
from incidents.models import NAME_CHARS_MAX

DAYS_MAX = 3_660  # ten years


class Command(DeskCommand):
    help = "Make an API key and print it, and nothing else. It cannot be shown again."
    example = "./run manage create_api_key --name deploy-robot --scope write --days 365"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name", required=True, help="whose key it is, as it will stand in the audit"
        )
        parser.add_argument(
            "--scope", action="append", default=[], choices=[str(scope) for scope in keys.Scope],
            help="what it may do; may be repeated; without it, everything",
        )  # fmt: skip
        parser.add_argument(
            "--days", type=int, metavar="N",
            help=f"how long it opens anything, 1 to {DAYS_MAX:,}; without it, until it is revoked in the admin",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        name = options["name"].strip()
        if not name or len(name) > NAME_CHARS_MAX:
            raise CommandError(
                f"--name is {options['name'][:40]!r}; expected 1 to {NAME_CHARS_MAX} characters"
            )
        days, now = options["days"], timezone.now()
        if days is not None and not 1 <= days <= DAYS_MAX:
            raise CommandError(f"--days is {days}; expected 1 to {DAYS_MAX:,}")
        scopes = [keys.Scope(word) for word in options["scope"]]
        ends = now + timedelta(days=days) if days is not None else None
        self.stdout.write(keys.create(name=name, scopes=scopes, now=now, expires_at=ends))
