"""Make the break-glass account, or seal it again."""

from typing import Any

from django.utils import timezone

from desk import breakglass
from desk.management.commands._command import DeskCommand


class Command(DeskCommand):
    help = "Make the account for when nobody else can get in, or seal it again; prints its name and new password once."
    example = "./run manage break_glass"

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        password = breakglass.seal(actor="terminal", now=timezone.now())
        self.stdout.write(f"{breakglass.NAME} {password}")
        self.stderr.write(
            "Write it on paper and seal the envelope: it is kept nowhere here, and its use calls the operators."
        )
