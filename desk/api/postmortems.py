"""/v1 post-mortems of an incident."""

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Router, Schema
from pydantic import Field

from desk.api import answers, lookup, shapes
from desk.api.entrance import Json, actor, empty, route
from incidents import postmortems, reads
from incidents.models import BODY_CHARS_MAX, Incident, Page

router = Router(tags=["incident postmortem"])
PATH = "/pages/{page_id}/incidents/{incident_id}/postmortem"


class DraftWords(Schema):
    body_draft: str = Field(min_length=1, max_length=BODY_CHARS_MAX)


class DraftIn(Schema):
    postmortem: DraftWords


class PublishWords(Schema):
    notify_subscribers: bool = False
    notify_twitter: bool = False
    custom_tweet: str = Field(default="", max_length=1000)


class PublishIn(Schema):
    postmortem: PublishWords = PublishWords()


@route(router, ["GET"], PATH, summary="Read the post-mortem", answer=answers.Postmortem)
def read_postmortem(request: HttpRequest, page_id: str, incident_id: str) -> Json:
    page, incident = _find(page_id, incident_id)
    return _shape(page, incident)


@route(router, ["PUT"], PATH, summary="Write its draft", answer=answers.Postmortem)
def write_postmortem(request: HttpRequest, page_id: str, incident_id: str, body: DraftIn) -> Json:
    page, incident = _find(page_id, incident_id)
    text = body.postmortem.body_draft
    postmortems.draft(incident, body=text, actor=actor(request), now=timezone.now())
    return _shape(page, incident)


@route(router, ["DELETE"], PATH, summary="Delete the post-mortem", status=204)
def delete_postmortem(request: HttpRequest, page_id: str, incident_id: str) -> HttpResponse:
    page, incident = _find(page_id, incident_id)
    _shape(page, incident)
    postmortems.delete(incident, actor=actor(request), now=timezone.now())
    return empty()


@route(router, ["PUT"], f"{PATH}/publish", summary="Publish the draft", answer=answers.Postmortem)
def publish_postmortem(
    request: HttpRequest, page_id: str, incident_id: str, body: PublishIn
) -> Json:
    page, incident = _find(page_id, incident_id)
    words = body.postmortem.dict()
    postmortems.publish(incident, actor=actor(request), now=timezone.now(), **words)
    return _shape(page, incident)


@route(
    router, ["PUT"], f"{PATH}/revert", summary="Take it from the page", answer=answers.Postmortem
)
def revert_postmortem(request: HttpRequest, page_id: str, incident_id: str) -> Json:
    page, incident = _find(page_id, incident_id)
    postmortems.revert(incident, actor=actor(request), now=timezone.now())
    return _shape(page, incident)


def _find(page_id: str, incident_id: str) -> tuple[Page, Incident]:
    page = lookup.page(page_id)
    return page, lookup.incident(page, incident_id)


def _shape(page: Page, incident: Incident) -> Json:
    row = postmortems.of(incident)
    if row is None:
        raise Http404(f'incident "{incident.uid}" has no post-mortem')
    return shapes.postmortem_json(row, reads.page_fact(page))
