"""Years in an hour: an incident every two minutes, processes killed at random, the broker and the database restarted.

Not a test_*.py: nobody runs it by the way. `./run bench soak` does; SOAK tells how long (JSON). The product's own times hold.
"""

import json
import os
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import DatabaseError, connection

from incidents import services
from incidents.lifecycle import Status
from notifications.channels import _smtp
from notifications.hands import HANDS
from tests.faults import history, times
from tests.faults.checker import Rules, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House
from tests.faults.test_kills import POOL, kill_one

pytestmark = [pytest.mark.slow, pytest.mark.faults]
TOLD: dict[str, Any] = json.loads(os.environ.get("SOAK", "{}"))  # Any: JSON
MINUTES = float(TOLD.get("minutes", 60))
EVERY_S = float(TOLD.get("every_s", 120))
PEOPLE = {"email": int(TOLD.get("people", 300))}
KILL_EVERY_S = 40.0
BROKER_AT = (0.3, 0.7)  # of the whole time
DATABASE_AT = 0.5
DOWN_S = 4.0
LATE_S = 300.0  # a lease of a killed worker, a wait of the clock, a recovery
GROWTH_MAX = 1.25  # of what a process has after its first incidents
PARTS = ("clock", "worker-email", "web")
LEDGER = ("incidents_", "notifications_", "subscribers_", "probes_", "desk_")


def test_an_hour_of_incidents_and_kills_loses_nobody_and_nothing_grows(
    open_house: Open, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    house = open_house(PEOPLE)
    house.start_line(*PARTS, product_times=True)
    dice = random.Random(20191130)
    began = time.monotonic()
    length_s = MINUTES * 60
    pending = [(at * length_s, "broker") for at in BROKER_AT] + [(DATABASE_AT * length_s, "database")]  # fmt: skip
    incidents = kills = 0
    next_kill = KILL_EVERY_S
    first: dict[str, Any] = {}
    while (elapsed := time.monotonic() - began) < length_s:
        if elapsed >= incidents * EVERY_S and _declared_and_resolved(house, incidents):
            incidents += 1
            if incidents == 3 and house.await_settled(within_s=LATE_S):  # all is warm
                first = figures(house)
        if elapsed >= next_kill:
            kill_one(house, dice)
            kills, next_kill = kills + 1, next_kill + KILL_EVERY_S * dice.uniform(0.5, 1.5)
        for due in [entry for entry in pending if entry[0] <= elapsed]:
            pending.remove(due)
            _restart(house, due[1])
        time.sleep(0.2)
    house.declare(name="The last")
    assert house.await_settled(within_s=LATE_S)
    last = figures(house)
    rules = Rules(late_s=LATE_S, extra_max=(kills + 1) * POOL * times.UNSETTLED)  # fmt: skip
    verdict = judge(history.of(house), rules)
    verdict.broken += grown(first, last)
    with capsys.disabled():
        found = {
            "minutes": MINUTES, "incidents": incidents + 1, "kills": kills, "first": first, "last": last,
            "verdict": verdict.line(),
        }  # fmt: skip
        print(f"\nSOAK {json.dumps(found)}", file=sys.stderr)
    report(verdict)


def _declared_and_resolved(house: House, number: int) -> bool:
    """Publish a fault and its end; False when the database is away, so that it is tried again."""
    try:
        incident = house.declare(name=f"Trouble {number}")
        services.publish_update(
            incident, status=Status.RESOLVED, body="It works again.", actor="ann", now=datetime.now(UTC)
        )  # fmt: skip
    except DatabaseError:
        connection.close()
        return False
    return True


def _restart(house: House, what: str) -> None:
    if what == "broker":
        house.stop_broker()
        time.sleep(DOWN_S)
        house.start_broker()
    else:
        connection.close()
        house.postgres.break_down(DOWN_S)


def figures(house: House) -> dict[str, Any]:
    """Return memory and open files of each part, connections, and what the tables take."""
    found: dict[str, Any] = {}
    for part in PARTS:
        root = psutil.Process(house.of(part).pid)
        family = [root, *root.children(recursive=True)]
        found[part] = {
            "processes": len(family),
            "memory_mb": round(sum(each.memory_info().rss for each in family) / 1e6, 1),
            "files": sum(each.num_fds() for each in family),
        }
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        found["connections"] = cursor.fetchone()[0]
        cursor.execute(
            "SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables"
        )
        rows = [row for row in cursor.fetchall() if row[0].startswith(LEDGER)]
        cursor.execute("SELECT count(*) FROM notifications_delivery")
        found["deliveries"] = cursor.fetchone()[0]
    found["tables_kb"] = {name: size // 1024 for name, _, _, size in sorted(rows) if size > 100_000}
    found["published_files"] = sum(1 for path in _public(house).rglob("*") if path.is_file())
    return found


def _public(house: House) -> Path:
    return Path(house.env["DATA_DIR"]) / "public"


def grown(first: dict[str, Any], last: dict[str, Any]) -> list[str]:
    """Return in words what is not flat."""
    broken = []
    for part in PARTS:
        # A worker that was not killed lately keeps its connections to the mail server.
        kept = {"files": POOL * HANDS * _smtp.CONNECTIONS_MAX, "memory_mb": 0}
        for name, more in kept.items():
            before, after = first[part][name], last[part][name]
            if after > before * GROWTH_MAX + more:
                broken.append(f"soak: {name} of {part} went from {before} to {after}")
    if last["connections"] > first["connections"] * GROWTH_MAX:
        broken.append(
            f"soak: connections went from {first['connections']} to {last['connections']}"
        )
    return broken
