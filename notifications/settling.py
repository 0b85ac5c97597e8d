"""From a provider's answer to a settled delivery; and what a dead worker leaves behind."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, models, transaction

from notifications.channels import Outcome, Result
from notifications.claiming import HELD, LEASE_S, Due
from notifications.dbtime import by_index_only, database_now
from notifications.models import (
    HANDED_OVER,
    Attempt,
    Broadcast,
    Delivery,
    DeliveryState,
)
from notifications.retry import ATTEMPTS_MAX, AfterUnknown, after_unknown, next_attempt_at
from subscribers import services as people

SWEEP_ROWS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Settlement:
    """One outcome with the instant at which it was known, and what deciding about it needs."""

    delivery: Delivery | Due
    outcome: Outcome
    at: datetime


@dataclass(frozen=True, slots=True)
class _Word:
    """What an outcome writes; without `due_at` what is there stays."""

    state: DeliveryState
    due_at: datetime | None = None
    maybe_sent: bool = False
    provider_id: str = ""
    why: str = ""


def settle(settlements: Sequence[Settlement], *, lease: str, provider: str, critical: bool) -> int:
    """Write a group of outcomes in one transaction and one statement; return how many were still ours to write.

    `provider` is the ledger's word for those outcomes that do not name their own.
    """
    if not settlements:
        return 0
    with transaction.atomic(savepoint=False):
        by_index_only()
        written = _write(settlements, lease=lease, provider=provider, critical=critical)
        late = [item for item in settlements if item.delivery.pk not in written]
        quicker = sum(_already_settled(item, provider) for item in late)
        Attempt.objects.bulk_create(
            Attempt(
                delivery_id=item.delivery.pk,
                at=item.at,
                result=item.outcome.result,
                why=_storable(item.outcome.why[:255]),
            )
            for item in settlements
            if item.outcome.result is not Result.ACCEPTED
        )
        # In one order for all: two workers that refuse the same two people must not wait for each other.
        for item in sorted(settlements, key=lambda each: each.delivery.subscription_id):
            if item.outcome.dead:
                _suppress(item)
            if item.outcome.result is Result.REFUSED:
                why = _storable(item.outcome.why)
                people.undelivered([item.delivery.subscription_id], why=why, now=item.at)
    return len(written) + quicker


def _write(
    settlements: Sequence[Settlement], *, lease: str, provider: str, critical: bool
) -> set[int]:
    """One UPDATE for the whole group: one by one costs twenty times the database's time (docs/decisions.md, "The line")."""
    rows: list[tuple[Any, ...]] = []
    stamp = connection.ops.adapt_datetimefield_value
    for item in settlements:
        word = _word(item, critical=critical)
        named = (item.outcome.provider or provider)[:32]
        rows.append((
            item.delivery.pk, word.state.value, stamp(word.due_at), stamp(item.at), word.maybe_sent,
            named if word.state is not DeliveryState.PENDING else item.delivery.provider,
            _storable(word.provider_id), _storable(word.why),
        ))  # fmt: skip
    table = connection.ops.quote_name(Delivery._meta.db_table)
    said, params = _table(rows)
    sql = f"""
        WITH said ({", ".join(_COLUMNS)}) AS ({said})
        UPDATE {table} SET
            state = said.state, due_at = COALESCE(said.due_at, {table}.due_at), why = said.why, lease = '', provider = said.provider,
            maybe_sent = {table}.maybe_sent OR said.maybe_sent,
            accepted_at = CASE WHEN said.state = 'accepted' THEN said.told_at ELSE {table}.accepted_at END,
            provider_id = CASE WHEN said.provider_id = '' THEN {table}.provider_id ELSE said.provider_id END
        FROM said WHERE {table}.id = said.id AND {table}.lease = %s
        RETURNING {table}.id"""
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, lease])
        return {row[0] for row in cursor.fetchall()}


def _storable(text: str) -> str:
    """PostgreSQL has no text with a NUL or half a character, and a provider may say anything."""
    whole = text if text.isascii() else text.encode(errors="replace").decode()
    return whole.replace("\0", "")


_COLUMNS = {
    "id": "bigint",
    "state": "text",
    "due_at": "timestamptz",
    "told_at": "timestamptz",
    "maybe_sent": "boolean",
    "provider": "text",
    "provider_id": "text",
    "why": "text",
}


def _table(rows: Sequence[tuple[Any, ...]]) -> tuple[str, list[Any]]:
    """Return the rows as a SELECT and its parameters: one JSON text on PostgreSQL, which is cheapest to say, else each value."""
    if connection.vendor == "postgresql":
        named = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        types = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        said = json.dumps(named, default=str)
        return f"SELECT * FROM json_to_recordset(%s::json) AS row ({types})", [said]
    row = f"({', '.join(['%s'] * len(_COLUMNS))})"
    values = ", ".join([row] * len(rows))
    return f"VALUES {values}", [value for row in rows for value in row]


def _already_settled(item: Settlement, provider: str) -> int:
    """A receipt can be quicker than the answer it is about: keep its word, add the provider's id."""
    if item.outcome.result is not Result.ACCEPTED:
        return 0
    quicker = Delivery.objects.filter(
        pk=item.delivery.pk, state__in=HANDED_OVER, lease="", provider_id=""
    )
    named = item.outcome.provider or provider
    return quicker.update(provider=named[:32], provider_id=item.outcome.provider_id[:255])


def _word(item: Settlement, *, critical: bool) -> _Word:
    """Return what an outcome means for its delivery."""
    delivery, outcome = item.delivery, item.outcome
    why = outcome.why[:255]
    match outcome.result:
        case Result.ACCEPTED:
            return _Word(DeliveryState.ACCEPTED, provider_id=outcome.provider_id[:255])
        case Result.REFUSED:
            return _Word(DeliveryState.REFUSED, why=why)
        case Result.RETRY:
            again = next_attempt_at(
                delivery.attempts, item.at, outcome.retry_after_s, urgent=delivery.urgent
            )
            if again is None:
                return _Word(DeliveryState.FAILED, why=why)
            return _Word(DeliveryState.PENDING, again, why=why)
        case Result.UNKNOWN:
            return _unknown(delivery, item.at, why, critical=critical)


def _unknown(delivery: Delivery | Due, at: datetime, why: str, *, critical: bool) -> _Word:
    doubts = _doubts(delivery.attempts, maybe_sent=delivery.maybe_sent)
    then = after_unknown(delivery.channel, doubts, critical)
    if not then.resend:
        return _Word(DeliveryState.UNKNOWN, maybe_sent=True, why=why)
    due = at + timedelta(seconds=then.after_s)
    return _Word(DeliveryState.PENDING, due, maybe_sent=True, why=why)


def _doubts(attempts: int, *, maybe_sent: bool) -> int:
    """Return how many attempts may have ended unknown: what was clearly not taken before is no doubt."""
    return attempts if maybe_sent else 1


def _suppress(item: Settlement) -> None:
    person = item.delivery.subscription
    people.suppress(
        channel=person.channel,
        address_hash=person.address_hash,
        reason=_storable(item.outcome.why[:255]) or "refused",
        now=item.at,
    )


@transaction.atomic
def sweep_leases() -> int:
    """Take back what a dead worker held: not yet called is due again, called is unknown. Returns how many.

    Rows that somebody has locked are left for the next pass: a worker that was frozen while it wrote must not stop the
    clock as well.
    """
    now = database_now()
    lapsed = Delivery.objects.filter(lease_until__lt=now, state__in=HELD)
    columns = ("pk", "state", "channel", "attempts", "maybe_sent", "broadcast_id")
    rows = lapsed.select_for_update(skip_locked=True).values_list(*columns)[:SWEEP_ROWS_MAX]
    alike: defaultdict[tuple[str, str, int, bool, int], list[int]] = defaultdict(list)
    for pk, *kind in rows:
        alike[tuple(kind)].append(pk)
    for (state, channel, attempts, maybe_sent, broadcast), ids in alike.items():
        held = Delivery.objects.filter(pk__in=ids)
        if state == DeliveryState.PREPARED:
            _free(held, attempts)
        else:
            doubts = _doubts(attempts, maybe_sent=maybe_sent)
            then = after_unknown(channel, doubts, _is_critical(broadcast), died=True)
            _resolve(held, then, now)
    return sum(map(len, alike.values()))


def _free(held: models.QuerySet[Delivery], attempts: int) -> None:
    """A batch that kills its worker each time must not go round for ever."""
    if attempts < ATTEMPTS_MAX:
        held.update(state=DeliveryState.PENDING, lease="")
    else:
        held.update(state=DeliveryState.FAILED, lease="", why="its worker died each time")


def _resolve(held: models.QuerySet[Delivery], then: AfterUnknown, now: datetime) -> None:
    why = "the worker died while the provider was called"
    if then.resend:
        # The lease was waited for already: a callback had that long, and so had its reader.
        due = now + timedelta(seconds=max(0.0, then.after_s - LEASE_S))
        held.update(state=DeliveryState.PENDING, due_at=due, maybe_sent=True, lease="", why=why)
    else:
        held.update(state=DeliveryState.UNKNOWN, maybe_sent=True, lease="", why=why)


def _is_critical(broadcast: int) -> bool:
    incident = Broadcast.objects.select_related("incident").get(pk=broadcast).incident
    return incident is None or incident.components.filter(critical=True).exists()
