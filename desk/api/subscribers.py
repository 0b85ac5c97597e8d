"""/v1 subscribers: email, sms, webhook, slack and teams; operators and social accounts are not among them."""

from typing import Annotated, Literal

from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema
from ninja import Status as Answer
from pydantic import Field

from desk.api import answers, lookup, people
from desk.api.entrance import Json, actor, route
from desk.api.paging import FromZero, PageNumber, PerPage, cut
from incidents import reads, services
from incidents.lifecycle import Refused
from subscribers import addresses
from subscribers import services as verbs
from subscribers.models import LetterKind, State, Subscription

router = Router(tags=["subscribers"])
PATH = "/pages/{page_id}/subscribers"
COUNTED = ("email", "sms", "webhook", "integration_partner", "slack", "teams")
MANY_MAX = 100  # Statuspage's own: ids of one request, and "all" while there are no more
Mode = Literal["", "email", "sms", "webhook", "integration_partner", "slack", "teams"]
Standing = Literal["active", "unconfirmed", "quarantined", "all"]
Search = Annotated[str, Query(max_length=people.ADDRESS_CHARS_MAX, description="A whole address.")]


class SubscriberIn(Schema):
    subscriber: people.SubscriberWords


class ChangeIn(Schema):
    component_ids: list[str] | None = None
    subscriber: people.SubscriberWords | None = None


class ManyIn(Schema):
    """Ids, or the word all."""

    subscribers: list[str] | Literal["all"] = Field(max_length=MANY_MAX)
    type: Mode = ""
    state: Standing = "active"
    skip_unsubscription_notification: bool = False


@route(
    router, ["POST"], PATH, summary="Subscribe an address", status=201, answer=answers.Subscriber
)
def create_subscriber(request: HttpRequest, page_id: str, body: SubscriberIn) -> Answer[Json]:
    page = lookup.page(page_id)
    words = body.subscriber
    channel, address = people.address(words)
    components = list(lookup.components(page, words.component_ids or []).values())
    now = timezone.now()
    try:
        if words.skip_confirmation_notification:
            people.bring_in(channel, address, components, source=actor(request), now=now)
        else:
            verbs.subscribe(
                channel=channel, address=address, components=components, source="api", now=now
            )
        row = verbs.find(channel=channel, address=address)
    except (addresses.BadAddress, verbs.NotOffered) as error:
        raise Refused(str(error)) from error
    if row is None:
        raise Refused(
            "this address asked not to be written to; its owner can subscribe on the page"
        )
    services.audit(
        actor=actor(request), action="subscribe", subject=row.uid, after={"channel": channel}, now=now
    )  # fmt: skip
    return Answer(201, people.shape(row, reads.page_fact(page)))


@route(
    router, ["GET"], PATH, summary="List the subscribers; the first page is 0", answer=list[answers.Subscriber]
)  # fmt: skip
def list_subscribers(
    request: HttpRequest, page_id: str, page: FromZero, limit: PerPage, q: Search = "", type: Mode = "",
    state: Standing = "active", sort_field: Literal["primary", "created_at", "quarantined_at", "relevance"] = "primary",
    sort_direction: Literal["asc", "desc"] = "asc",
) -> list[Json]:  # fmt: skip
    row = lookup.page(page_id)
    found = people.found(state=state, mode=type)
    rows = people.named(found, q) if q else found
    # Addresses lie encrypted: they can be sorted by age only, whatever the field.
    rows = rows.order_by("-id" if sort_direction == "desc" else "id")
    fact = reads.page_fact(row)
    return [people.shape(each, fact) for each in cut(rows, page=page, limit=limit, first=0)]


@route(
    router,
    ["GET"],
    f"{PATH}/count",
    summary="Count the subscribers by channel",
    answer=answers.Counts,
)
def count(request: HttpRequest, page_id: str, type: Mode = "", state: Standing = "active") -> Json:
    lookup.page(page_id)
    rows = people.found(state=state, mode=type).values("channel").annotate(number=Count("id"))
    by_mode = {row["channel"]: row["number"] for row in rows.order_by()}
    return {mode: by_mode.get(mode, 0) for mode in COUNTED if not type or mode == type}


@route(
    router, ["GET"], f"{PATH}/histogram_by_state", summary="Count by channel and state", answer=answers.Histogram
)  # fmt: skip
def histogram(request: HttpRequest, page_id: str) -> Json:
    lookup.page(page_id)
    rows = people.found(state="all").values("channel", "state").annotate(number=Count("id"))
    by_both = {(row["channel"], row["state"]): row["number"] for row in rows.order_by()}
    return {mode: _states(by_both, mode) for mode in COUNTED}


@route(
    router, ["GET"], f"{PATH}/unsubscribed", summary="List who left", answer=list[answers.Subscriber]
)  # fmt: skip
def list_unsubscribed(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    fact = reads.page_fact(row)
    rows = people.subscribers().filter(state=State.GONE).order_by("id")
    return [people.shape(each, fact) for each in cut(rows, page=page, limit=per_page)]


# These stand before /subscribers/{subscriber_id}: the first route that fits answers.
@route(router, ["POST"], f"{PATH}/unsubscribe", summary="Unsubscribe many", status=201)
def unsubscribe(request: HttpRequest, page_id: str, body: ManyIn) -> Answer[Json]:
    """End them quietly: nobody is written a farewell here."""
    lookup.page(page_id)
    now = timezone.now()
    with transaction.atomic():
        for row in _many(body):
            verbs.leave(row, now=now)
            services.audit(actor=actor(request), action="unsubscribe", subject=row.uid, now=now)
    return Answer(201, {})


@route(router, ["POST"], f"{PATH}/reactivate", summary="Reactivate many", status=201)
def reactivate(request: HttpRequest, page_id: str, body: ManyIn) -> Answer[Json]:
    """Do nothing but check the ids: an address that bounced leaves the list here, its owner may come back."""
    lookup.page(page_id)
    _many(body)
    return Answer(201, {})


@route(
    router, ["POST"], f"{PATH}/resend_confirmation", summary="Send confirmations again", status=201
)
def resend_many(request: HttpRequest, page_id: str, body: ManyIn) -> Answer[Json]:
    """Write to those who have not confirmed; each address has its share a day."""
    lookup.page(page_id)
    now = timezone.now()
    for row in _many(body.model_copy(update={"state": "unconfirmed"})):
        if row.state == State.PENDING and verbs.write_letter(row, kind=LetterKind.CONFIRM, now=now):
            services.audit(
                actor=actor(request), action="resend_confirmation", subject=row.uid, now=now
            )
    return Answer(201, {})


@route(
    router,
    ["GET"],
    f"{PATH}/{{subscriber_id}}",
    summary="Read a subscriber",
    answer=answers.Subscriber,
)
def read_subscriber(request: HttpRequest, page_id: str, subscriber_id: str) -> Json:
    page = lookup.page(page_id)
    return people.shape(people.one(subscriber_id), reads.page_fact(page))


@route(
    router, ["PATCH", "PUT"], f"{PATH}/{{subscriber_id}}", summary="Change the components",
    answer=answers.Subscriber,
)  # fmt: skip
def change_subscriber(
    request: HttpRequest, page_id: str, subscriber_id: str, body: ChangeIn
) -> Json:
    page, now = lookup.page(page_id), timezone.now()
    row = people.one(subscriber_id)
    uids = body.component_ids if body.subscriber is None else body.subscriber.component_ids
    if uids is not None:
        components = list(lookup.components(page, uids).values())
        with transaction.atomic():
            verbs.prefer(row, components=components, now=now)
            services.audit(
                actor=actor(request), action="change_subscriber", subject=row.uid, now=now,
                after={"components": [each.slug for each in components]},
            )  # fmt: skip
    return people.shape(people.one(subscriber_id), reads.page_fact(page))


@route(
    router,
    ["DELETE"],
    f"{PATH}/{{subscriber_id}}",
    summary="Unsubscribe",
    answer=answers.Subscriber,
)
def delete_subscriber(
    request: HttpRequest, page_id: str, subscriber_id: str, skip_unsubscription_notification: bool = False
) -> Json:  # fmt: skip
    page = lookup.page(page_id)
    row = people.one(subscriber_id)
    gone = people.shape(row, reads.page_fact(page))
    now = timezone.now()
    with transaction.atomic():
        verbs.leave(row, now=now)
        services.audit(actor=actor(request), action="unsubscribe", subject=row.uid, now=now)
    return gone


@route(
    router, ["POST"], f"{PATH}/{{subscriber_id}}/resend_confirmation", summary="Send the confirmation again",
    status=201,
)  # fmt: skip
def resend(request: HttpRequest, page_id: str, subscriber_id: str) -> Answer[Json]:
    lookup.page(page_id)
    people.ask_again(people.one(subscriber_id), actor=actor(request), now=timezone.now())
    return Answer(201, {})


def _many(words: ManyIn) -> list[Subscription]:
    """Return who is meant; raise Refused when there are too many, or one that is not there."""
    if words.subscribers == "all":
        rows = list(people.found(state=words.state, mode=words.type)[: MANY_MAX + 1])
        if len(rows) > MANY_MAX:
            raise Refused(
                f"subscribers is all, and there are more than {MANY_MAX}; expected a list of ids"
            )
        return rows
    asked = list(dict.fromkeys(words.subscribers))
    standing = people.found(state="all", mode=words.type)
    rows = list(standing.filter(uid__in=asked))
    if missing := sorted(set(asked) - {row.uid for row in rows}):
        raise Refused(f"there is no subscriber {', '.join(missing)[:200]}")
    return rows


def _states(by_both: dict[tuple[str, str], int], mode: str) -> dict[str, int]:
    active, waiting = by_both.get((mode, State.ACTIVE), 0), by_both.get((mode, State.PENDING), 0)
    return {"active": active, "unconfirmed": waiting, "quarantined": 0, "total": active + waiting}
