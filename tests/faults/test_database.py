"""R4, R32: the database goes away in the middle, or comes back as it was yesterday."""

import time
from threading import Thread

import pytest
from django.db import DatabaseError, connection

from incidents.models import Incident
from notifications import epoch
from notifications.models import Delivery, Epoch
from tests.faults import history, times
from tests.faults.checker import Rules, Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 1000}
POOL = 2
DOWN_S = 4.0
DURING = "Declared while the database was down"
# The backup is this much older than today's clock says: every instant in it is moved back.
AGE = "25 hours"
AGED = {
    "incidents_update": ("published_at", "created_at", "updated_at", "display_at", "shown_at"),
    "incidents_incident": ("published_at", "created_at", "updated_at", "started_at"),
    "notifications_broadcast": ("created_at", "fanned_out_at"),
    "notifications_delivery": ("due_at", "lease_until", "accepted_at"),
}


def restarted(house: House) -> Verdict:
    """The database stops as in a power cut in the middle of a fan-out and of a publish, and recovers."""
    house.start_line("clock", "worker-email")
    house.declare()
    until(lambda: house.mails > 0.2 * house.cast["email"], "mail on its way")
    connection.close()
    outage = Thread(target=house.postgres.break_down, args=(DOWN_S,))
    outage.start()
    time.sleep(DOWN_S / 2)
    was_saved = _declare_during(house)
    outage.join()
    connection.close()
    kept = Incident.objects.filter(name=DURING)
    house.await_settled()
    verdict = judge(
        history.of(house),
        Rules(ambiguous_on=frozenset({"email"}), extra_max=POOL * times.UNSETTLED),
    )
    if [incident.updates.count() for incident in kept] != ([1] if was_saved else []):
        verdict.broken.append(
            "R4 a publish during the outage was kept in part, or not as it was answered"
        )
    return verdict


def _declare_during(house: House) -> bool:
    try:
        house.declare(name=DURING)
    except DatabaseError:
        return False
    return True


def restored(house: House) -> Verdict:
    """Yesterday's backup, with people still waiting in it, is put back: they hear nothing of yesterday any more."""
    clock = house.start("clock")
    house.declare(name="Yesterday, queued")
    until(lambda: Delivery.objects.count() == house.cast["email"], "a fan-out")
    house.declare(name="Yesterday, not opened")
    clock.kill()
    with connection.cursor() as cursor:
        for table, columns in AGED.items():
            older = ", ".join(f"{column} = {column} - interval '{AGE}'" for column in columns)
            cursor.execute(f"UPDATE {table} SET {older}")
    before = house.mails
    house.start_line("clock", "worker-email")
    today = house.declare(name="Today")
    house.await_settled_of(today)
    until(lambda: not Delivery.objects.filter(state__in=["pending", "calling"]).exists(), "an end")
    seen = history.of(house)
    yesterday = [one for one in seen.ledger if one.incident != today.uid]
    verdict = judge(
        history.only(seen, today.uid),
        Rules(),
    )
    if yesterday or before:
        verdict.broken.append(f"R32 {len(yesterday)} messages of yesterday were sent")
    return verdict


def put_back(house: House) -> Verdict:
    """A backup of some minutes ago, with people waiting in it who were told meanwhile, is put back: nobody hears it again."""
    clock = house.start("clock")
    told = house.declare(name="Told meanwhile")
    until(lambda: Delivery.objects.count() == house.cast["email"], "a fan-out")
    until(lambda: _beats() > 0, "a beat of the clock")
    connection.close()
    clock.kill()
    house.postgres.copy_of(house.database, "backup")
    house.start_again(clock)
    worker = house.start("worker-email")
    house.await_settled_of(told)
    beats = _beats()
    until(lambda: _beats() > beats + epoch.BEHIND_MAX, "further beats")
    worker.kill()
    clock.kill()
    before = house.mails
    connection.close()
    house.postgres.drop(house.database)
    house.postgres.rename("backup", house.database)
    house.start_again(clock)
    house.start_again(worker)
    until(lambda: not Delivery.objects.filter(state="pending").exists(), "an end")
    again = house.mails - before
    today = house.declare(name="Today")
    house.await_settled_of(today)
    verdict = judge(history.only(history.of(house), today.uid), Rules())
    if again:
        verdict.broken.append(f"R32 {again} messages were sent again")
    return verdict


def _beats() -> int:
    return Epoch.objects.values_list("beats", flat=True).first() or 0


def test_a_database_that_restarts_loses_nobody(open_house: Open, report: Report) -> None:
    report(restarted(open_house(PEOPLE)))


def test_a_restored_backup_tells_nobody_yesterdays_news(open_house: Open, report: Report) -> None:
    report(restored(open_house(PEOPLE)))


def test_a_backup_of_minutes_ago_tells_nobody_twice(open_house: Open, report: Report) -> None:
    report(put_back(open_house({"email": 300})))
