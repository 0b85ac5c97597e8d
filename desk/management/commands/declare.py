"""Declare an incident from a terminal."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from desk.far import FarError, FarServer
from desk.management.commands._command import DeskCommand
from desk.management.commands._far import add_server, said, server_of
from incidents import reads, services
from incidents.lifecycle import (
    OPEN,
    Audience,
    ComponentStatus,
    IllegalMove,
    Impact,
    Refused,
    Status,
)
from incidents.models import Component, Page, Template

ACTOR = "terminal"


class Command(DeskCommand):
    help = "Declare an incident, publish it, and print its id."
    example = './run manage declare "Followers may not receive alerts" --body "We are investigating." --component follow=major_outage'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", nargs="?", default="", help="what readers notice; a template may give it"
        )
        parser.add_argument("--template", default="", help="slug of an approved text")
        parser.add_argument("--body", default="", help="what is known")
        parser.add_argument("--what-to-do", default="", help="stands first in every message")
        parser.add_argument(
            "--status", default=Status.INVESTIGATING, choices=[str(status) for status in OPEN]
        )
        parser.add_argument(
            "--impact",
            default="",
            choices=["", *(str(i) for i in Impact if i != Impact.MAINTENANCE)],
        )
        parser.add_argument(
            "--component", action="append", default=[], metavar="SLUG[=STATUS]",
            help=f"STATUS out of {', '.join(ComponentStatus)}; without it major_outage; may be repeated",
        )  # fmt: skip
        parser.add_argument(
            "--next-update-in", type=int, metavar="SECONDS", help="when we promise to speak again"
        )
        parser.add_argument("--draft", action="store_true", help="keep it as a draft")
        parser.add_argument(
            "--quiet", action="store_true", help="show it on the page, message nobody"
        )
        add_server(parser)

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            far = server_of(options)
            self.stdout.write(_declare_far(far, options) if far else _declare(options))
        except FarError as error:
            raise CommandError(str(error)) from None


def _declare(options: dict[str, Any]) -> str:  # Any: argparse's values
    page, now = reads.the_page(), timezone.now()
    template = template_of(page, options["template"])
    promise_s = options["next_update_in"] or (template.next_update_in_s if template else None)
    impact = options["impact"] or (template.impact if template else "")
    try:
        incident = services.declare(
            page=page, name=options["name"] or (template.name if template else ""),
            body=options["body"] or (template.body if template else ""),
            what_to_do=options["what_to_do"] or (template.what_to_do if template else ""),
            translations=template.translations if template and not options["body"] else {},
            status=Status(options["status"]), components=states(page, options["component"]),
            impact=Impact(impact) if impact else None, template=template, published=not options["draft"],
            next_update_by=now + timedelta(seconds=promise_s) if promise_s else None,
            audience=Audience.NOBODY if options["quiet"] else Audience.EVERYONE, actor=ACTOR, now=now,
        )  # fmt: skip
    except (Refused, IllegalMove) as error:
        raise CommandError(str(error)) from None
    return str(incident.uid)


def _declare_far(far: FarServer, options: dict[str, Any]) -> str:  # Any: argparse's values
    if options["draft"]:
        raise FarError("--draft works on this installation only: /v1 has no drafts")
    template = far.template(options["template"]) if options["template"] else {}
    words = {"name": options["name"] or template.get("title", ""), "status": options["status"]}
    if template:
        words["body"] = template["body"]
    if options["impact"]:
        words["impact_override"] = options["impact"]
    return far.declare(words | said(options, far, timezone.now()))


def template_of(page: Page, slug: str) -> Template | None:
    """Return the approved text of this slug. Raises CommandError."""
    found = Template.objects.filter(page=page, slug=slug).first() if slug else None
    if slug and found is None:
        known = (
            ", ".join(Template.objects.filter(page=page).values_list("slug", flat=True)) or "none"
        )
        raise CommandError(f"--template is {slug!r}; expected one of {known}")
    return found


def states(page: Page, words: list[str]) -> dict[Component, ComponentStatus]:
    """Return what `--component SLUG=STATUS` says. Raises CommandError."""
    rows = {row.slug: row for row in Component.objects.filter(page=page)}
    said = {}
    for word in words:
        slug, _, status = word.partition("=")
        if slug not in rows:
            raise CommandError(
                f"--component is {slug!r}; expected one of {', '.join(rows) or 'none: there is none'}"
            )
        try:
            said[rows[slug]] = ComponentStatus(status or ComponentStatus.MAJOR_OUTAGE)
        except ValueError:
            raise CommandError(
                f"--component {slug} is {status!r}; expected one of {', '.join(ComponentStatus)}"
            ) from None
    return said
