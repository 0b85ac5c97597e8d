"""From SQLite to PostgreSQL, or from one server to another, in one step."""

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils import timezone

from desk import moving
from desk.management.commands._command import DeskCommand

TARGET = "moving_to"


class Command(DeskCommand):
    help = (
        "Copy this installation into another database, compare every table, and message nobody again. "
        "Stop the installation first; afterwards start it with DATABASE_URL set to the new address. "
        "Run again after an interruption: it goes on where it stopped. The old database is only read."
    )
    example = "./run manage move_database --to postgres://status:PASSWORD@db.example.org/status"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", metavar="URL", required=True, help="an empty database")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        self._open(options["to"])
        try:
            call_command("migrate", database=TARGET, verbosity=0, interactive=False)
            moved = moving.move(
                source=DEFAULT_DB_ALIAS, target=TARGET, now=timezone.now(), say=self._say
            )
        except moving.CannotMove as error:
            raise CommandError(f"move_database: {error}") from None
        finally:
            connections[TARGET].close()
        brought = sum(table.brought for table in moved)
        rows = sum(table.rows for table in moved)
        self.stdout.write(
            f"{rows:,} rows in {len(moved)} tables are the same on both sides; {brought:,} were brought over now. "
            "Start the installation with DATABASE_URL set to the new address."
        )

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)

    def _open(self, url: str) -> None:
        try:
            config = environ.Env.db_url_config(url)
        except (ValueError, ImproperlyConfigured):
            config = {}
        if not str(config.get("ENGINE", "")).endswith(("postgresql", "sqlite3")):
            raise CommandError(
                "--to is not postgres://user:password@host/name or sqlite:///path", returncode=2
            )
        config["CONN_HEALTH_CHECKS"] = False
        usual = connections.settings[DEFAULT_DB_ALIAS]
        connections.settings[TARGET] = (
            {name: usual[name] for name in ("ATOMIC_REQUESTS", "AUTOCOMMIT", "TIME_ZONE", "TEST")}
            | {
                "OPTIONS": {},
                "CONN_MAX_AGE": None,
                "USER": "",
                "PASSWORD": "",
                "HOST": "",
                "PORT": "",
            }
            | config
        )
