"""/v1 component groups."""

from django.db import transaction
from django.db.models import Max
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from ninja import Status as Answer
from pydantic import Field

from desk.api import answers, lookup, shapes
from desk.api.entrance import Json, actor, route
from desk.api.paging import PageNumber, PerPage, cut
from incidents import reads, services
from incidents.lifecycle import Refused
from incidents.models import BODY_CHARS_MAX, NAME_CHARS_MAX, Component, Group, Page

router = Router(tags=["component groups"])


class GroupWords(Schema):
    name: str | None = Field(default=None, max_length=NAME_CHARS_MAX)
    components: list[str] | None = None


class GroupIn(Schema):
    """The description stands outside the envelope, as Statuspage has it."""

    description: str | None = Field(default=None, max_length=BODY_CHARS_MAX)
    component_group: GroupWords


@route(
    router, ["GET"], "/pages/{page_id}/component-groups", summary="List the component groups",
    answer=list[answers.Group],
)  # fmt: skip
def list_groups(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    groups = Group.objects.filter(page=row).prefetch_related("components")
    rows = cut(groups, page=page, limit=per_page)
    return [shapes.group_of(group, reads.page_fact(row)) for group in rows]


@route(
    router, ["POST"], "/pages/{page_id}/component-groups", summary="Create a group", status=201,
    answer=answers.Group,
)  # fmt: skip
def create_group(request: HttpRequest, page_id: str, body: GroupIn) -> Answer[Json]:
    page = lookup.page(page_id)
    name = (body.component_group.name or "").strip()
    if not name:
        raise Refused("component_group.name is missing")
    if not body.component_group.components:
        raise Refused(
            "component_group.components is empty; expected the ids of one or more components"
        )
    if Group.objects.filter(page=page, name=name).exists():
        raise Refused(f'there is already a group "{name}"')
    last = Group.objects.filter(page=page).aggregate(Max("position"))["position__max"]
    with transaction.atomic():
        group = Group.objects.create(
            page=page,
            name=name,
            description=body.description or "",
            position=0 if last is None else last + 1,
        )
        _fill(page, group, body.component_group.components)
        _audit(request, "create_group", group)
    return Answer(201, shapes.group_of(group, reads.page_fact(page)))


@route(
    router, ["GET"], "/pages/{page_id}/component-groups/{group_id}", summary="Read a group", answer=answers.Group
)  # fmt: skip
def read_group(request: HttpRequest, page_id: str, group_id: str) -> Json:
    page = lookup.page(page_id)
    return shapes.group_of(lookup.group(page, group_id), reads.page_fact(page))


@route(
    router,
    ["PATCH", "PUT"],
    "/pages/{page_id}/component-groups/{group_id}",
    summary="Change a group",
    answer=answers.Group,
)
def change_group(request: HttpRequest, page_id: str, group_id: str, body: GroupIn) -> Json:
    page = lookup.page(page_id)
    group = lookup.group(page, group_id)
    words = body.component_group
    if words.components == []:
        raise Refused(
            "component_group.components is empty; a group that holds nothing is deleted instead"
        )
    name = (words.name or "").strip() or group.name
    if Group.objects.filter(page=page, name=name).exclude(pk=group.pk).exists():
        raise Refused(f'there is already a group "{name}"')
    with transaction.atomic():
        group.name = name
        group.description = group.description if body.description is None else body.description
        group.updated_at = timezone.now()
        group.save()
        if words.components:
            _fill(page, group, words.components)
        _audit(request, "change_group", group)
    return shapes.group_of(group, reads.page_fact(page))


@route(
    router,
    ["DELETE"],
    "/pages/{page_id}/component-groups/{group_id}",
    summary="Delete a group, not its components",
    answer=answers.Group,
)
def delete_group(request: HttpRequest, page_id: str, group_id: str) -> Json:
    page = lookup.page(page_id)
    group = lookup.group(page, group_id)
    gone = shapes.group_of(group, reads.page_fact(page))
    with transaction.atomic():
        _audit(request, "delete_group", group)
        group.delete()
    return gone


def _fill(page: Page, group: Group, uids: list[str]) -> None:
    """Put exactly these components into the group; a group left empty by it disappears."""
    members = [row.pk for row in lookup.components(page, uids).values()]
    group.components.exclude(pk__in=members).update(group=None)
    Component.objects.filter(pk__in=members).update(group=group, updated_at=timezone.now())
    Group.objects.filter(page=page, components__isnull=True).exclude(pk=group.pk).delete()


def _audit(request: HttpRequest, action: str, group: Group) -> None:
    services.audit(
        actor=actor(request),
        action=action,
        subject=group.uid,
        after={"name": group.name},
        now=timezone.now(),
    )
