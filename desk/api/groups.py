"""/v1 component groups."""

from typing import Any

from django.db import transaction
from django.db.models import Max
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from ninja import Status as Answer

from desk.api import lookup, shapes
from desk.api.entrance import Json, actor, route
from incidents import reads, services
from incidents.lifecycle import Refused
from incidents.models import Component, Group, Page

router = Router(tags=["component groups"])


class GroupWords(Schema):
    name: str | None = None
    components: list[str] | None = None


class GroupIn(Schema):
    """The description stands outside the envelope, as Statuspage has it."""

    description: str | None = None
    component_group: GroupWords


@route(router, ["GET"], "/pages/{page_id}/component-groups", summary="List the component groups")
def list_groups(
    request: HttpRequest, page_id: str, page: int = 1, per_page: int = 100
) -> list[Json]:
    row = lookup.page(page_id)
    limit = min(max(per_page, 1), shapes.PER_PAGE_MAX)
    start = (max(page, 1) - 1) * limit
    rows = Group.objects.filter(page=row).prefetch_related("components")[start : start + limit]
    return [shapes.group_of(group, reads.page_fact(row)) for group in rows]


@route(
    router, ["POST"], "/pages/{page_id}/component-groups", response={201: dict[str, Any]}, summary="Create a group"
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


@route(router, ["GET"], "/pages/{page_id}/component-groups/{group_id}", summary="Read a group")
def read_group(request: HttpRequest, page_id: str, group_id: str) -> Json:
    page = lookup.page(page_id)
    return shapes.group_of(lookup.group(page, group_id), reads.page_fact(page))


@route(
    router,
    ["PATCH", "PUT"],
    "/pages/{page_id}/component-groups/{group_id}",
    summary="Change a group",
)
def change_group(request: HttpRequest, page_id: str, group_id: str, body: GroupIn) -> Json:
    page = lookup.page(page_id)
    group = lookup.group(page, group_id)
    words = body.component_group
    if words.components == []:
        raise Refused(
            "component_group.components is empty; a group that holds nothing is deleted instead"
        )
    with transaction.atomic():
        group.name = (words.name or "").strip() or group.name
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
    Component.objects.filter(pk__in=members).update(group=group)
    Group.objects.filter(page=page, components__isnull=True).exclude(pk=group.pk).delete()


def _audit(request: HttpRequest, action: str, group: Group) -> None:
    services.audit(
        actor=actor(request),
        action=action,
        subject=group.uid,
        after={"name": group.name},
        now=timezone.now(),
    )
