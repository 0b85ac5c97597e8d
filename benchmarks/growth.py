"""`bench growth`: what claiming costs before and after a hundred old broadcasts, and whether PostgreSQL plans it the same."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.yard import ROOT, yard

PEOPLE = 10_000
BROADCASTS = 100
BATCH = 50
TAKES = 60  # batches timed before and after
RATIO_MAX = 1.2


def run() -> dict[str, object]:
    """Return contract.md's object: value and limit are milliseconds of claiming one batch, after and before."""
    with yard(email_url="smtp://127.0.0.1:1") as house:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.growth"],
            cwd=ROOT, env=house.env, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)  # Any: JSON
    before, after = found["before_ms"], found["after_ms"]
    return {
        "value": after,
        "unit": f"ms to claim {BATCH} of {PEOPLE:,} with {found['old_rows']:,} old deliveries",
        "limit": before,
        "ratio_to_limit": round(after / before, 3),
        "figures": found,
        "run": f"outbox.take() on PostgreSQL with fsync, median of {TAKES}; {BROADCASTS} old broadcasts to {PEOPLE:,} people",
    }


def _inside() -> dict[str, object]:
    from django.db import connection

    from benchmarks import fanout_cast
    from notifications.models import Delivery

    fanout_cast.fill({"email": PEOPLE})
    _queue("Before")
    before_ms, plans_before = _claims()
    _all_done()
    _old_broadcasts()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    old = Delivery.objects.count()
    _queue("After")
    after_ms, plans_after = _claims()
    changed = sorted(set(plans_before) ^ set(plans_after))
    return {
        "before_ms": round(before_ms, 2),
        "after_ms": round(after_ms, 2),
        "old_rows": old,
        "plans": plans_after,
        "same_plan": not changed,
        "changed": changed,
    }


def _queue(name: str) -> None:
    from django.db import connection

    from benchmarks import fanout_cast
    from notifications import outbox

    fanout_cast.publish(name, wait=False)
    now = outbox.database_now()
    outbox.open_entries(now + fanout_cast.outbox_wait())
    while outbox.has_more():
        outbox.fan_out(now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _claims() -> tuple[float, list[str]]:
    """Return the median of one batch, and the plans of what one asks for."""
    from django.db import connection

    from notifications import outbox

    statements: list[tuple[str, Any]] = []  # Any: the driver's parameters

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        outbox.take("email", rows=BATCH)
    plans = [plan for sql, params in statements if (plan := _plan(sql, params))]
    times = []
    for _ in range(TAKES):
        started = time.perf_counter()
        taken = outbox.take("email", rows=BATCH)
        times.append((time.perf_counter() - started) * 1000)
        assert taken is not None
        assert len(taken[1]) == BATCH
    return statistics.median(times), plans


def _plan(sql: str, params: Any) -> str:  # Any: as above
    from django.db import connection, transaction

    if (
        not sql.lstrip().upper().startswith(("SELECT", "UPDATE"))
        or "notifications_delivery" not in sql
    ):
        return ""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        found = cursor.fetchone()[0]
        tree = json.loads(found) if isinstance(found, str) else found
        transaction.set_rollback(True)
    return " > ".join(_nodes(tree[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[str]:  # Any: JSON
    name = node.get("Index Name") or node.get("Relation Name") or ""
    yield f"{node['Node Type']} {name}".strip()
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _all_done() -> None:
    from django.utils import timezone

    from notifications.models import Delivery

    Delivery.objects.update(state="accepted", accepted_at=timezone.now(), lease="")


def _old_broadcasts() -> None:
    """Copy the broadcast that is over, a hundred times: each of another incident, all told."""
    from django.db import connection

    from benchmarks import fanout_cast
    from notifications import outbox

    for number in range(BROADCASTS):
        fanout_cast.publish(f"Old {number}", wait=False)
    outbox.open_entries(outbox.database_now() + fanout_cast.outbox_wait())
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_broadcast SET fanned_out_at = now(), settled_at = now()"
        )
        cursor.execute(
            """INSERT INTO notifications_delivery (broadcast_id, subscription_id, channel, urgent, lane, state, attempts,
            maybe_sent, due_at, lease, provider, provider_id, why, accepted_at)
            SELECT b.id, s.id, s.channel, true, 1, 'accepted', 1, false, now(), '', 'smtp', 'id', '', now()
            FROM notifications_broadcast b, subscribers_subscription s
            WHERE NOT EXISTS (SELECT 1 FROM notifications_delivery d WHERE d.broadcast_id = b.id)"""
        )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")
    import django

    django.setup()
    print(json.dumps(_inside()))
