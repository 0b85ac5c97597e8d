"""R20: a critical update does not wait behind a hundred thousand messages of little weight."""

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
    until(lambda: Delivery.objects.count() >= WAITING, "a hundred thousand queued", within_s=60)
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
