"""The doorstep: what is asked for on a page is laid down by one INSERT, and answered by the clock.

Known and unknown, stopped and pending addresses cost a visit the same statements, so neither bytes nor time tell them apart;
and a flood meets a short queue instead of the work behind it.
"""

import json
import logging
import time
from dataclasses import asdict, dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction

from incidents import doorbell
from incidents.models import Component, Incident
from subscribers import addresses, contacts, following, limits, services
from subscribers.addresses import Kind
from subscribers.models import Ask, Subscriber

log = logging.getLogger(__name__)

PASS_S = 0.25  # of each second of the clock; what is left over waits for the next
PASS_ROWS_MAX = 200
PASS_ROWS_MIN = 8  # however slow the machine is: a late pass must not do nothing
# An ask that nobody answered for so long is asked again by its owner; a restored backup must not write to them.
ASK_VALID_S = 3_600


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. `do` is subscribe, manage or contact; `also` are further channels of the same address."""

    do: str
    channel: str
    address: str
    also: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    language: str = "en"
    time_zone: str = ""
    wake_me: bool = False
    consent_text: str = ""
    incident: str = ""  # uid: this incident only
    person: str = ""  # uid: whose page it was asked on
    name: str = ""


def ask(wish: Wish, *, kind: Kind, network_hash: str, has_worked: bool, now: datetime) -> None:
    """Lay a wish down. Raises TooManyAsks, before the database when the counts are at hand."""
    limits.shed(kind, wish.address, network_hash, has_worked=has_worked, now=now)
    with transaction.atomic():
        if kind is Kind.PHONE:
            limits.check_spend(wish.address, network_hash, now)
        Ask.objects.create(
            kind=kind,
            network_hash=network_hash,
            prefix=wish.address[: addresses.PREFIX_CHARS] if kind is Kind.PHONE else "",
            wish=addresses.seal(json.dumps(asdict(wish)), settings.FIELD_KEYS),
            at=now,
        )
        doorbell.ring_on_commit("ask")


def answer(now: datetime, *, seconds: float = PASS_S) -> int:
    """Answer what lies there, oldest first, for about `seconds`; return how many."""
    ends = time.monotonic() + seconds
    waiting = Ask.objects.filter(done_at__isnull=True).order_by("id").values_list("pk", flat=True)
    answered = 0
    for number, pk in enumerate(waiting[:PASS_ROWS_MAX]):
        if number >= PASS_ROWS_MIN and time.monotonic() > ends:
            break
        answered += _answer(pk, now)
    return answered


@transaction.atomic
def _answer(pk: int, now: datetime) -> int:
    row = Ask.objects.select_for_update(
        skip_locked=connection.features.has_select_for_update_skip_locked
    )
    ask_row = row.filter(pk=pk, done_at__isnull=True).first()
    if ask_row is None:
        return 0  # another clock has it
    sealed = bytes(ask_row.wish)
    Ask.objects.filter(pk=pk).update(done_at=now, wish=b"")
    if (now - ask_row.at).total_seconds() > ASK_VALID_S:
        return 1
    try:
        with transaction.atomic():
            _do(_read(sealed), ask_row.network_hash, now)
    except (ValueError, KeyError, TypeError) as error:
        # Checked when it was asked; what became wrong since (a channel closed, a key gone) cannot be told to anybody.
        log.warning("an ask could not be answered: %s", type(error).__name__)
    return 1


def _read(sealed: bytes) -> Wish:
    words = json.loads(addresses.unseal(sealed, settings.FIELD_KEYS))
    return Wish(**{**words, "also": tuple(words["also"]), "components": tuple(words["components"])})


def _do(wish: Wish, network_hash: str, now: datetime) -> None:
    person = Subscriber.objects.filter(uid=wish.person).first() if wish.person else None
    match wish.do:
        case "manage":
            services.ask_to_manage(address=wish.address, now=now)
        case "contact":
            assert person is not None  # the page that asked was theirs
            contacts.name_contact(
                person, channel=wish.channel, address=wish.address, name=wish.name, language=wish.language,
                consent_text=wish.consent_text, network_hash=network_hash, now=now,
            )  # fmt: skip
        case _ if incident := _incident(wish.incident):
            following.follow(
                incident, channel=wish.channel, address=wish.address, confirmed=False, source="page", now=now,
                language=wish.language, consent_text=wish.consent_text, network_hash=network_hash,
            )  # fmt: skip
        case _:
            services.subscribe(
                channel=wish.channel, also=wish.also, address=wish.address, components=_components(wish.components),
                language=wish.language, time_zone=wish.time_zone, wake_me=wish.wake_me, source="page",
                consent_text=wish.consent_text, network_hash=network_hash, person=person, now=now,
            )  # fmt: skip


def _incident(uid: str) -> Incident | None:
    return Incident.objects.filter(uid=uid).first() if uid else None


def _components(slugs: tuple[str, ...]) -> list[Component]:
    return list(Component.objects.filter(slug__in=slugs)) if slugs else []
