"""/v1 status_embed_config: how an embedded box should look; kept and given back."""

from typing import Literal

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from pydantic import Field

from desk.api import answers, lookup, shapes
from desk.api.entrance import Json, actor, route
from incidents import services
from incidents.models import Page

router = Router(tags=["status embed config"])
Colour = Field(default=None, pattern=r"^#[0-9A-Fa-f]{6}$", examples=["#B00020"])


class EmbedWords(Schema):
    position: Literal["top-left", "top-right", "bottom-left", "bottom-right"] | None = None
    incident_background_color: str | None = Colour
    incident_text_color: str | None = Colour
    maintenance_background_color: str | None = Colour
    maintenance_text_color: str | None = Colour


class EmbedIn(Schema):
    status_embed_config: EmbedWords


@route(
    router, ["GET"], "/pages/{page_id}/status_embed_config", summary="Read the embed's look",
    answer=answers.EmbedConfig,
)  # fmt: skip
def read_embed(request: HttpRequest, page_id: str) -> Json:
    return shapes.embed_json(lookup.page(page_id))


@route(
    router, ["PATCH", "PUT"], "/pages/{page_id}/status_embed_config", summary="Change the embed's look",
    answer=answers.EmbedConfig,
)  # fmt: skip
def change_embed(request: HttpRequest, page_id: str, body: EmbedIn) -> Json:
    page, now = lookup.page(page_id), timezone.now()
    changes = body.status_embed_config.dict(exclude_none=True)
    with transaction.atomic():
        before, page.embed = page.embed, page.embed | changes
        Page.objects.filter(pk=page.pk).update(embed=page.embed, updated_at=now)
        services.audit(
            actor=actor(request), action="change_embed", subject=page.uid, before=before, after=changes, now=now
        )  # fmt: skip
    return shapes.embed_json(page)
