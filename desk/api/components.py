"""/v1 components: a status set here sends nothing."""

from datetime import date
from typing import Annotated

from django.db import transaction
from django.db.models import Max, ProtectedError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.text import slugify
from ninja import Router, Schema
from ninja import Status as Answer
from pydantic import AfterValidator, Field

from desk.api import answers, lookup, paging, shapes
from desk.api.entrance import Json, actor, empty, route
from desk.api.paging import PageNumber, PerPage, cut
from incidents import reads, services
from incidents.lifecycle import ComponentStatus, Refused
from incidents.models import BODY_CHARS_MAX, NAME_CHARS_MAX, Component, Incident, Page, Template

router = Router(tags=["components"])
SLUG_CHARS_MAX = 64
COMPONENTS_OF_A_PAGE_MAX = 5_000
# What a component can be told apart from its status; the rest of the envelope is ignored, as Statuspage does.
_PLAIN = ("name", "description", "showcase", "only_show_if_degraded", "start_date")


class ComponentWords(Schema):
    name: str | None = Field(default=None, max_length=NAME_CHARS_MAX)
    description: str | None = Field(default=None, max_length=BODY_CHARS_MAX)
    # Atlassian's description allows an empty status too: it leaves the status as it is.
    status: answers.Writes | None = None
    group_id: str | None = None
    showcase: bool | None = None
    only_show_if_degraded: bool | None = None
    start_date: Annotated[date, AfterValidator(paging.near)] | None = None


class ComponentIn(Schema):
    component: ComponentWords


@route(
    router, ["GET"], "/pages/{page_id}/components", summary="List the components", answer=list[answers.Component]
)  # fmt: skip
def list_components(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    fact = reads.page_fact(row)
    rows = cut(
        Component.objects.filter(page=row).select_related("group"), page=page, limit=per_page
    )
    return [shapes.component_json(component, fact) for component in rows]


@route(
    router, ["POST"], "/pages/{page_id}/components", summary="Create a component", status=201,
    answer=answers.Component,
)  # fmt: skip
def create_component(request: HttpRequest, page_id: str, body: ComponentIn) -> Answer[Json]:
    page = lookup.page(page_id)
    words = body.component
    name = (words.name or "").strip()
    if not name:
        raise Refused("component.name is missing")
    _check_name(name)
    last = Component.objects.filter(page=page).aggregate(Max("position"))["position__max"]
    _check_count(page)
    plain = words.dict(include={*_PLAIN} - {"name"}, exclude_none=True)
    with transaction.atomic():
        component = services.add_component(
            page=page, slug=free_slug(Component, page, name), name=name, actor=actor(request), now=timezone.now(),
            position=0 if last is None else last + 1, group=lookup.named_group(page, words.group_id, "component.group_id"), **plain,
        )  # fmt: skip
        if words.status:
            services.set_status(
                component,
                status=ComponentStatus(words.status),
                actor=actor(request),
                now=timezone.now(),
            )
    return Answer(201, _read(page, component.uid))


@route(
    router, ["GET"], "/pages/{page_id}/components/{component_id}", summary="Read a component",
    answer=answers.Component,
)  # fmt: skip
def read_component(request: HttpRequest, page_id: str, component_id: str) -> Json:
    page = lookup.page(page_id)
    return _read(page, lookup.component(page, component_id).uid)


@route(
    router,
    ["PATCH", "PUT"],
    "/pages/{page_id}/components/{component_id}",
    summary="Change a component",
    answer=answers.Component,
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
        changes["group"] = lookup.named_group(page, words.group_id, "component.group_id")
    now = timezone.now()
    with transaction.atomic():
        if changes:
            _change(component, changes, actor=actor(request))
        if words.status:
            services.set_status(
                component, status=ComponentStatus(words.status), actor=actor(request), now=now
            )
    return _read(page, component.uid)


@route(
    router,
    ["DELETE"],
    "/pages/{page_id}/components/{component_id}",
    status=204,
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
    return empty()


def free_slug(model: type[Component] | type[Template], page: Page, name: str) -> str:
    """Return a slug made of the name, numbered when it is taken."""
    root = slugify(name)[: SLUG_CHARS_MAX - 5].strip("-_") or model.__name__.lower()
    there = model._default_manager.filter(page=page, slug__startswith=root)
    taken = set(there.values_list("slug", flat=True))
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


def _check_count(page: Page) -> None:
    if Component.objects.filter(page=page).count() >= COMPONENTS_OF_A_PAGE_MAX:
        raise Refused(
            f"there are {COMPONENTS_OF_A_PAGE_MAX:,} components already; delete one first"
        )


def _check_name(name: str) -> None:
    if len(name) > NAME_CHARS_MAX:
        raise Refused(f"component.name has {len(name)} characters; allowed are {NAME_CHARS_MAX}")


def _read(page: Page, uid: str) -> Json:
    return shapes.component_json(lookup.component(page, uid), reads.page_fact(page))
