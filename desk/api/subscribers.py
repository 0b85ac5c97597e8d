"""/v1 subscribers: email, sms, webhook, slack and teams; operators and social accounts are not among them."""

from datetime import datetime
from typing import Any

import phonenumbers
from django.conf import settings
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from ninja import Status as Answer

from desk.api import lookup, shapes
from desk.api.entrance import Json, actor, route
from incidents import reads, services, wire
from incidents.facts import PageFact
from incidents.lifecycle import Refused
from incidents.models import Component
from subscribers import addresses
from subscribers import services as people
from subscribers.models import LetterKind, Role, State, Subscription

router = Router(tags=["subscribers"])

# Statuspage's list is closed (contract.md, "Telling"); the words of its `mode` that we have as channels.
MODES = ("email", "sms", "webhook", "slack", "teams")
COUNTED = ("email", "sms", "webhook", "integration_partner", "slack", "teams")
STATES = {
    "active": [State.ACTIVE],
    "unconfirmed": [State.PENDING],
    "quarantined": [],  # an address that may not be written to leaves the list here
    "all": [State.ACTIVE, State.PENDING],
}


class SubscriberWords(Schema):
    email: str | None = None
    endpoint: str | None = None
    phone_number: str | None = None
    phone_country: str = "US"
    skip_confirmation_notification: bool = False
    component_ids: list[str] | None = None


class SubscriberIn(Schema):
    subscriber: SubscriberWords


class ChangeIn(Schema):
    component_ids: list[str] | None = None
    subscriber: SubscriberWords | None = None


class ManyIn(Schema):
    subscribers: list[str] | str = "all"


@route(
    router, ["POST"], "/pages/{page_id}/subscribers", response={201: dict[str, Any]}, summary="Subscribe an address"
)  # fmt: skip
def create_subscriber(request: HttpRequest, page_id: str, body: SubscriberIn) -> Answer[Json]:
    page = lookup.page(page_id)
    words = body.subscriber
    channel, address = _address(words)
    components = list(lookup.components(page, words.component_ids or []).values())
    now = timezone.now()
    try:
        if words.skip_confirmation_notification:
            _bring_in(channel, address, components, source=actor(request), now=now)
        else:
            people.subscribe(
                channel=channel, address=address, components=components, source="api", now=now
            )
        row = people.find(channel=channel, address=address)
    except (addresses.BadAddress, people.NotOffered) as error:
        raise Refused(str(error)) from error
    if row is None:
        raise Refused(
            "this address asked not to be written to; its owner can subscribe on the page"
        )
    services.audit(
        actor=actor(request),
        action="subscribe",
        subject=row.uid,
        after={"channel": channel},
        now=now,
    )
    return Answer(201, _shape(row, reads.page_fact(page)))


@route(
    router,
    ["GET"],
    "/pages/{page_id}/subscribers",
    summary="List the subscribers; the first page is 0",
)
def list_subscribers(
    request: HttpRequest, page_id: str, q: str = "", type: str = "", state: str = "active",
    limit: int = shapes.PER_PAGE_MAX, page: int = 0,
) -> list[Json]:  # fmt: skip
    row = lookup.page(page_id)
    limit = min(max(limit, 1), shapes.PER_PAGE_MAX)
    start = max(page, 0) * limit
    found = _found(state=state, mode=type)
    rows = _named(found, q) if q else found
    return [
        _shape(each, reads.page_fact(row)) for each in rows.order_by("id")[start : start + limit]
    ]


@route(
    router,
    ["GET"],
    "/pages/{page_id}/subscribers/count",
    summary="Count the subscribers by channel",
)
def count(request: HttpRequest, page_id: str, type: str = "", state: str = "active") -> Json:
    lookup.page(page_id)
    rows = _found(state=state, mode=type).values("channel").annotate(number=Count("id"))
    by_mode = {row["channel"]: row["number"] for row in rows}
    return {mode: by_mode.get(mode, 0) for mode in COUNTED if not type or mode == type}


@route(
    router,
    ["GET"],
    "/pages/{page_id}/subscribers/histogram_by_state",
    summary="Count by channel and state",
)
def histogram(request: HttpRequest, page_id: str) -> Json:
    lookup.page(page_id)
    rows = _found(state="all").values("channel", "state").annotate(number=Count("id"))
    by_both = {(row["channel"], row["state"]): row["number"] for row in rows}
    return {mode: _states(by_both, mode) for mode in COUNTED}


@route(
    router,
    ["GET"],
    "/pages/{page_id}/subscribers/unsubscribed",
    summary="List who left; the first page is 0",
)
def list_unsubscribed(
    request: HttpRequest, page_id: str, limit: int = shapes.PER_PAGE_MAX, page: int = 0
) -> list[Json]:
    row = lookup.page(page_id)
    limit = min(max(limit, 1), shapes.PER_PAGE_MAX)
    start = max(page, 0) * limit
    rows = _subscribers().filter(state=State.GONE).order_by("id")[start : start + limit]
    return [_shape(each, reads.page_fact(row)) for each in rows]


@route(router, ["GET"], "/pages/{page_id}/subscribers/{subscriber_id}", summary="Read a subscriber")
def read_subscriber(request: HttpRequest, page_id: str, subscriber_id: str) -> Json:
    page = lookup.page(page_id)
    return _shape(_one(subscriber_id), reads.page_fact(page))


@route(
    router,
    ["PATCH", "PUT"],
    "/pages/{page_id}/subscribers/{subscriber_id}",
    summary="Change the components",
)
def change_subscriber(
    request: HttpRequest, page_id: str, subscriber_id: str, body: ChangeIn
) -> Json:
    page = lookup.page(page_id)
    row = _one(subscriber_id)
    uids = body.component_ids if body.subscriber is None else body.subscriber.component_ids
    if uids is not None:
        components = list(lookup.components(page, uids).values())
        people.prefer(row, components=components, now=timezone.now())
    return _shape(_one(subscriber_id), reads.page_fact(page))


@route(router, ["DELETE"], "/pages/{page_id}/subscribers/{subscriber_id}", summary="Unsubscribe")
def delete_subscriber(request: HttpRequest, page_id: str, subscriber_id: str) -> Json:
    page = lookup.page(page_id)
    row = _one(subscriber_id)
    gone = _shape(row, reads.page_fact(page))
    now = timezone.now()
    people.leave(row, now=now)
    services.audit(actor=actor(request), action="unsubscribe", subject=row.uid, now=now)
    return gone


@route(
    router, ["POST"], "/pages/{page_id}/subscribers/{subscriber_id}/resend_confirmation",
    response={201: None}, summary="Send the confirmation again",
)  # fmt: skip
def resend(request: HttpRequest, page_id: str, subscriber_id: str) -> Answer[None]:
    lookup.page(page_id)
    row = _one(subscriber_id)
    if row.state != State.PENDING:
        raise Refused("this subscriber is confirmed already")
    if people.write_letter(row, kind=LetterKind.CONFIRM, now=timezone.now()) is None:
        raise Refused("this address had its share of confirmations today")
    return Answer(201, None)


# --- inside -----------------------------------------------------------------------------------------------------------


def _subscribers() -> QuerySet[Subscription]:
    return Subscription.objects.filter(role=Role.SUBSCRIBER, channel__in=MODES).select_related(
        "subscriber"
    )


def _found(*, state: str, mode: str = "") -> QuerySet[Subscription]:
    if state not in STATES:
        raise Refused(f'state is "{state}"; expected one of {", ".join(STATES)}')
    rows = _subscribers().filter(state__in=STATES[state])
    return rows.filter(channel=mode) if mode else rows


def _named(rows: QuerySet[Subscription], q: str) -> QuerySet[Subscription]:
    """Find an address by the whole of it: only its hash can be searched."""
    hashes = []
    for kind in (addresses.Kind.EMAIL, addresses.Kind.PHONE, addresses.Kind.URL):
        try:
            hashes.append(people.hash_of(kind, addresses.clean(kind, q)))
        except addresses.BadAddress:
            continue
    return rows.filter(address_hash__in=hashes)


def _one(uid: str) -> Subscription:
    found = _subscribers().filter(uid=uid).exclude(state=State.GONE).first()
    if found is None:
        raise Http404(f'there is no subscriber "{uid}"')
    return found


def _states(by_both: dict[tuple[str, str], int], mode: str) -> dict[str, int]:
    active, waiting = by_both.get((mode, State.ACTIVE), 0), by_both.get((mode, State.PENDING), 0)
    return {"active": active, "unconfirmed": waiting, "quarantined": 0, "total": active + waiting}


def _address(words: SubscriberWords) -> tuple[str, str]:
    """Return channel and address of what was sent: an endpoint may come with an email beside it."""
    if words.endpoint:
        return "webhook", words.endpoint
    if words.phone_number:
        return "sms", _international(words.phone_number, words.phone_country)
    if words.email:
        return "email", words.email
    raise Refused("subscriber has no address; expected email, phone_number or endpoint")


def _international(number: str, country: str) -> str:
    try:
        parsed = phonenumbers.parse(number, country.upper())
    except phonenumbers.NumberParseException as error:
        raise Refused(
            f"subscriber.phone_number is not a telephone number of {country[:10]}"
        ) from error
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _bring_in(
    channel: str, address: str, components: list[Component], *, source: str, now: datetime
) -> None:
    """Confirmed at once: whoever holds the key vouches for the consent."""
    if channel not in settings.CHANNELS:
        raise people.NotOffered(f'The channel "{channel}" is not configured here.')
    row = people.Incoming(
        channel=channel, address=address, components=tuple(each.slug for each in components),
        consent_source=source, consent_at=now,
    )  # fmt: skip
    done = people.bring_in([row], source=source, now=now)
    if done.refused:
        raise Refused(done.refused[0].why)


def _shape(row: Subscription, page: PageFact) -> Json:
    address = people.address_of(row)
    chosen = [] if row.every_component else [component.uid for component in row.components.all()]
    return {
        "id": row.uid,
        "mode": row.channel,
        "email": address if row.channel == "email" else None,
        "endpoint": address if row.channel in ("webhook", "slack", "teams") else None,
        "phone_number": address if row.channel == "sms" else None,
        "phone_country": _country(address) if row.channel == "sms" else None,
        "display_phone_number": address if row.channel == "sms" else None,
        "obfuscated_channel_name": None,
        "workspace_name": None,
        "skip_confirmation_notification": row.state == State.ACTIVE
        and row.source.startswith("api:"),
        "quarantined_at": None,
        "purge_at": None,
        "components": chosen,
        "page_access_user_id": None,
        "created_at": wire.timestamp(row.created_at, page),
    }


def _country(number: str | None) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number or ""))
    except phonenumbers.NumberParseException:
        return None
