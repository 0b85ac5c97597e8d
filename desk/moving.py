"""A whole installation from one database to another: rows as they are, counted and compared."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, models, transaction
from django.db.models import Max

from incidents.models import Page, Pulse

# Rows of one transaction on the target: some 0.2 s on PostgreSQL, and what an interruption costs.
CHUNK_ROWS: Final = 2_000
# A clock leaves word every second; one that was silent for so long has been stopped.
STOPPED_AFTER: Final = timedelta(seconds=15)
# Tables that migrate fills by itself are emptied first and moved whole.
# Log-ins end with the move; the counts of deliveries make themselves again as the deliveries arrive.
LEFT_BEHIND: Final = frozenset({"sessions.session", "notifications.counted"})

Model = type[models.Model]
Progress = Callable[[str], None]


class CannotMove(Exception):
    """The move was refused, or what arrived differs; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One table: how many rows it has on both sides, and how many this run brought over."""

    table: str
    rows: int
    brought: int


def move(*, source: str, target: str, now: datetime, say: Progress) -> list[Moved]:
    """Copy every table from the connection `source` to the empty, migrated `target`; compare both.

    A run that was interrupted goes on where it stopped. Raises CannotMove.
    """
    _check_stopped(source, now)
    is_new = _check_target(source, target)
    ordered = _in_order()
    if is_new:
        _empty(reversed(ordered), target)
    moved = []
    for model in ordered:
        brought = _bring(model, source, target, say)
        rows = _compare(model, source, target)
        moved.append(Moved(model._meta.db_table, rows, brought))
        say(f"{model._meta.db_table}: {rows:,} rows, the same on both sides")
    _reset_sequences(ordered, target)
    return moved


def _check_stopped(source: str, now: datetime) -> None:
    newest = Pulse.objects.using(source).aggregate(newest=Max("at"))["newest"]
    if newest is not None and now - newest < STOPPED_AFTER:
        age_s = max(0.0, (now - newest).total_seconds())
        raise CannotMove(
            f"the installation is running (its clock was heard {age_s:.0f} s ago); stop it and try again"
        )


def _check_target(source: str, target: str) -> bool:
    """Say whether the target is new; raise CannotMove when it belongs to another page."""
    ours = Page.objects.using(source).order_by("id").first()
    if ours is None:
        raise CannotMove("there is nothing to move: this database has no page")
    theirs = Page.objects.using(target).order_by("id").first()
    if theirs is not None and theirs.uid != ours.uid:
        raise CannotMove(f'the target holds another page, "{theirs.name}"; name an empty database')
    return theirs is None


def _in_order() -> list[Model]:
    """Return every table's model, each after those that it points to."""
    waiting = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
        and not model._meta.proxy
        and model._meta.label_lower not in LEFT_BEHIND
    ]
    ordered: list[Model] = []
    while waiting:
        ready = [model for model in waiting if not _pointed_to(model) & set(waiting) - {model}]
        assert ready, "no two tables point at each other"
        ordered += ready
        waiting = [model for model in waiting if model not in ready]
    return ordered


def _pointed_to(model: Model) -> set[Model]:
    return {
        field.related_model
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.ForeignKey) and isinstance(field.related_model, type)
    }


def _empty(models_: Iterator[Model], target: str) -> None:
    """Delete what migrate put there by itself: kinds of content and permissions with other ids."""
    with transaction.atomic(using=target):
        for model in models_:
            model._base_manager.using(target).all().delete()


def _bring(model: Model, source: str, target: str, say: Progress) -> int:
    """Copy the rows that are not there yet, in order of their key; return how many."""
    total = model._base_manager.using(source).count()
    last = model._base_manager.using(target).aggregate(last=Max("pk"))["last"]
    brought = 0
    while True:
        rows = model._base_manager.using(source).order_by("pk")
        chunk = list((rows if last is None else rows.filter(pk__gt=last))[:CHUNK_ROWS])
        if not chunk:
            return brought
        last = chunk[-1].pk
        with transaction.atomic(using=target):
            model._base_manager.using(target).bulk_create(chunk)
        brought += len(chunk)
        if total > CHUNK_ROWS:
            say(f"{model._meta.db_table}: {brought:,} of {total:,}")


def _compare(model: Model, source: str, target: str) -> int:
    """Return how many rows both sides have; raise CannotMove when one differs."""
    ours, theirs = _summed(model, source), _summed(model, target)
    if ours != theirs:
        raise CannotMove(
            f"{model._meta.db_table} differs: {ours[0]:,} rows here and {theirs[0]:,} there, "
            f"checksums {ours[1]:016x} and {theirs[1]:016x}; the old database is untouched"
        )
    return ours[0]


def _summed(model: Model, alias: str) -> tuple[int, int]:
    """Return the count and the sum of the rows' hashes: the same whatever the order."""
    count = total = 0
    fields = model._meta.local_concrete_fields
    for row in model._base_manager.using(alias).order_by("pk").iterator(chunk_size=CHUNK_ROWS):
        text = json.dumps([_canonical(field, row) for field in fields])
        total += int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        count += 1
    return count, total % 2**64


def _canonical(field: "models.Field[object, object]", row: models.Model) -> str | None:
    value = field.value_from_object(row)
    if value is None:
        return None
    if isinstance(field, models.JSONField):
        # PostgreSQL keeps no order of keys.
        return json.dumps(value, sort_keys=True)
    return str(field.value_to_string(row))


def _reset_sequences(ordered: list[Model], target: str) -> None:
    """Let new rows follow those that were moved."""
    connection = connections[target]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), ordered):
            cursor.execute(statement)
