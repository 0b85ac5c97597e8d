"""Seal every address anew with the newest key of FIELD_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand

from subscribers import sealing


class Command(BaseCommand):
    help = (
        "Seal every address anew with the newest key of FIELD_KEYS; put the new key first, run this, then drop the old "
        "one. May be stopped and run again."
    )

    def handle(self, **_: Any) -> None:  # Django adds its own options
        done = sealing.rotate()
        self.stdout.write(
            f"{done.renewed:,} sealed anew, {done.fresh:,} were already, {done.unreadable:,} opened by no key."
        )
        if done.unreadable:
            self.stderr.write(
                "Some addresses are lost unless their key comes back: add it to FIELD_KEYS and run this again."
            )
