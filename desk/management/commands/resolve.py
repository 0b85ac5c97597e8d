"""Resolve an incident from a terminal."""

from typing import Any

from django.core.management.base import CommandParser

from desk.management.commands._command import DeskCommand
from desk.management.commands._far import add_server
from desk.management.commands.update import OVER, say


class Command(DeskCommand):
    help = "Say that it is over, to everyone who was told, and print the update's number."
    example = './run manage resolve newest --body "Readings and alerts work again."'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "incident", metavar="ID", help="as declare printed it; newest = the newest open one"
        )
        parser.add_argument(
            "--body", default="This is resolved.", help="what people should know and check"
        )
        parser.add_argument(
            "--quiet", action="store_true", help="show it on the page, message nobody"
        )
        add_server(parser)

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        self.stdout.write(str(say(options, status=OVER)))
