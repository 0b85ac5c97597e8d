"""The product on one database, for growth_record: prepares, records, explains; a line of JSON each."""

import json
import random
import sys
import time
from datetime import datetime
from typing import Any

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from incidents import services as core
from incidents.models import Page
from probes import judging, services
from probes.kinds import Outcome
from probes.latency import Latencies
from probes.models import Check, Location
from probes.services import NewResult


def prepare(*, checks: int, locations: int, interval_s: int, since: str) -> bool:
    """Make the schema, and checks that were watched since then."""
    call_command("migrate", verbosity=0)
    at = datetime.fromisoformat(since)
    page = Page.objects.create(name="Follow status")
    core.add_component(page=page, slug="follow", name="Readings", actor="bench", now=at)
    names = [f"place-{number}" for number in range(locations)]
    for name in names:
        services.create_location(name=name, now=at)
    Check.objects.bulk_create(
        Check(
            page=page, slug=f"check-{number:04}", kind="http", interval_s=interval_s, locations=names, changed_at=at,
            spec={"component": "follow", "steps": [{"name": "newest reading", "url": "http://follow.test/latest"}]},
        )
        for number in range(checks)
    )  # fmt: skip
    assert judging.watches_of(Check.objects.all()[0]), "the judge has something to judge"
    return True


def sketches(*, runs: dict[str, int]) -> dict[str, str]:
    """Return as hex what a row of so many runs around 100 ms keeps of their durations."""
    chance, packed = random.Random(7), {}
    for span, number in runs.items():
        sketch = Latencies()
        for _ in range(number):
            sketch.add(chance.lognormvariate(4.6, 0.5))
        packed[span] = sketch.pack().hex()
    return packed


def _batch(at: datetime, *, size: int) -> list[NewResult]:
    """Return what a location hands in that has looked at so many checks."""
    step = {
        "name": "newest reading",
        "component": "follow",
        "outcome": "ok",
        "reason": "",
        "failed": [],
    }
    return [
        NewResult(
            check=f"check-{number:04}", sequence=int(at.timestamp() * 1000) + number, at=at, outcome=Outcome.OK,
            first_outcome=Outcome.OK, attempts=1, reason="", steps=(step,), total_ms=60.0 + number,
        )
        for number in range(size)
    ]  # fmt: skip


def record(*, now: str, batch: int, place: int) -> float:
    """Record one batch; return how many ms it took."""
    at = datetime.fromisoformat(now)
    location = Location.objects.get(name=f"place-{place}")
    results = _batch(at, size=batch)
    started = time.perf_counter()
    new = services.record(location, results, now=at, sent_at=at)
    took_ms = (time.perf_counter() - started) * 1000
    assert new == batch, "each batch is new"
    return took_ms


def explain(*, now: str) -> list[dict[str, str]]:
    """Record a batch of one and return the plan of each of its queries."""
    at = datetime.fromisoformat(now)
    place = Location.objects.get(name="place-0")
    results = _batch(at, size=1)
    with CaptureQueriesContext(connection) as captured:
        services.record(place, results, now=at, sent_at=at)
    verbs = ("SELECT", "INSERT", "UPDATE")
    queries = [each["sql"] for each in captured if each["sql"].startswith(verbs)]
    plans = []
    for query in queries:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("EXPLAIN " + query.replace("%", "%%"), [])
            plans.append({"query": query, "plan": "\n".join(row[0] for row in cursor.fetchall())})
    return plans


_DOES: dict[str, Any] = {
    "prepare": prepare,
    "sketches": sketches,
    "record": record,
    "explain": explain,
}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_DOES[asked.pop("what")](**asked)), flush=True)


if __name__ == "__main__":
    main()
