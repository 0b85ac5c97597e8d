"""Bringing in: subscriptions from a file or another system, with their consent."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from django.conf import settings
from django.db import IntegrityError, transaction

from incidents.models import Component
from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.addressing import cleaned, hash_of, kind_of
from subscribers.models import (
    Consent,
    Role,
    State,
    Subscriber,
    Subscription,
    Suppression,
)
from subscribers.rows import check_language, check_time_zone

BRING_IN_CHUNK = 1_000  # rows of one transaction
BRING_IN_TRIES = 3  # when others subscribe the same addresses meanwhile
IMPORTED = "Brought in with the consent recorded by: {source}"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A subscription from outside, as it was written; `place` says where, for the report."""

    channel: str
    address: str = field(repr=False)
    components: tuple[str, ...] = ()  # slugs; empty means everything
    language: str = ""
    time_zone: str = ""
    wake_me: bool = False
    consent_source: str = ""
    consent_at: datetime | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    place: str
    why: str


@dataclass(slots=True)
class BroughtIn:
    """What an import did: counts, and what it refused."""

    added: int = 0  # active at once
    waiting: int = 0  # no consent on record: pending until their owner confirms
    unchanged: int = 0
    left_alone: int = 0  # unsubscribed or stopped since the consent was given
    refused: list[Refusal] = field(default_factory=list)


def bring_in(rows: Iterable[Incoming], *, source: str, now: datetime) -> BroughtIn:
    """Take over subscriptions from a file or another system; nobody is written to.

    With consent they are active at once. Whoever is here already keeps their own choice, whoever
    left or said stop since the consent was given stays away: running twice changes nothing.
    """
    done = BroughtIn()
    slugs = {component.slug: component for component in Component.objects.all()}
    stream = iter(rows)
    while chunk := list(islice(stream, BRING_IN_CHUNK)):
        _bring_in_chunk(list(_readied(chunk, slugs, now, done)), source, now, done)
    return done


@dataclass(frozen=True, slots=True)
class _Ready:
    row: Incoming
    address: str
    hashed: str
    kind: Kind
    components: tuple[Component, ...]


def _readied(
    chunk: Sequence[Incoming], slugs: dict[str, Component], now: datetime, done: BroughtIn
) -> Iterator[_Ready]:
    """Yield the rows that can be taken, each address once; note the others in `done`."""
    seen: set[tuple[str, str]] = set()
    for row in chunk:
        try:
            ready = _ready(row, slugs, now)
        except ValueError as error:
            done.refused.append(Refusal(row.place, str(error)))
            continue
        if (row.channel, ready.hashed) in seen:
            done.unchanged += 1
            continue
        seen.add((row.channel, ready.hashed))
        yield ready


def _ready(row: Incoming, slugs: dict[str, Component], now: datetime) -> _Ready:
    """Return the checked row. Raises ValueError (BadAddress, NotOffered among them) in one sentence."""
    kind = kind_of(row.channel)
    if kind is Kind.ACCOUNT:
        raise ValueError(
            f'Channel "{row.channel}" is the page\'s own account; nobody subscribes by it.'
        )
    address = cleaned(row.channel, row.address)
    if bool(row.consent_source) != bool(row.consent_at):
        missing, given = (
            ("consent_at", "consent_source")
            if row.consent_source
            else ("consent_source", "consent_at")
        )
        raise ValueError(f"{given} is given but {missing} is empty; a consent needs both.")
    if kind is Kind.PHONE and not row.consent_at:
        raise ValueError("A telephone number needs consent_source and consent_at; both are empty.")
    if row.consent_at and row.consent_at > now:
        raise ValueError(
            f"consent_at is {row.consent_at:%Y-%m-%d %H:%M} UTC, which has not come yet."
        )
    check_language(row.language)
    check_time_zone(row.time_zone)
    strange = [slug for slug in row.components if slug not in slugs]
    if strange:
        known = ", ".join(sorted(slugs)) or "none yet"
        raise ValueError(f'There is no component "{strange[0][:64]}"; known are {known}.')
    chosen = tuple(slugs[slug] for slug in dict.fromkeys(row.components))
    return _Ready(row, address, hash_of(kind, address), kind, chosen)


def _bring_in_chunk(ready: Sequence[_Ready], source: str, now: datetime, done: BroughtIn) -> None:
    for attempt in range(1, BRING_IN_TRIES + 1):
        try:
            with transaction.atomic():
                counts = _take(ready, source, now)
            break
        except IntegrityError:
            # Somebody subscribed one of these addresses meanwhile; the next look sees them.
            if attempt == BRING_IN_TRIES:
                raise
    done.added += counts.added
    done.waiting += counts.waiting
    done.unchanged += counts.unchanged
    done.left_alone += counts.left_alone


def _take(ready: Sequence[_Ready], source: str, now: datetime) -> BroughtIn:
    """Write one chunk inside the caller's transaction and return its counts."""
    counts = BroughtIn()
    hashes = [entry.hashed for entry in ready]
    standing, gone = _known(hashes)
    stopped = set(
        Suppression.objects.filter(address_hash__in=hashes, by_owner=True).values_list(
            "channel", "address_hash"
        )
    )
    new: list[_Ready] = []
    confirmed: list[tuple[_Ready, int]] = []
    for entry in ready:
        key = (entry.row.channel, entry.hashed)
        left_at = gone.get(key)
        if key in standing:
            pk, state = standing[key]
            if state == State.PENDING and entry.row.consent_at:
                confirmed.append((entry, pk))
                counts.added += 1
            else:
                counts.unchanged += 1
        elif key in stopped or (
            left_at and not (entry.row.consent_at and entry.row.consent_at > left_at)
        ):
            counts.left_alone += 1
        else:
            new.append(entry)
            counts.added += bool(entry.row.consent_at)
            counts.waiting += not entry.row.consent_at
    _insert(new, source, now)
    pks = [pk for _, pk in confirmed]
    Subscription.objects.filter(pk__in=pks).update(state=State.ACTIVE, confirmed_at=now)
    Consent.objects.bulk_create(_imported_consent(entry, pk, source) for entry, pk in confirmed)
    return counts


Keys = tuple[str, str]  # channel and address hash


def _known(
    hashes: Sequence[str],
) -> tuple[dict[Keys, tuple[int, str]], dict[Keys, datetime | None]]:
    """Return what stands (row id, state) and who left when."""
    standing: dict[Keys, tuple[int, str]] = {}
    gone: dict[Keys, datetime | None] = {}
    rows = Subscription.objects.filter(role=Role.SUBSCRIBER, address_hash__in=hashes).order_by("id")
    for pk, channel, hashed, state, gone_at in rows.values_list(
        "pk", "channel", "address_hash", "state", "gone_at"
    ):
        if state == State.GONE:
            gone[channel, hashed] = gone_at
        else:
            standing[channel, hashed] = (pk, state)
    return standing, gone


def _insert(entries: Sequence[_Ready], source: str, now: datetime) -> None:
    people = Subscriber.objects.bulk_create(
        Subscriber(
            language=entry.row.language or "en", time_zone=entry.row.time_zone, created_at=now
        )
        for entry in entries
    )
    subscriptions = Subscription.objects.bulk_create(
        Subscription(
            subscriber=person,
            channel=entry.row.channel,
            address_sealed=addresses.seal(entry.address, settings.FIELD_KEYS),
            address_hash=entry.hashed,
            state=State.ACTIVE if entry.row.consent_at else State.PENDING,
            language=entry.row.language or "en",
            every_component=not entry.components,
            wake_me=entry.row.wake_me,
            source=source[:32],
            created_at=now,
            confirmed_at=now if entry.row.consent_at else None,
        )
        for entry, person in zip(entries, people, strict=True)
    )
    pairs = list(zip(entries, subscriptions, strict=True))
    choice = Subscription.components.through
    choice.objects.bulk_create(
        choice(subscription_id=subscription.pk, component_id=component.pk)
        for entry, subscription in pairs
        for component in entry.components
    )
    Consent.objects.bulk_create(
        _imported_consent(entry, subscription.pk, source)
        for entry, subscription in pairs
        if entry.row.consent_at
    )


def _imported_consent(entry: _Ready, pk: int, source: str) -> Consent:
    assert entry.row.consent_at is not None  # callers pick the rows with consent
    text = IMPORTED.format(source=entry.row.consent_source)
    proof = f"{source}: {entry.row.consent_source}"[:255]
    return Consent(subscription_id=pk, text=text, source=proof, at=entry.row.consent_at)
