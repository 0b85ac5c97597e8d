"""/v1 components: a status set here sends nothing."""

from datetime import date
from typing import Any

from django.db import transaction
from django.db.models import Max, ProtectedError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.text import slugify
from ninja import Router, Schema
from ninja import Status as Answer

from desk.api import lookup, shapes
from desk.api.entrance import Json, actor, route
from incidents import reads, services
from incidents.lifecycle import ComponentStatus, Refused
from incidents.models import NAME_CHARS_MAX, Component, Group, Incident, Page

router = Router(tags=["components"])
SLUG_CHARS_MAX = 64
# What a component can be told apart from its status; the rest of the envelope is ignored, as Statuspage does.
_PLAIN = ("name", "description", "showcase", "only_show_if_degraded", "start_date")


class ComponentWords(Schema):
    name: str | None = None
    description: str | None = None
    status: ComponentStatus | None = None
    group_id: str | None = None
    showcase: bool | None = None
    only_show_if_degraded: bool | None = None
    start_date: date | None = None


class ComponentIn(Schema):
    component: ComponentWords


@route(router, ["GET"], "/pages/{page_id}/components", summary="List the components")
def list_components(
    request: HttpRequest, page_id: str, page: int = 1, per_page: int = 100
) -> list[Json]:
    row = lookup.page(page_id)
    fact = reads.page_fact(row)
    limit = min(max(per_page, 1), shapes.PER_PAGE_MAX)
    start = (max(page, 1) - 1) * limit
    rows = Component.objects.filter(page=row).select_related("group")[start : start + limit]
    return [shapes.component_json(component, fact) for component in rows]


@route(
    router, ["POST"], "/pages/{page_id}/components", response={201: dict[str, Any]}, summary="Create a component"
)  # fmt: skip
def create_component(request: HttpRequest, page_id: str, body: ComponentIn) -> Answer[Json]:
    page = lookup.page(page_id)
    words = body.component
    name = (words.name or "").strip()
    if not name:
        raise Refused("component.name is missing")
    _check_name(name)
    last = Component.objects.filter(page=page).aggregate(Max("position"))["position__max"]
    plain = words.dict(include={*_PLAIN}, exclude={"name"}, exclude_none=True)
    with transaction.atomic():
        component = services.add_component(
            page=page, slug=free_slug(page, name), name=name, actor=actor(request), now=timezone.now(),
            position=0 if last is None else last + 1, group=_group(page, words.group_id), **plain,
        )  # fmt: skip
        if words.status:
            services.set_status(
                component, status=words.status, actor=actor(request), now=timezone.now()
            )
    return Answer(201, _read(page, component.uid))


@route(router, ["GET"], "/pages/{page_id}/components/{component_id}", summary="Read a component")
def read_component(request: HttpRequest, page_id: str, component_id: str) -> Json:
    page = lookup.page(page_id)
    return _read(page, lookup.component(page, component_id).uid)


@route(
    router,
    ["PATCH", "PUT"],
    "/pages/{page_id}/components/{component_id}",
    summary="Change a component",
)
def change_component(
    request: HttpRequest, page_id: str, component_id: str, body: ComponentIn
) -> Json:
    page = lookup.page(page_id)
    component = lookup.component(page, component_id)
    words = body.component
    changes: Json = {
        name: value for name, value in words.dict(exclude_unset=True).items() if name in _PLAIN
    }
    changes = {name: _plain(name, value) for name, value in changes.items()}
    if "group_id" in words.model_fields_set:
        changes["group"] = _group(page, words.group_id)
    now = timezone.now()
    with transaction.atomic():
        if changes:
            _change(component, changes, actor=actor(request))
        if words.status:
            services.set_status(component, status=words.status, actor=actor(request), now=now)
    return _read(page, component.uid)


@route(
    router,
    ["DELETE"],
    "/pages/{page_id}/components/{component_id}",
    response={204: None},
    summary="Delete a component",
)
def delete_component(request: HttpRequest, page_id: str, component_id: str) -> HttpResponse:
    page = lookup.page(page_id)
    component = lookup.component(page, component_id)
    if Incident.objects.filter(components=component).exists():
        raise Refused(
            f'"{component.name}" stands in incidents; it cannot be deleted, only hidden (showcase: false)'
        )
    with transaction.atomic():
        services.audit(
            actor=actor(request), action="delete_component", subject=component.uid, now=timezone.now(),
            before={"slug": component.slug, "name": component.name},
        )  # fmt: skip
        try:
            component.delete()
        except ProtectedError as error:
            raise Refused(
                f'"{component.name}" is still used by a check or a policy; remove those first'
            ) from error
    # Without a body and without a Content-Type: clients crash on 204 with JSON (statuspage-api.md §5).
    answer = HttpResponse(status=204)
    del answer["Content-Type"]
    return answer


def free_slug(page: Page, name: str) -> str:
    """Return a slug made of the name, numbered when it is taken."""
    root = slugify(name)[: SLUG_CHARS_MAX - 5] or "component"
    taken = set(
        Component.objects.filter(page=page, slug__startswith=root).values_list("slug", flat=True)
    )
    candidates = [root, *(f"{root}-{number}" for number in range(2, len(taken) + 3))]
    return next(slug for slug in candidates if slug not in taken)


def _change(component: Component, changes: Json, *, actor: str) -> None:
    now = timezone.now()
    before = {name: str(getattr(component, name)) for name in changes}
    for name, value in changes.items():
        setattr(component, name, value)
    component.updated_at = now
    component.save(update_fields=[*changes, "updated_at"])
    after = {name: str(value) for name, value in changes.items()}
    services.audit(
        actor=actor,
        action="change_component",
        subject=component.uid,
        before=before,
        after=after,
        now=now,
    )


def _plain(name: str, value: object) -> object:
    """Return a value as its column takes it: null clears a text, and leaves a switch at its default."""
    if name == "name":
        text = str(value or "").strip()
        if not text:
            raise Refused("component.name is empty; expected the name readers know")
        _check_name(text)
        return text
    defaults = {"description": "", "showcase": True, "only_show_if_degraded": False}
    return defaults.get(name) if value is None else value


def _check_name(name: str) -> None:
    if len(name) > NAME_CHARS_MAX:
        raise Refused(f"component.name has {len(name)} characters; allowed are {NAME_CHARS_MAX}")


def _group(page: Page, uid: str | None) -> Group | None:
    if not uid:
        return None
    found = Group.objects.filter(page=page, uid=uid).first()
    if found is None:
        raise Refused(f'component.group_id is "{uid}"; there is no such component group')
    return found


def _read(page: Page, uid: str) -> Json:
    return shapes.component_json(lookup.component(page, uid), reads.page_fact(page))
