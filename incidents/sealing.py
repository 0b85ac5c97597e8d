"""Seals the audit: the clock links new entries a moment after they are written, so that writers never wait for each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from incidents import chain
from incidents.models import AuditEntry, AuditSeal

PASS_MAX = 500  # links in one pass of the clock
ROWS_AT_ONCE = 1_000
# The clock passes every second; ten missed passes mean that nobody seals.
UNSEALED = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Checked:
    """What verify() found: `fault` is a sentence about the first broken link, empty when the chain holds."""

    links: int
    unsealed: int
    head: str
    fault: str = ""


@transaction.atomic
def seal(*, limit: int = PASS_MAX) -> int:
    """Link entries that have no seal yet, oldest first; return how many. Two sealers cannot fork the chain."""
    last = AuditSeal.objects.order_by("-position").first()
    position, previous = (last.position, last.hash) if last else (0, chain.FIRST)
    seals = []
    for entry in AuditEntry.objects.filter(seal__isnull=True).order_by("id")[:limit]:
        position += 1
        made = _hash(entry, position, previous)
        seals.append(AuditSeal(entry=entry, position=position, previous=previous, hash=made))
        previous = made
    try:
        with transaction.atomic():
            AuditSeal.objects.bulk_create(seals)
    except IntegrityError:
        return 0  # another clock was faster; the next pass goes on from its link
    return len(seals)


def verify(*, now: datetime) -> Checked:
    """Recompute the chain from its first link."""
    position, previous = 0, chain.FIRST
    for row in _links():
        position += 1
        where = (
            f"link {row.position} (entry {row.entry_id}, {row.entry.action} by {row.entry.actor})"
        )
        if row.position != position:
            return Checked(position, 0, previous, f"link {position} is missing before {where}")
        if row.previous != previous:
            return Checked(position, 0, previous, f"{where} does not stand on the link before it")
        if row.hash != _hash(row.entry, position, previous):
            return Checked(position, 0, previous, f"{where} is not what was sealed")
        previous = row.hash
    unsealed = AuditEntry.objects.filter(seal__isnull=True)
    old = unsealed.filter(at__lt=now - UNSEALED).count()
    fault = f"{old} entries older than 10 s are not sealed: does the clock run?" if old else ""
    return Checked(position, unsealed.count(), previous, fault)


def _links() -> Iterator[AuditSeal]:
    rows = AuditSeal.objects.select_related("entry").order_by("position")
    return rows.iterator(chunk_size=ROWS_AT_ONCE)


def _hash(entry: AuditEntry, position: int, previous: str) -> str:
    return chain.link(
        previous, position=position, at=entry.at, actor=entry.actor, action=entry.action, subject=entry.subject,
        before=entry.before, after=entry.after,
    )  # fmt: skip
