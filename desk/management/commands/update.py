"""Post an update from a terminal."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk.far import FarError, FarServer
from desk.management.commands._command import DeskCommand
from desk.management.commands._far import add_server, said, server_of
from desk.management.commands.declare import ACTOR, states
from incidents import services
from incidents.lifecycle import OPEN, Audience, IllegalMove, Refused, Status, is_maintenance
from incidents.models import Incident

OVER = "over"  # what resolve says: resolved, or completed for a maintenance


class Command(DeskCommand):
    help = "Say the next thing about an open incident, and print the update's number."
    example = (
        './run manage update 4kq2xw7mzb1c --status identified --body "We have found the cause."'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "incident", metavar="ID", help="as declare printed it; newest = the newest open one"
        )
        parser.add_argument("--body", required=True, help="what is known now")
        parser.add_argument(
            "--status", default="", choices=["", *map(str, Status)], help="without it, as it is"
        )
        parser.add_argument("--what-to-do", default="", help="stands first in every message")
        parser.add_argument("--component", action="append", default=[], metavar="SLUG[=STATUS]")
        parser.add_argument("--next-update-in", type=int, metavar="SECONDS")
        parser.add_argument(
            "--quiet", action="store_true", help="show it on the page, message nobody"
        )
        add_server(parser)

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        self.stdout.write(str(say(options, status=options["status"])))


def say(options: dict[str, Any], *, status: str) -> int:  # Any: argparse's values
    """Post what was typed, here or far away; return the update's number. Raises CommandError."""
    try:
        far = server_of(options)
        return _say_far(far, options, status) if far else _say(options, status=status)
    except FarError as error:
        raise CommandError(str(error)) from None


def _say_far(far: FarServer, options: dict[str, Any], status: str) -> int:
    row = far.incident(options["incident"])
    if status == OVER:
        status = "completed" if row["scheduled_for"] else "resolved"
    words = {"status": status or row["status"]}
    return far.post(row["id"], words | said(options, far, timezone.now()))


def _say(options: dict[str, Any], *, status: str) -> int:
    incident, now = incident_of(options["incident"]), timezone.now()
    if status == OVER:
        planned = is_maintenance(Status(incident.status))
        status = Status.COMPLETED if planned else Status.RESOLVED
    promise_s = options.get("next_update_in")
    try:
        update = services.publish_update(
            incident, status=Status(status or incident.status), body=options["body"],
            what_to_do=options.get("what_to_do", ""), components=states(incident.page, options.get("component", [])),
            next_update_by=now + timedelta(seconds=promise_s) if promise_s else None,
            audience=Audience.NOBODY if options["quiet"] else Audience.EVERYONE, actor=ACTOR, now=now,
        )  # fmt: skip
    except (Refused, IllegalMove) as error:
        raise CommandError(str(error)) from None
    return update.number or 0


def incident_of(uid: str) -> Incident:
    """Return the published incident of this id, or the newest open one. Raises CommandError."""
    rows = Incident.objects.select_related("page").filter(published_at__isnull=False)
    if uid == "newest":
        newest = rows.filter(status__in=OPEN).first()
        if newest is None:
            raise CommandError("there is no open incident")
        return newest
    found = rows.filter(uid=uid).first()
    if found is None:
        raise CommandError(f"there is no published incident {uid!r}")
    return found
