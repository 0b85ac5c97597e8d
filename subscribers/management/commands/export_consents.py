"""Write the proof of every consent as CSV to standard output."""

from typing import Any

from django.core.management.base import BaseCommand

from subscribers import exporting


class Command(BaseCommand):
    help = "Write the proof of every consent as CSV: text shown, time, address hash, source, version. No address in clear."

    def handle(self, **_: Any) -> None:  # Django adds its own options
        count = exporting.consents(self.stdout)
        self.stderr.write(f"{count:,} consents.")
