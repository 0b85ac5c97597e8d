"""Try the channels before the night: does what is configured let us in?"""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from desk.management.commands._command import DeskCommand


class Command(DeskCommand):
    help = "Try every channel that can be tried without sending, and say of each what is wrong."
    example = "./run manage check_channels"

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        wrong = []
        for name, channel in sorted(settings.OPEN_CHANNELS.items()):
            check = getattr(channel, "check", None)
            why = check() if check is not None else None
            said = "configured; it can only be tried by sending" if why is None else why or "ok"
            self.stdout.write(f"{name}: {said}")
            if why:
                wrong.append(name)
        if wrong:
            raise CommandError(f"{', '.join(wrong)}: not as it should be, see above")
