"""How the page stands, in a terminal."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from desk.far import FarError
from desk.management.commands._command import DeskCommand
from desk.management.commands._far import add_server, server_of
from incidents import reads, wire
from incidents.lifecycle import OPEN
from incidents.models import Component, Incident


class Command(DeskCommand):
    help = "Print the page's status, its components and its open incidents."
    example = "./run manage status --server https://status.example.org --key KEY"

    def add_arguments(self, parser: CommandParser) -> None:
        add_server(parser)

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            far = server_of(options)
            lines = _far(far) if far else _here()
        except FarError as error:
            raise CommandError(str(error)) from None
        for line in lines:
            self.stdout.write(line)


def _far(far: Any) -> list[str]:  # Any: FarServer
    parts = [f"{row['slug']}: {row['status']}" for row in far.components()]
    open_now = [
        _line(row["id"], row["status"], row["impact"], row["name"]) for row in far.unresolved()
    ]
    return [far.status()["status"]["description"], *parts, *open_now]


def _here() -> list[str]:
    page = reads.the_page()
    fact = reads.page_fact(page)
    rows = Component.objects.filter(page=page).select_related("group")
    components = [reads.component_fact(row) for row in rows]
    open_rows = Incident.objects.filter(page=page, published_at__isnull=False, status__in=OPEN)
    incidents = [reads.incident_fact(row) for row in reads.with_all(open_rows)]
    said = wire.status_json(components, incidents, fact)["description"]
    parts = [f"{each.slug}: {'unknown' if each.is_unknown else each.status}" for each in components]
    return [
        said,
        *parts,
        *(_line(each.uid, each.status, each.impact, each.name) for each in incidents),
    ]


def _line(uid: str, status: str, impact: str, name: str) -> str:
    return f"{uid} {status} ({impact}): {name}"
