"""/v1/pages: there is one page."""

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from pydantic import Field

from desk.api import answers, lookup, shapes
from desk.api.entrance import Json, actor, route
from incidents import doorbell, reads, services
from incidents.lifecycle import Refused
from incidents.models import NAME_CHARS_MAX
from incidents.wire import is_zone

router = Router(tags=["pages"])
Words = Field(default=None, max_length=NAME_CHARS_MAX)


class PageWords(Schema):
    """What can be changed here; other keys of Statuspage are taken and change nothing."""

    name: str | None = Words
    headline: str | None = Words
    time_zone: str | None = Words
    page_description: str | None = Words
    support_url: str | None = Words
    city: str | None = Words
    state: str | None = Words
    country: str | None = Words
    twitter_username: str | None = Words


class PageIn(Schema):
    page: PageWords


@route(
    router,
    ["GET"],
    "/pages",
    summary="List the pages",
    operation_id="pages",
    answer=list[answers.Page],
)
def list_pages(request: HttpRequest) -> list[Json]:
    return [shapes.page_json(reads.the_page())]


@route(
    router,
    ["GET"],
    "/pages/{page_id}",
    summary="Read the page",
    operation_id="page",
    answer=answers.Page,
)
def read_page(request: HttpRequest, page_id: str) -> Json:
    return shapes.page_json(lookup.page(page_id))


@route(
    router, ["PATCH", "PUT"], "/pages/{page_id}", summary="Change what the page says of itself", answer=answers.Page
)  # fmt: skip
def change_page(request: HttpRequest, page_id: str, body: PageIn) -> Json:
    page = lookup.page(page_id)
    given = body.page.dict(exclude_none=True)
    if not str(given.get("name", page.name)).strip():
        raise Refused("page.name is empty; expected the page's name")
    if not is_zone(given.get("time_zone", page.time_zone)):
        raise Refused(
            f'page.time_zone is "{given["time_zone"]}"; expected a name as America/New_York'
        )
    now = timezone.now()
    kept = {name: given.pop(name) for name in shapes.PROFILE if name in given}
    changes = given | ({"profile": page.profile | kept} if kept else {})
    with transaction.atomic():
        before = {name: getattr(page, name) for name in changes}
        for name, value in changes.items():
            setattr(page, name, value)
        page.updated_at = now
        page.save(update_fields=[*changes, "updated_at"])
        services.audit(
            actor=actor(request), action="change_page", subject=page.uid, before=before, after=changes, now=now
        )  # fmt: skip
        doorbell.ring_on_commit("page")
    return shapes.page_json(page)
