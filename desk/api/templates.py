"""/v1 incident templates: read and added; site.yaml is where they are kept in order."""

from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from ninja import Status as Answer
from pydantic import Field

from desk.api import answers, lookup, shapes
from desk.api.components import free_slug
from desk.api.entrance import Json, actor, route
from desk.api.paging import PageNumber, PerPage, cut
from incidents import reads, services
from incidents.lifecycle import Refused
from incidents.models import BODY_CHARS_MAX, NAME_CHARS_MAX, Template

router = Router(tags=["templates"])
TEMPLATES_MAX = 500


class TemplateWords(Schema):
    name: str = Field(
        min_length=1, max_length=NAME_CHARS_MAX, description="What operators call it."
    )
    title: str = Field(
        min_length=1, max_length=NAME_CHARS_MAX, description="Becomes the incident's name."
    )
    body: str = Field(min_length=1, max_length=BODY_CHARS_MAX)
    group_id: str | None = None
    update_status: answers.Stands | None = None
    should_tweet: bool = True
    should_send_notifications: bool = True
    component_ids: list[str] = Field(default=[], max_length=lookup.COMPONENTS_MAX)


class TemplateIn(Schema):
    template: TemplateWords


@route(
    router, ["GET"], "/pages/{page_id}/incident_templates", summary="List the templates",
    answer=list[answers.Template],
)  # fmt: skip
def list_templates(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    fact = reads.page_fact(row)
    rows = Template.objects.filter(page=row).select_related("group").order_by("id")
    shown = cut(rows.prefetch_related("components__group"), page=page, limit=per_page)
    return [shapes.template_json(each, fact) for each in shown]


@route(
    router, ["POST"], "/pages/{page_id}/incident_templates", summary="Add a template", status=201,
    answer=answers.Template,
)  # fmt: skip
def create_template(request: HttpRequest, page_id: str, body: TemplateIn) -> Answer[Json]:
    page, words, now = lookup.page(page_id), body.template, timezone.now()
    if not words.name.strip() or not words.title.strip() or not words.body.strip():
        raise Refused("template.name, title and body are needed; one of them is empty")
    if Template.objects.filter(page=page).count() >= TEMPLATES_MAX:
        raise Refused(f"there are {TEMPLATES_MAX} templates already")
    group = lookup.named_group(page, words.group_id, "template.group_id")
    components = list(lookup.components(page, words.component_ids).values())
    columns: dict[str, Any] = {  # Any: as Django takes them
        "label": words.name, "name": words.title, "body": words.body, "group": group,
        "update_status": words.update_status or "", "should_tweet": words.should_tweet,
        "should_send_notifications": words.should_send_notifications,
    }  # fmt: skip
    with transaction.atomic():
        row = Template.objects.create(
            page=page, slug=free_slug(Template, page, words.name), **columns
        )
        row.components.set(components)
        services.audit(
            actor=actor(request), action="add_template", subject=row.uid, after={"name": words.name}, now=now
        )  # fmt: skip
    return Answer(201, shapes.template_json(row, reads.page_fact(page)))
