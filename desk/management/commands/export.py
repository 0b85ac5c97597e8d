"""The installation as site.yaml."""

from typing import Any

from desk import applying, siteconfig
from desk.management.commands._command import DeskCommand


class Command(DeskCommand):
    help = "Print the site.yaml of what is there: applied again, it changes nothing."
    example = "./run manage export > site.yaml"

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        self.stdout.write(siteconfig.dump(applying.read()), ending="")
