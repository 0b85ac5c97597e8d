"""The verbs of people: subscribe, confirm, prefer, unsubscribe, suppress, bring in, forget."""

import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from zoneinfo import available_timezones

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from incidents import doorbell
from incidents.models import Component
from subscribers import addresses
from subscribers.addresses import BadAddress, Kind
from subscribers.models import (
    Ask,
    Consent,
    Letter,
    LetterKind,
    Role,
    State,
    Subscriber,
    Subscription,
    Suppression,
)

# The bounds of security.md, "Links" and "Abuse".
CONFIRM_LIFETIME = timedelta(hours=48)
MANAGE_LIFETIME = timedelta(hours=1)
CODE_LIFETIME = timedelta(minutes=10)
CODE_TRIES_MAX = 5
LETTERS_MAX, LETTERS_WINDOW = 3, timedelta(days=1)  # of each kind to one address
# Statuspage's own bound for text messages; for mail a school or a carrier's NAT must still fit.
ASKS_OF_A_NETWORK_MAX = {Kind.PHONE: 10, Kind.EMAIL: 200, Kind.PUSH: 200, Kind.URL: 20}
ASKS_WINDOW = timedelta(hours=4)
# Toll fraud works through blocks of numbers from many networks: per block and for all together.
ASKS_OF_A_PREFIX_MAX, ASKS_OF_ALL_MAX, SPEND_WINDOW = 30, 2_000, timedelta(hours=1)
# A full mailbox or a mended domain deserves another try, but not more than one bounce a day.
BOUNCE_REST = timedelta(days=1)
BRING_IN_CHUNK = 1_000  # rows of one transaction
BRING_IN_TRIES = 3  # when others subscribe the same addresses meanwhile
LETTERS_OF_A_NUMBER_MAX = 20  # open confirmations of one number that a typed code is held against

WAKING_CHANNEL = "voice"  # the only channel that rings
IMPORTED = "Brought in with the consent recorded by: {source}"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,6})?")


class NotOffered(ValueError):
    """This channel is not configured; the text says which are."""


class TooManyAsks(Exception):
    """Too many letters were asked for from one network or for one block of numbers."""


class Why(StrEnum):
    """Why a link leads nowhere."""

    UNKNOWN = "unknown"  # never ours: cut, forged, for something else
    EXPIRED = "expired"  # ours once: too old, or the subscription is gone


class DeadLink(Exception):
    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True, slots=True)
class Operator:
    """One entry of site.yaml's `operators`."""

    name: str
    channel: str
    address: str = field(repr=False)


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


# --- channels, addresses, links ---------------------------------------------------------------------


def offered() -> dict[str, tuple[str, Kind]]:
    """Return the configured channels that a person can choose on the page: name -> label, kind."""
    kinds = {name: (label, Kind(kind)) for name, (label, kind) in settings.CHANNELS.items()}
    return {name: row for name, row in kinds.items() if row[1] is not Kind.ACCOUNT}


def kind_of(channel: str) -> Kind:
    """Return what an address of `channel` is. Raises NotOffered."""
    if channel in settings.CHANNELS:
        return Kind(settings.CHANNELS[channel][1])
    if channel in addresses.USUAL_KINDS:
        return addresses.USUAL_KINDS[channel]
    known = ", ".join(sorted({*settings.CHANNELS, *addresses.USUAL_KINDS}))
    raise NotOffered(f'There is no channel "{channel[:32]}"; known are {known}.')


def cleaned(channel: str, address: str) -> str:
    """Return the address of a channel in the one form that we store. Raises BadAddress, NotOffered."""
    return addresses.clean(
        kind_of(channel),
        address,
        hosts=addresses.HOSTS.get(channel, ()),
        plain_http=settings.ENVIRON.allow_private_hooks,
    )


def hash_of(kind: Kind, address: str) -> str:
    """Return the look-up hash of a cleaned address."""
    return addresses.address_hash(kind, address, settings.SECRET_KEY)


def network_hash(network: str) -> str:
    """Return the hash under which a network's requests are counted."""
    return addresses.address_hash("network", network, settings.SECRET_KEY)


def address_of(subscription: Subscription) -> str | None:
    """Return the address in clear; None when it was purged or no key opens it."""
    return open_addresses([(subscription.pk, bytes(subscription.address_sealed))]).get(
        subscription.pk
    )


def open_addresses(rows: Iterable[tuple[int, bytes]]) -> dict[int, str]:
    """Return row id -> address of `(id, address_sealed)` pairs; those that no key opens are missing."""
    opened = {}
    for pk, sealed in rows:
        try:
            opened[pk] = addresses.unseal(sealed, settings.FIELD_KEYS)
        except addresses.Unreadable:
            continue
    return opened


def unsubscribe_url(subscription_uid: str) -> str:
    return _url("unsubscribe", subscription_uid)


def manage_url(letter_uid: str = "") -> str:
    """Return the personal link of a letter, or the page that sends one.

    A message that is kept and forwarded for years must carry the latter.
    """
    return _url("manage", letter_uid) if letter_uid else f"{settings.SITE_URL}/manage"


def confirm_url(letter_uid: str) -> str:
    return _url("confirm", letter_uid)


def letter_url(letter: Letter) -> str:
    """Return the link that this letter carries; a test carries none."""
    match letter.kind:
        case LetterKind.CONFIRM:
            return confirm_url(letter.uid)
        case LetterKind.MANAGE:
            return manage_url(letter.uid)
        case _:
            return ""


def letter_code(letter: Letter) -> str:
    """Return the code that confirms by hand at /confirm; only a confirmation has one."""
    is_typed = letter.kind == LetterKind.CONFIRM
    return addresses.code(letter.uid, settings.SECRET_KEY) if is_typed else ""


def _url(purpose: str, uid: str) -> str:
    token = addresses.link_token(purpose, uid, settings.SECRET_KEY)
    return f"{settings.SITE_URL}/{purpose}/{token}"


def find(*, channel: str, address: str, role: Role = Role.SUBSCRIBER) -> Subscription | None:
    """Return the subscription of an address that is not gone. Raises BadAddress, NotOffered."""
    kind = kind_of(channel)
    hashed = hash_of(kind, cleaned(channel, address))
    return _standing(role).filter(channel=channel, address_hash=hashed).first()


# --- subscribe and confirm --------------------------------------------------------------------------


@transaction.atomic
def subscribe(
    *,
    channel: str,
    address: str,
    now: datetime,
    components: Sequence[Component] = (),
    language: str = "en",
    time_zone: str = "",
    wake_me: bool = False,
    source: str = "page",
    consent_text: str = "",
    network_hash: str = "",
) -> None:
    """Ask the owner of `address` whether they want this; without `components`, everything.

    Returns nothing on purpose: an unknown address gets a confirmation, a subscribed one a manage
    link, one that said stop nothing, and whoever asked cannot tell. An empty `network_hash` is
    counted against nobody (an operator's own request). Raises BadAddress, NotOffered, TooManyAsks.
    """
    kind = kind_of(channel)
    address = cleaned(channel, address)
    if network_hash:
        _count_ask(kind, address, network_hash, now)
    if not _may_write(channel, hash_of(kind, address), now):
        return
    subscription = _standing_or_new(channel, kind, address, source, now)
    if subscription.state == State.ACTIVE:
        write_letter(subscription, kind=LetterKind.MANAGE, now=now)
        return
    _choose(subscription, components, language=language, time_zone=time_zone, wake_me=wake_me)
    if write_letter(subscription, kind=LetterKind.CONFIRM, now=now):
        # One proof for each letter at most: a stranger's repeated clicks must not fill the table.
        _record_consent(
            subscription, text=consent_text, source=source, network=network_hash, now=now
        )


def write_letter(subscription: Subscription, *, kind: LetterKind, now: datetime) -> Letter | None:
    """Leave a letter for the voice to send; None when this address had its share of them today."""
    recent = Letter.objects.filter(
        kind=kind,
        created_at__gt=now - LETTERS_WINDOW,
        subscription__channel=subscription.channel,
        subscription__address_hash=subscription.address_hash,
    )
    if recent.count() >= LETTERS_MAX:
        return None
    letter = Letter.objects.create(subscription=subscription, kind=kind, created_at=now)
    doorbell.ring_on_commit("letter")
    return letter


def letter_of(kind: LetterKind, token: str, *, now: datetime) -> Letter:
    """Return the letter that a link belongs to. Raises DeadLink."""
    uid = addresses.read_link_token(kind, token, settings.SECRET_KEY)
    if uid is None:
        raise DeadLink(Why.UNKNOWN)
    letter = Letter.objects.select_related("subscription__subscriber").filter(uid=uid).first()
    lifetime = CONFIRM_LIFETIME if kind is LetterKind.CONFIRM else MANAGE_LIFETIME
    if letter is None or letter.created_at <= now - lifetime:
        raise DeadLink(Why.EXPIRED)
    if kind is LetterKind.CONFIRM and letter.subscription.state == State.GONE:
        raise DeadLink(Why.EXPIRED)
    return letter


@transaction.atomic
def confirm(*, token: str, now: datetime) -> Subscription:
    """Make the subscription active; a second press changes nothing. Raises DeadLink."""
    letter = letter_of(LetterKind.CONFIRM, token, now=now)
    if letter.used_at is None:
        _activate(letter, now)
    return Subscription.objects.get(pk=letter.subscription_id)


@transaction.atomic
def confirm_code(*, phone: str, code: str, now: datetime) -> Subscription | None:
    """Make active what this number was sent `code` for; None for a wrong, late or repeated one.

    Each wrong try counts on every open letter of the number. Raises BadAddress.
    """
    hashed = hash_of(Kind.PHONE, addresses.clean(Kind.PHONE, phone))
    letters = list(
        Letter.objects.select_for_update(of=("self",))
        .select_related("subscription")
        .filter(
            kind=LetterKind.CONFIRM,
            used_at__isnull=True,
            tries__lt=CODE_TRIES_MAX,
            created_at__gt=now - CODE_LIFETIME,
            subscription__address_hash=hashed,
            subscription__state=State.PENDING,
        )
        .order_by("id")[:LETTERS_OF_A_NUMBER_MAX]
    )
    typed = "".join(code.split())[:16].encode()
    match = [
        letter for letter in letters if hmac.compare_digest(letter_code(letter).encode(), typed)
    ]
    if not match:
        pks = [letter.pk for letter in letters]
        Letter.objects.filter(pk__in=pks).update(tries=F("tries") + 1)
        return None
    _activate(match[0], now)
    return Subscription.objects.get(pk=match[0].subscription_id)


@transaction.atomic
def confirm_by_reply(*, channel: str, address_hash: str, now: datetime) -> bool:
    """Make active what this number answers YES to: its newest open confirmation."""
    letter = (
        Letter.objects.filter(
            kind=LetterKind.CONFIRM,
            used_at__isnull=True,
            created_at__gt=now - CONFIRM_LIFETIME,
            subscription__channel=channel,
            subscription__address_hash=address_hash,
            subscription__state=State.PENDING,
        )
        .order_by("-id")
        .first()
    )
    if letter:
        _activate(letter, now)
    return letter is not None


@transaction.atomic
def confirm_by_challenge(letter: Letter, *, now: datetime) -> None:
    """Make active whose endpoint sent our challenge back: only its owner could."""
    if letter.kind == LetterKind.CONFIRM and letter.used_at is None:
        _activate(letter, now)


# --- manage and leave -------------------------------------------------------------------------------


@transaction.atomic
def ask_to_manage(*, address: str, network_hash: str, now: datetime) -> None:
    """Send a manage link to the address if it is subscribed; nothing tells whether it is.

    Raises BadAddress, TooManyAsks.
    """
    kind = _kind_typed(address)
    address = addresses.clean(kind, address, plain_http=settings.ENVIRON.allow_private_hooks)
    if network_hash:
        _count_ask(kind, address, network_hash, now)
    rows = list(of_address(hash_of(kind, address)))
    # A link cannot be spoken: a call is the last resort.
    rows.sort(key=lambda row: (row.channel == WAKING_CHANNEL, row.state != State.ACTIVE))
    for row in rows:
        if _may_write(row.channel, row.address_hash, now):
            is_active = row.state == State.ACTIVE
            write_letter(row, kind=LetterKind.MANAGE if is_active else LetterKind.CONFIRM, now=now)
            return


def _kind_typed(address: str) -> Kind:
    if "://" in address:
        return Kind.URL
    return Kind.EMAIL if "@" in address else Kind.PHONE


def of_address(address_hash: str) -> Iterable[Subscription]:
    """Return what stands for one address, on all its channels: text messages and calls share one."""
    return _standing(Role.SUBSCRIBER).filter(address_hash=address_hash).order_by("channel", "id")


@transaction.atomic
def prefer(
    subscription: Subscription,
    *,
    now: datetime,
    components: Sequence[Component] | None = None,
    language: str | None = None,
    time_zone: str | None = None,
    wake_me: bool | None = None,
    consent_text: str = "",
) -> None:
    """Change what is given and leave the rest; an empty `components` means everything."""
    subscription = (
        Subscription.objects.select_for_update(of=("self",))
        .select_related("subscriber")
        .get(pk=subscription.pk)
    )
    is_asked_to_wake = bool(wake_me) and not subscription.wake_me
    _choose(subscription, components, language=language, time_zone=time_zone, wake_me=wake_me)
    if is_asked_to_wake and consent_text:
        _record_consent(subscription, text=consent_text, source="manage", network="", now=now)


def subscription_of(token: str) -> Subscription:
    """Return the subscription that an unsubscribe link belongs to, gone or not. Raises DeadLink."""
    uid = addresses.read_link_token("unsubscribe", token, settings.SECRET_KEY)
    if uid is None:
        raise DeadLink(Why.UNKNOWN)
    row = Subscription.objects.filter(uid=uid, role=Role.SUBSCRIBER).first()
    if row is None:
        raise DeadLink(Why.EXPIRED)
    return row


def unsubscribe(*, token: str, now: datetime) -> Subscription:
    """End the subscription; again and again without harm. Raises DeadLink."""
    subscription = subscription_of(token)
    leave(subscription, now=now)
    return subscription


def leave(subscription: Subscription, *, now: datetime) -> None:
    """End a subscription; it hears nothing from the next look at the database on."""
    Subscription.objects.filter(pk=subscription.pk).exclude(state=State.GONE).update(
        state=State.GONE, gone_at=now
    )


@transaction.atomic
def suppress(
    *, channel: str, address_hash: str, reason: str, now: datetime, by_owner: bool = False
) -> None:
    """Write to this address no more: it bounced, or (`by_owner`) its owner said stop or complained.

    The owner's word also ends the subscription. After a bounce it stays and is shown as
    undeliverable, so that an operator sees who is not reached.
    """
    row, is_new = Suppression.objects.get_or_create(
        channel=channel,
        address_hash=address_hash,
        defaults={"reason": reason[:255], "by_owner": by_owner, "at": now},
    )
    if by_owner:
        if not is_new:
            row.reason, row.by_owner, row.at = reason[:255], True, now
            row.save(update_fields=["reason", "by_owner", "at"])
        _standing(Role.SUBSCRIBER).filter(channel=channel, address_hash=address_hash).update(
            state=State.GONE, gone_at=now
        )


def lift(*, channel: str, address_hash: str) -> bool:
    """Allow writing again: its owner answered START, or an operator knows better. True if it was suppressed."""
    deleted, _ = Suppression.objects.filter(channel=channel, address_hash=address_hash).delete()
    return deleted > 0


def suppressions(rows: Iterable[Subscription]) -> dict[int, Suppression]:
    """Return row id -> why it cannot be written to, of those subscriptions where that is so."""
    rows = list(rows)
    hashes = {row.address_hash for row in rows}
    found = {
        (row.channel, row.address_hash): row
        for row in Suppression.objects.filter(address_hash__in=hashes)
    }
    pairs = {row.pk: found.get((row.channel, row.address_hash)) for row in rows}
    return {pk: suppression for pk, suppression in pairs.items() if suppression}


@transaction.atomic
def forget(subscription: Subscription, *, now: datetime) -> None:
    """Erase the person: address, name, consents, letters. The hash stays, so that no import brings them back."""
    leave(subscription, now=now)
    subscription.letters.all().delete()
    subscription.consents.all().delete()
    subscription.components.clear()
    Subscription.objects.filter(pk=subscription.pk).update(address_sealed=b"", label="")
    Subscriber.objects.filter(pk=subscription.subscriber_id).update(time_zone="", language="en")


# --- operators and the page's own accounts ----------------------------------------------------------


@transaction.atomic
def set_operators(operators: Sequence[Operator], *, now: datetime) -> bool:
    """Make this list, in this order, the ones who hear Calls; True when that changed anything.

    Raises BadAddress, NotOffered.
    """
    cleaned = [(entry, kind_of(entry.channel), _clean_operator(entry)) for entry in operators]
    former = {
        (row.channel, row.address_hash): row for row in _standing(Role.OPERATOR).order_by("id")
    }
    is_changed = False
    for position, (entry, kind, address) in enumerate(cleaned):
        row = former.pop((entry.channel, hash_of(kind, address)), None)
        if row is None:
            _new(
                entry.channel, kind, address, role=Role.OPERATOR, state=State.ACTIVE, source="site.yaml", now=now,
                confirmed_at=now, label=entry.name[:255], position=position, wake_me=entry.channel == WAKING_CHANNEL,
            )  # fmt: skip
            is_changed = True
        elif (row.position, row.label) != (position, entry.name[:255]):
            Subscription.objects.filter(pk=row.pk).update(position=position, label=entry.name[:255])
            is_changed = True
    for row in former.values():
        leave(row, now=now)
    return is_changed or bool(former)


def _clean_operator(entry: Operator) -> str:
    try:
        return cleaned(entry.channel, entry.address)
    except BadAddress as error:
        raise BadAddress(f'Operator "{entry.name}": {error}') from error


def ensure_social(*, channel: str, label: str, now: datetime) -> Subscription:
    """Return the subscription of the page's own account on `channel`, made when it is not there."""
    row = _standing(Role.SOCIAL).filter(channel=channel).order_by("id").first()
    if row:
        return row
    address = addresses.clean(Kind.ACCOUNT, label)
    try:
        with transaction.atomic():
            return _new(
                channel, Kind.ACCOUNT, address, role=Role.SOCIAL, state=State.ACTIVE, source="settings", now=now,
                confirmed_at=now, label=address,
            )  # fmt: skip
    except IntegrityError:
        # Another process was quicker with the same account.
        return _standing(Role.SOCIAL).get(
            channel=channel, address_hash=hash_of(Kind.ACCOUNT, address)
        )


# --- bring in ---------------------------------------------------------------------------------------


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


def check_language(language: str) -> None:
    """Raise ValueError unless `language` is empty or a tag as en or pt-BR."""
    if language and not _LANGUAGE.fullmatch(language):
        raise ValueError(f'"{language[:16]}" is not a language; expected a tag as en or pt-BR.')


def check_time_zone(time_zone: str) -> None:
    """Raise ValueError unless `time_zone` is empty or a name of the IANA list."""
    if time_zone and time_zone not in _time_zones():
        raise ValueError(
            f'"{time_zone[:64]}" is not a time zone; expected a name as America/New_York.'
        )


@lru_cache(maxsize=1)
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


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


# --- inside -----------------------------------------------------------------------------------------


def _standing(role: Role) -> QuerySet[Subscription]:
    return Subscription.objects.filter(role=role).exclude(state=State.GONE)


def _standing_or_new(
    channel: str, kind: Kind, address: str, source: str, now: datetime
) -> Subscription:
    """Return the locked row of this address; a new one is pending."""
    rows = _standing(Role.SUBSCRIBER).filter(channel=channel, address_hash=hash_of(kind, address))
    # The lock makes two requests for one address count each other's letters.
    locked = rows.select_for_update(of=("self",)).select_related("subscriber")
    if row := locked.first():
        return row
    try:
        with transaction.atomic():
            return _new(
                channel,
                kind,
                address,
                role=Role.SUBSCRIBER,
                state=State.PENDING,
                source=source,
                now=now,
            )
    except IntegrityError:
        # Asked twice in one moment: the other request made it.
        return locked.get()


def _new(
    channel: str, kind: Kind, address: str, *, role: Role, state: State, source: str, now: datetime,
    confirmed_at: datetime | None = None, label: str = "", position: int = 0, wake_me: bool = False,
) -> Subscription:  # fmt: skip
    return Subscription.objects.create(
        subscriber=Subscriber.objects.create(created_at=now),
        channel=channel,
        address_sealed=addresses.seal(address, settings.FIELD_KEYS),
        address_hash=hash_of(kind, address),
        role=role,
        state=state,
        label=label,
        position=position,
        wake_me=wake_me,
        source=source[:32],
        created_at=now,
        confirmed_at=confirmed_at,
    )


def _choose(
    subscription: Subscription,
    components: Sequence[Component] | None,
    *,
    language: str | None,
    time_zone: str | None,
    wake_me: bool | None,
) -> None:
    person = subscription.subscriber
    if language:
        person.language = subscription.language = language
    if time_zone is not None:
        person.time_zone = time_zone
    if wake_me is not None:
        subscription.wake_me = wake_me
    if components is not None:
        subscription.every_component = not components
        subscription.only_incidents = False
        subscription.components.set(components)
    person.save(update_fields=["language", "time_zone"])
    subscription.save(update_fields=["language", "wake_me", "every_component", "only_incidents"])


def _activate(letter: Letter, now: datetime) -> None:
    Letter.objects.filter(pk=letter.pk).update(used_at=now)
    Subscription.objects.filter(pk=letter.subscription_id, state=State.PENDING).update(
        state=State.ACTIVE, confirmed_at=now
    )


def _record_consent(
    subscription: Subscription, *, text: str, source: str, network: str, now: datetime
) -> None:
    Consent.objects.create(
        subscription=subscription, text=text, source=source[:255], network_hash=network, at=now
    )


def _may_write(channel: str, address_hash: str, now: datetime) -> bool:
    """Say whether a letter may go to this address; a bounce that has rested is forgiven."""
    row = Suppression.objects.filter(channel=channel, address_hash=address_hash).first()
    if row is None:
        return True
    if row.by_owner or row.at > now - BOUNCE_REST:
        return False
    row.delete()
    return True


def _count_ask(kind: Kind, address: str, network: str, now: datetime) -> None:
    """Count a request before anybody is looked up. Raises TooManyAsks."""
    prefix = address[: addresses.PREFIX_CHARS] if kind is Kind.PHONE else ""
    recent = Ask.objects.filter(kind=kind, at__gt=now - ASKS_WINDOW)
    if recent.filter(network_hash=network).count() >= ASKS_OF_A_NETWORK_MAX.get(kind, 0):
        raise TooManyAsks
    if kind is Kind.PHONE:
        spent = recent.filter(at__gt=now - SPEND_WINDOW)
        if (
            spent.count() >= ASKS_OF_ALL_MAX
            or spent.filter(prefix=prefix).count() >= ASKS_OF_A_PREFIX_MAX
        ):
            raise TooManyAsks
    Ask.objects.create(kind=kind, network_hash=network, prefix=prefix, at=now)
