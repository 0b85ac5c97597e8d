"""Reads what happened in a house: from its database what was meant, from the providers' ledgers what arrived."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from django.conf import settings
from django.db.models import Count, Q

from incidents.lifecycle import FINAL, Audience
from incidents.models import Update
from notifications.models import Delivery
from subscribers import addresses, services
from subscribers.models import Role, Subscription, Suppression
from tests.faults.checker import TOLD, Handover, History, Intent, Person, Publish
from tests.faults.house import House

_MESSAGE_ID = re.compile(r"<?inc-([^.]+)\.u(\d+)\.(\d+)@")
SOCIAL = ("x", "facebook")
LEDGERS = {"sms": "twilio-sms", "voice": "twilio-voice"}


def of(house: House) -> History:
    """Return the history of a house that has settled."""
    opened = services.open_addresses(
        (pk, bytes(sealed))
        for pk, sealed in Subscription.objects.values_list("pk", "address_sealed")
    )
    return History(
        publishes=list(_publishes()),
        people=list(_people(opened)),
        intents=list(_intents(opened)),
        ledger=[*_mails(house), *_twilio(house), *_social(house)],
    )


def _publishes() -> Iterator[Publish]:
    for update in Update.objects.filter(published_at__isnull=False).select_related("incident"):
        assert update.published_at is not None
        yield Publish(
            update.incident.uid,
            update.number or 0,
            update.published_at.timestamp(),
            _seconds(update.shown_at),
            update.first_word or update.new_impact or update.status in FINAL,
            update.audience == Audience.NOBODY,
        )


def _people(opened: dict[int, str]) -> Iterator[Person]:
    stopped = {
        (row.channel, row.address_hash): row.at.timestamp() for row in Suppression.objects.all()
    }
    rows = Subscription.objects.filter(role__in=[Role.SUBSCRIBER, Role.SOCIAL])
    for row in rows.filter(confirmed_at__isnull=False):
        assert row.confirmed_at is not None
        suppressed_at = stopped.get((row.channel, row.address_hash))
        yield Person(
            row.channel,
            opened[row.pk],
            row.confirmed_at.timestamp(),
            _seconds(row.gone_at),
            suppressed_at,
        )


def _intents(opened: dict[int, str]) -> Iterator[Intent]:
    rows = Delivery.objects.filter(broadcast__update_entry__isnull=False).annotate(
        later=Count("tried", filter=Q(tried__result="retry"))
    )
    columns = ("pk", "channel", "subscription_id", "broadcast__incident__uid", "broadcast__number", "state",
               "later", "maybe_sent", "accepted_at", "attempts")  # fmt: skip
    for pk, channel, person, incident, number, state, later, maybe, at, tries in rows.values_list(
        *columns
    ):
        # A worker that died while it called leaves no answer, only the mark and the count: what was
        # neither put off by the provider nor the last word was ambiguous.
        ambiguous = max(1, tries - later - (state in TOLD)) if maybe else 0
        yield Intent(
            pk, channel, opened[person], incident, number, state, ambiguous, _seconds(at), tries
        )


def _mails(house: House) -> Iterator[Handover]:
    mailboxes = [house.mailbox, *house.more_mailboxes]
    for light in chain.from_iterable(box.store.newest_first(box.store.kept()) for box in mailboxes):
        found = _MESSAGE_ID.match(light.message_id)
        if found:
            incident, number, delivery = found.groups()
            yield Handover(
                "email", light.to[0], light.accepted_s, incident, int(number), int(delivery)
            )


def _twilio(house: House) -> Iterator[Handover]:
    ledger = house.providers.ledger()
    entries = {
        channel: [(entry, _delivery_of(entry)) for entry in ledger[name]]
        for channel, name in LEDGERS.items()
    }
    wanted = [pk for found in entries.values() for _, pk in found]
    rows = Delivery.objects.filter(pk__in=wanted, broadcast__incident__isnull=False)
    about = {
        pk: (uid, number)
        for pk, uid, number in rows.values_list(
            "pk", "broadcast__incident__uid", "broadcast__number"
        )
    }
    for channel, found in entries.items():
        for entry, pk in found:
            if pk in about:
                at = datetime.fromisoformat(str(entry["time"])).timestamp()
                yield Handover(channel, str(entry["to"]), at, *about[pk], pk)


def _social(house: House) -> Iterator[Handover]:
    """Posts carry no mark of ours but the incident's link; what no delivery knows is a copy of its newest."""
    ledger = house.providers.ledger()
    for channel in SOCIAL:
        rows = Delivery.objects.filter(channel=channel, broadcast__incident__isnull=False)
        known = {
            row.provider_id: row
            for row in rows.select_related("broadcast__incident")
            if row.provider_id
        }
        label = Subscription.objects.filter(channel=channel, role=Role.SOCIAL).values_list(
            "label", flat=True
        )
        for entry in ledger[channel]:
            row = (
                known.get(str(entry["id"]))
                or rows.filter(broadcast__incident__uid=_incident_of(entry))
                .order_by("-broadcast__number")
                .first()
            )
            if row is not None and row.broadcast.incident is not None:
                at = datetime.fromisoformat(str(entry["time"])).timestamp()
                yield Handover(
                    channel, label[0], at, row.broadcast.incident.uid, row.broadcast.number, row.pk
                )


def _incident_of(entry: dict[str, Any]) -> str:  # Any: JSON of a stranger
    found = re.search(r"/incidents/(\w+)", f"{entry['body']} {entry['link']}")
    return found.group(1) if found else ""


def _delivery_of(entry: dict[str, Any]) -> int:  # Any: JSON of a stranger
    token = str(entry["callback_url"]).split("?")[0].rpartition("/")[2]
    found = addresses.read_link_token("receipt", token, settings.SECRET_KEY)
    assert found, "a message that carries no delivery of ours"
    return int(found.partition(".")[0])  # the rest is the attempt


def states(channel: str = "") -> Counter[str]:
    """Return how many deliveries are in which state."""
    rows = Delivery.objects.filter(channel=channel) if channel else Delivery.objects.all()
    return Counter(dict(rows.values_list("state").annotate(n=Count("pk")).order_by()))


def _seconds(at: datetime | None) -> float | None:
    return at.timestamp() if at else None


def only(history: History, incident: str) -> History:
    """Return the part of a history that is about one incident."""
    return History(
        [one for one in history.publishes if one.incident == incident],
        history.people,
        [one for one in history.intents if one.incident == incident],
        [one for one in history.ledger if one.incident == incident],
    )


def followers_of_everything(history: History) -> History:
    """Leave out the people who chose components: theirs is not this incident."""
    everything = set(
        services.open_addresses(
            (pk, bytes(sealed))
            for pk, sealed in Subscription.objects.filter(every_component=True).values_list(
                "pk", "address_sealed"
            )
        ).values()
    )
    people = {one.address: one for one in history.people if one.address in everything}
    return replace(history, people=list(people.values()))
