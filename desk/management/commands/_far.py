"""`--server URL --key KEY`: the same command against a far installation, without a database here."""

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser

from desk.far import KEY_VARIABLE, FarServer


def add_server(parser: CommandParser) -> None:
    parser.add_argument(
        "--server", default="", metavar="URL", help="a far installation instead of this one"
    )
    parser.add_argument(
        "--key", default="",
        help=f"a key to its /v1, as --key=KEY when it begins with a dash; or {KEY_VARIABLE} in the environment",
    )  # fmt: skip


def server_of(options: dict[str, Any]) -> FarServer | None:  # Any: argparse's values
    """Return the far server that was named, None for this installation. Raises FarError."""
    return FarServer(options["server"], options["key"]) if options["server"] else None


def promised(seconds: int | None, now: datetime) -> str | None:
    return (now + timedelta(seconds=seconds)).isoformat() if seconds else None


def said(options: dict[str, Any], far: FarServer, now: datetime) -> dict[str, Any]:
    """Return what was typed in the words of /v1; what was not typed is left out."""
    words = {
        "body": options.get("body"),
        "what_to_do": options.get("what_to_do"),
        "components": far.states(options.get("component") or []),
        "next_update_by": promised(options.get("next_update_in"), now),
        "deliver_notifications": False if options["quiet"] else None,
    }
    return {name: value for name, value in words.items() if value not in (None, "", {})}
