"""R19, R20: incidents of equal weight take turns; a critical one does not wait behind a hundred thousand messages of little weight."""

import statistics
from collections import defaultdict
from datetime import UTC, datetime

import pytest
from django.db import connection

from incidents import services
from incidents.lifecycle import ComponentStatus, Status
from notifications.models import Delivery
from subscribers.models import Subscription
from tests import world
from tests.faults import history
from tests.faults.checker import Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
WAITING = 100_000
PEOPLE = {"email": 200}
FIRST_S = 10.0  # R20: from publish to the first urgent hand-over
# Of the first person: copied rows share their sealed address, which only the ledger would show.
OTHER = {
    "uid": "'copy' || n",
    "address_hash": "'copy' || n",
    "every_component": "false",
    "wake_me": "false",
    "source": "'test'",
}
FOLLOW = """
    INSERT INTO subscribers_subscription_components (subscription_id, component_id)
    SELECT id, %s FROM subscribers_subscription WHERE source = 'test' AND NOT every_component
"""
TOGETHER = 3  # incidents of one moment
CROWD = {"email": 1200}
SLOW_S = 0.005
# R19: the middle one of each incident's messages lies so far from the middle of all at most; one after the other would be 0.33.
ASIDE = 0.25
WAITS_S = 30.0


def three_at_once(house: House) -> Verdict:
    """Three incidents wake the same people: none waits for all of another."""
    house.slow_mail(SLOW_S)
    house.start("clock")
    for number in range(TOGETHER):
        house.declare(name=f"Trouble {number}")
    everybody = TOGETHER * house.cast["email"]
    until(lambda: Delivery.objects.count() >= everybody, "three fan-outs", within_s=60)
    house.start("worker-email")
    house.await_settled()
    seen = history.of(house)
    verdict = judge(seen)
    told = sorted(seen.ledger, key=lambda one: one.at)
    places: defaultdict[str, list[float]] = defaultdict(list)
    for place, one in enumerate(told):
        places[one.incident].append(place / len(told))
    middles = sorted(statistics.median(mine) for mine in places.values())
    firsts = [min(one.at for one in told if one.incident == uid) - told[0].at for uid in places]
    verdict.notes.append(
        f"the middle message of each incident at {', '.join(f'{middle:.2f}' for middle in middles)} of all, "
        f"the last incident's first {max(firsts):.1f} s after the first one's"
    )
    if len(places) != TOGETHER or max(abs(middle - 0.5) for middle in middles) > ASIDE:
        verdict.broken.append("R19 one incident waited for another")
    if max(firsts) > WAITS_S:
        verdict.broken.append(f"R19 an incident waited {max(firsts):.0f} s for another's")
    return verdict


def overtaking_the_bulk(house: House) -> Verdict:
    """A follow-up of little weight waits for 100,000 people when a critical incident is published."""
    site = world.component("site", critical=False)
    first = Subscription.objects.order_by("pk").first()
    assert first is not None
    with connection.cursor() as cursor:
        cursor.execute(_copies(), [WAITING, first.pk])
        cursor.execute(FOLLOW, [site.pk])
        cursor.execute("ANALYZE")
    bulk = world.incident(
        site, hurt=ComponentStatus.DEGRADED_PERFORMANCE, now=datetime.now(UTC), name="Slow"
    )
    # Only the follow-up is bulk: the first word would be urgent itself.
    bulk.updates.update(audience="nobody")
    services.publish_update(
        bulk, status=Status.IDENTIFIED, body="We know why.", actor="ann", now=datetime.now(UTC)
    )
    house.start("clock", chunk_rows=5_000)  # as in the product
    until(lambda: Delivery.objects.count() >= WAITING, "a hundred thousand queued", within_s=180)
    house.start("worker-email")
    until(lambda: house.mails > 0, "bulk on its way")
    urgent = house.declare(name="Critical")
    house.await_settled_of(urgent)
    seen = history.only(history.of(house), urgent.uid)
    verdict = judge(history.followers_of_everything(seen))
    first_s = min(one.at for one in seen.ledger) - seen.publishes[0].at
    left = Delivery.objects.filter(state="pending").count()
    verdict.notes.append(f"first urgent hand-over after {first_s:.1f} s with {left} still waiting")
    if first_s > FIRST_S:
        verdict.broken.append(f"R20 the first urgent hand-over took {first_s:.1f} s")
    if left < WAITING // 2:
        verdict.broken.append(f"R20 only {left} were waiting")
    return verdict


def _copies() -> str:
    table = Subscription._meta.db_table
    fields = Subscription._meta.local_concrete_fields
    columns = [str(field.column) for field in fields if not field.primary_key]
    values = ", ".join(OTHER.get(column, column) for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, generate_series(1, %s) AS n WHERE id = %s"


def test_the_urgent_overtakes_a_hundred_thousand(open_house: Open, report: Report) -> None:
    report(overtaking_the_bulk(open_house(PEOPLE)))


def test_incidents_of_one_moment_take_turns(open_house: Open, report: Report) -> None:
    report(three_at_once(open_house(CROWD)))
