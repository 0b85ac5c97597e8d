"""Exporting: everything kept of one person, and the proof of every consent."""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Protocol

from subscribers.addressing import address_of
from subscribers.models import Consent, Subscription
from subscribers.rows import of_person

CONSENT_COLUMNS = (
    "channel",
    "address_hash",
    "at",
    "basis",
    "source",
    "version",
    "network_hash",
    "state",
    "text",
)
CHUNK = 2_000  # rows held in memory at a time


class Writable(Protocol):
    def write(self, text: str, /) -> object: ...


def person(key: Subscription) -> dict[str, Any]:
    """Return what is kept of the person of `key`, as they may take it with them."""
    owner = key.subscriber
    return {
        "language": owner.language,
        "time_zone": owner.time_zone,
        "quiet_from": str(owner.quiet_from or ""),
        "quiet_until": str(owner.quiet_until or ""),
        "discreet": key.discreet,
        "fallback_after_s": owner.fallback_after_s,
        "wake_test_hour": owner.wake_test_hour,
        "since": _iso(owner.created_at),
        "subscriptions": [_subscription(row) for row in of_person(key)],
        "contacts": [
            {"name": one.name, "channel": one.subscription.channel, "state": one.subscription.state}
            for one in owner.contacts.select_related("subscription").order_by("position", "id")
        ],
    }


def _subscription(row: Subscription) -> dict[str, Any]:
    return {
        "channel": row.channel,
        "address": address_of(row) or "",
        "state": row.state,
        "components": [each.slug for each in row.components.all()] or "all",
        "incidents": [each.name for each in row.incidents.all()],
        "only_these_incidents": row.only_incidents,
        "wake_me": row.wake_me,
        "least_impact": row.least_impact,
        "digest": row.digest,
        "paused_until": _iso(row.paused_until),
        "legal_basis": row.basis,
        "list": row.list_name,
        "source": row.source,
        "created_at": _iso(row.created_at),
        "confirmed_at": _iso(row.confirmed_at),
        "undelivered_at": _iso(row.undelivered_at),
        "undelivered_why": row.undelivered_why,
        "consents": [
            {
                "text": each.text,
                "at": _iso(each.at),
                "source": each.source,
                "version": each.version,
                "basis": each.basis,
            }
            for each in row.consents.order_by("at", "id")
        ],
    }


def _iso(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def consents(to: Writable) -> int:
    """Write the proof of every consent as CSV; no address in clear. Return how many."""
    table = csv.writer(to)
    table.writerow(CONSENT_COLUMNS)
    count = 0
    for row in _consent_rows():
        table.writerow([_harmless(cell) for cell in row])
        count += 1
    return count


def _consent_rows() -> Iterator[tuple[str, ...]]:
    for one in Consent.objects.select_related("subscription").order_by("id").iterator(CHUNK):
        row = one.subscription
        yield (
            one.channel or row.channel, one.address_hash or row.address_hash, one.at.isoformat(), one.basis,
            one.source, one.version, one.network_hash, row.state, one.text,
        )  # fmt: skip


def _harmless(cell: str) -> str:
    """Return the cell so that no spreadsheet runs it: security.md, "CSV export" (ASVS 1.2.10)."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\0") else cell
