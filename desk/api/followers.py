"""/v1 subscribers of one incident."""

from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from ninja import Status as Answer

from desk.api import answers, lookup, people
from desk.api.entrance import Json, actor, route
from desk.api.paging import PageNumber, PerPage, cut
from incidents import reads, services
from incidents.lifecycle import Refused
from incidents.models import Incident
from subscribers import following
from subscribers.models import Subscription

router = Router(tags=["incident subscribers"])
PATH = "/pages/{page_id}/incidents/{incident_id}/subscribers"


class FollowerIn(Schema):
    subscriber: people.SubscriberWords


@route(
    router, ["GET"], PATH, summary="List who follows the incident", answer=list[answers.Subscriber]
)
def list_followers(
    request: HttpRequest, page_id: str, incident_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    fact = reads.page_fact(row)
    rows = following.followers(lookup.incident(row, incident_id), channels=people.MODES)
    return [people.shape(each, fact) for each in cut(rows, page=page, limit=per_page)]


@route(
    router,
    ["POST"],
    PATH,
    summary="Let an address follow the incident",
    status=201,
    answer=answers.Subscriber,
)
def create_follower(
    request: HttpRequest, page_id: str, incident_id: str, body: FollowerIn
) -> Answer[Json]:
    page, words, now = lookup.page(page_id), body.subscriber, timezone.now()
    incident = lookup.incident(page, incident_id)
    channel, address = people.address(words)
    if words.skip_confirmation_notification:
        people.check_channel(channel)
    try:
        row = following.follow(
            incident, channel=channel, address=address, confirmed=words.skip_confirmation_notification,
            source=actor(request), now=now,
        )  # fmt: skip
    except ValueError as error:  # BadAddress and NotOffered among them
        raise Refused(str(error)) from error
    if row is None:
        raise Refused(
            "this address asked not to be written to; its owner can subscribe on the page"
        )
    services.audit(
        actor=actor(request), action="follow", subject=row.uid, after={"incident": incident.uid}, now=now
    )  # fmt: skip
    return Answer(201, people.shape(row, reads.page_fact(page)))


@route(
    router,
    ["GET"],
    f"{PATH}/{{subscriber_id}}",
    summary="Read a follower",
    answer=answers.Subscriber,
)
def read_follower(request: HttpRequest, page_id: str, incident_id: str, subscriber_id: str) -> Json:
    page = lookup.page(page_id)
    row = _one(lookup.incident(page, incident_id), subscriber_id)
    return people.shape(row, reads.page_fact(page))


@route(
    router,
    ["DELETE"],
    f"{PATH}/{{subscriber_id}}",
    summary="Stop following",
    answer=answers.Subscriber,
)
def delete_follower(
    request: HttpRequest, page_id: str, incident_id: str, subscriber_id: str
) -> Json:
    page, now = lookup.page(page_id), timezone.now()
    incident = lookup.incident(page, incident_id)
    row = _one(incident, subscriber_id)
    gone = people.shape(row, reads.page_fact(page))
    following.unfollow(row, incident, now=now)
    services.audit(
        actor=actor(request), action="unfollow", subject=row.uid, after={"incident": incident.uid}, now=now
    )  # fmt: skip
    return gone


@route(
    router, ["POST"], f"{PATH}/{{subscriber_id}}/resend_confirmation", summary="Send the confirmation again",
    status=201,
)  # fmt: skip
def resend(
    request: HttpRequest, page_id: str, incident_id: str, subscriber_id: str
) -> Answer[Json]:
    row = _one(lookup.incident(lookup.page(page_id), incident_id), subscriber_id)
    people.ask_again(row, actor=actor(request), now=timezone.now())
    return Answer(201, {})


def _one(incident: Incident, uid: str) -> Subscription:
    found = following.followers(incident, channels=people.MODES).filter(uid=uid).first()
    if found is None:
        raise Http404(f'incident "{incident.uid}" has no subscriber "{uid}"')
    return found
