"""/v1/pages: there is one page."""

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema

from desk.api import lookup, shapes
from desk.api.entrance import Json, actor, route
from incidents import reads, services
from incidents.lifecycle import Refused
from incidents.models import NAME_CHARS_MAX

router = Router(tags=["pages"])


class PageWords(Schema):
    name: str | None = None
    headline: str | None = None


class PageIn(Schema):
    page: PageWords


@route(router, ["GET"], "/pages", summary="List the pages", operation_id="pages")
def list_pages(request: HttpRequest) -> list[Json]:
    return [shapes.page_json(reads.the_page())]


@route(router, ["GET"], "/pages/{page_id}", summary="Read the page", operation_id="page")
def read_page(request: HttpRequest, page_id: str) -> Json:
    return shapes.page_json(lookup.page(page_id))


@route(router, ["PATCH", "PUT"], "/pages/{page_id}", summary="Change the page's name or headline")
def change_page(request: HttpRequest, page_id: str, body: PageIn) -> Json:
    page = lookup.page(page_id)
    changes = body.page.dict(exclude_none=True)
    if not str(changes.get("name", page.name)).strip():
        raise Refused("page.name is empty; expected the page's name")
    if any(len(text) > NAME_CHARS_MAX for text in changes.values()):
        raise Refused(f"page.name and page.headline hold at most {NAME_CHARS_MAX} characters")
    now = timezone.now()
    with transaction.atomic():
        before = {name: getattr(page, name) for name in changes}
        for name, text in changes.items():
            setattr(page, name, text)
        page.updated_at = now
        page.save(update_fields=[*changes, "updated_at"])
        services.audit(
            actor=actor(request),
            action="change_page",
            subject=page.uid,
            before=before,
            after=changes,
            now=now,
        )
    return shapes.page_json(page)
