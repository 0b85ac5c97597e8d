"""Bringing in: subscriptions from a file or another system, with their consent."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from django.conf import settings
from django.db import IntegrityError, transaction

from incidents.lifecycle import Impact
from incidents.models import Component
from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.addressing import cleaned, hash_of, kind_of
from subscribers.models import (
    Basis,
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
# What customers hear who never subscribed: service safety, never planned work or advertising.
SAFETY_LEAST = Impact.MAJOR
LISTED = "Told without having subscribed, on the legal basis {basis}, by: {source}"
DROPPED = "dropped"  # stands in list_run of those whom their list gave up
_NOT_CONSENT = [basis for basis in Basis if basis is not Basis.CONSENT]
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
    basis: Basis = (
        Basis.CONSENT
    )  # of which consent_source and consent_at then tell the source and the day


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


@dataclass(frozen=True, slots=True)
class ListRun:
    """One reading of a customer list: its name, and the caller's word for this run."""

    name: str
    run: str


def bring_in(
    rows: Iterable[Incoming], *, source: str, now: datetime, listed: ListRun | None = None
) -> BroughtIn:
    """Take over subscriptions from a file or another system; nobody is written to.

    With consent, or another recorded legal basis, they are active at once. Who is here on such a basis hears what is bad and
    nothing else (SAFETY_LEAST), never by telephone.

    Whoever is here already keeps their own choice, whoever
    left or said stop since the consent was given stays away: running twice changes nothing.
    """
    done = BroughtIn()
    slugs = {component.slug: component for component in Component.objects.all()}
    stream = iter(rows)
    while chunk := list(islice(stream, BRING_IN_CHUNK)):
        _bring_in_chunk(list(_readied(chunk, slugs, now, done)), source, now, done, listed)
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
    if "\0" in row.consent_source:
        raise ValueError("consent_source holds a NUL character; remove it.")
    if kind is Kind.PHONE and not row.consent_at:
        raise ValueError("A telephone number needs consent_source and consent_at; both are empty.")
    if row.basis is not Basis.CONSENT:
        _check_basis(row, kind)
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


def _check_basis(row: Incoming, kind: Kind) -> None:
    """Raise ValueError where a legal basis other than consent does not reach."""
    if kind is not Kind.EMAIL:
        raise ValueError(
            f'"{row.basis}" reaches e-mail only; a {row.channel} subscription needs its owner\'s consent.'
        )
    if not row.consent_at:
        raise ValueError(
            f'the basis "{row.basis}" needs consent_source and consent_at: where and since when it holds.'
        )
    if row.wake_me:
        raise ValueError("Only who asked for it is woken; wake_me needs consent.")


def _bring_in_chunk(
    ready: Sequence[_Ready], source: str, now: datetime, done: BroughtIn, listed: ListRun | None
) -> None:
    for attempt in range(1, BRING_IN_TRIES + 1):
        try:
            with transaction.atomic():
                counts = _take(ready, source, now, listed)
            break
        except IntegrityError:
            # Somebody subscribed one of these addresses meanwhile; the next look sees them.
            if attempt == BRING_IN_TRIES:
                raise
    done.added += counts.added
    done.waiting += counts.waiting
    done.unchanged += counts.unchanged
    done.left_alone += counts.left_alone


def _take(ready: Sequence[_Ready], source: str, now: datetime, listed: ListRun | None) -> BroughtIn:
    """Write one chunk inside the caller's transaction and return its counts."""
    counts = BroughtIn()
    hashes = [entry.hashed for entry in ready]
    standing, gone, owners = _known(hashes)
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
    _insert(new, owners, source, now, listed)
    if listed:
        Subscription.objects.filter(list_name=listed.name, address_hash__in=hashes).exclude(
            state=State.GONE
        ).update(list_run=listed.run)
    pks = [pk for _, pk in confirmed]
    Subscription.objects.filter(pk__in=pks).update(state=State.ACTIVE, confirmed_at=now)
    Consent.objects.bulk_create(_imported_consent(entry, pk, source) for entry, pk in confirmed)
    return counts


Keys = tuple[str, str]  # channel and address hash


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose an address is, and what is the same on all their rows."""

    person: int
    discreet: bool = False
    paused_until: datetime | None = None


def _known(
    hashes: Sequence[str],
) -> tuple[dict[Keys, tuple[int, str]], dict[Keys, datetime | None], dict[str, _Owner]]:
    """Return what stands (row id, state), who left when, and whose an address is."""
    standing: dict[Keys, tuple[int, str]] = {}
    gone: dict[Keys, datetime | None] = {}
    owners: dict[str, _Owner] = {}
    rows = Subscription.objects.filter(role=Role.SUBSCRIBER, address_hash__in=hashes)
    # "active" stands before "pending": whoever confirmed an address owns it.
    columns = ("pk", "channel", "address_hash", "state", "gone_at", "list_run")
    shared = ("subscriber", "discreet", "paused_until")
    for pk, channel, hashed, state, gone_at, run, *whose in rows.order_by(
        "state", "id"
    ).values_list(*columns, *shared):
        if state == State.GONE:
            if run == DROPPED:
                continue  # its list gave it up, not its owner
            gone[channel, hashed] = gone_at
        else:
            standing[channel, hashed] = (pk, state)
            owners.setdefault(hashed, _Owner(*whose))
    return standing, gone, owners


def _new_people(
    entries: Sequence[_Ready], owners: dict[str, _Owner], now: datetime
) -> dict[str, _Owner]:
    """Make a person for each address that is nobody's yet: text messages and calls of one number are one person's."""
    people: dict[str, Subscriber] = {}
    for entry in entries:
        if entry.hashed not in owners and entry.hashed not in people:
            people[entry.hashed] = Subscriber(
                language=entry.row.language or "en", time_zone=entry.row.time_zone, created_at=now
            )
    Subscriber.objects.bulk_create(people.values())
    return {hashed: _Owner(person.pk) for hashed, person in people.items()}


def _insert(
    entries: Sequence[_Ready],
    owners: dict[str, _Owner],
    source: str,
    now: datetime,
    listed: ListRun | None,
) -> None:
    people = owners | _new_people(entries, owners, now)
    subscriptions = Subscription.objects.bulk_create(
        Subscription(
            subscriber_id=people[entry.hashed].person,
            discreet=people[entry.hashed].discreet,
            paused_until=people[entry.hashed].paused_until,
            channel=entry.row.channel,
            address_sealed=addresses.seal(entry.address, settings.FIELD_KEYS),
            address_hash=entry.hashed,
            state=State.ACTIVE if entry.row.consent_at else State.PENDING,
            language=entry.row.language or "en",
            time_zone=entry.row.time_zone,
            basis=entry.row.basis,
            least_impact="" if entry.row.basis is Basis.CONSENT else SAFETY_LEAST,
            list_name=listed.name if listed else "",
            list_run=listed.run if listed else "",
            every_component=not entry.components,
            wake_me=entry.row.wake_me,
            source=source[:32],
            created_at=now,
            confirmed_at=now if entry.row.consent_at else None,
        )
        for entry in entries
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
    words = IMPORTED if entry.row.basis is Basis.CONSENT else LISTED
    text = words.format(source=entry.row.consent_source, basis=entry.row.basis)
    proof = f"{source}: {entry.row.consent_source}"[:255]
    return Consent(
        subscription_id=pk,
        channel=entry.row.channel,
        address_hash=entry.hashed,
        basis=entry.row.basis,
        text=text,
        source=proof,
        at=entry.row.consent_at,
    )


def end_run(listed: ListRun, *, now: datetime) -> int:
    """Let go whom this run of their list did not name any more; return how many. Who chose for themselves stays."""
    missing = Subscription.objects.filter(list_name=listed.name, basis__in=_NOT_CONSENT)
    missing = missing.exclude(list_run=listed.run).exclude(state=State.GONE)
    return missing.update(state=State.GONE, gone_at=now, list_run=DROPPED)
