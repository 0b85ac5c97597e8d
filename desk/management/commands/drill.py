"""Rehearse every channel, and say how long each took."""

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk import drill
from desk.management.commands._command import DeskCommand

LOOK_S = 0.5
WAIT_S = drill.LIMIT.total_seconds() + 30


class Command(DeskCommand):
    help = "Send a test notice by every channel to DRILL_RECIPIENTS, and print how long each took."
    example = "DRILL_RECIPIENTS=email:drill@example.org,sms:+15005550011 ./run manage drill"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--wait", type=float, default=WAIT_S, metavar="S", help="give up after so many seconds"
        )

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        row = drill.begin(by="terminal", now=timezone.now())
        deadline = time.monotonic() + options["wait"]
        while not drill.finish(row, now=timezone.now()):
            if time.monotonic() > deadline:
                raise CommandError(
                    "the drill is not over; are clock and workers running? It goes on without this command"
                )
            time.sleep(LOOK_S)
        for name, result in row.results.items():
            word = {True: f"{result['seconds']} s", False: "FAILED"}.get(
                result["passed"], "not rehearsed"
            )
            self.stdout.write(f"{name:<10} {word:<14} {result['why']}".rstrip())
        if not row.passed:
            raise CommandError(f"the drill failed: {drill.in_words(row)}")
