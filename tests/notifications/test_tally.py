"""Counts that nobody counts, curves that are kept, and what is forgotten."""

from collections import Counter
from datetime import timedelta

import pytest

from incidents.lifecycle import Status
from notifications import channels, ending, outbox, reach, reports, tally
from notifications.models import Attempt, Broadcast, Counted, Delivery, DeliveryState, Informed
from notifications.outbox import Settlement
from tests import world
from tests.notifications.test_outbox import SOON, hand_over, queue, say
from tests.world import NOW

pytestmark = pytest.mark.django_db


def in_the_ledger() -> Counter[str]:
    words = {"prepared": "pending", "calling": "pending"}
    states = Delivery.objects.values_list("state", flat=True)
    return Counter(words.get(state, state) for state in states)


def in_the_tally() -> dict[str, int]:
    found = tally.states(list(Broadcast.objects.values_list("pk", flat=True)))
    return found.get("email", {})


def settle_one(outcome: channels.Outcome) -> None:
    claimed = outbox.claim("email", rows=1)
    assert claimed
    sending = outbox.admit(claimed, claimed.ids)
    done = [Settlement(each, outcome, outbox.database_now()) for each in sending]
    outbox.settle(done, lease=claimed.lease, provider="test", critical=True)


def test_the_tally_agrees_with_the_ledger_whatever_happens() -> None:
    people = [world.person(address=f"p{n}@family.example") for n in range(8)]
    incident = world.incident(world.component())
    queue(incident)
    assert in_the_tally() == {"pending": 8}
    for outcome in (
        channels.accepted("1"),
        channels.refused("no"),
        channels.retry("later"),
        channels.unknown("?"),
    ):
        settle_one(outcome)
        assert in_the_tally() == in_the_ledger()
    tally.fold()
    assert in_the_tally() == in_the_ledger()
    Delivery.objects.filter(state="accepted").update(state=DeliveryState.DELIVERED)
    people[7].state = "gone"
    people[7].save()
    say(incident, Status.IDENTIFIED)
    queue(incident)
    hand_over()
    assert in_the_tally() == in_the_ledger()
    assert {"delivered", "refused", "superseded", "suppressed"} <= set(in_the_tally())
    before = in_the_tally()
    tally.fold()
    tally.fold()
    assert in_the_tally() == before
    assert not Counted.objects.filter(folded=False).exists()


def test_a_curve_climbs_to_everyone_and_tells_the_shares() -> None:
    for n in range(10):
        world.person(address=f"p{n}@family.example")
    incident = world.incident(world.component())
    rows = queue(incident)
    for n, row in enumerate(rows):
        Delivery.objects.filter(pk=row.pk).update(
            state="accepted", accepted_at=NOW + timedelta(seconds=n + 1)
        )
    (one,) = reports.curves(incident)
    assert one.curve == tuple((float(n + 1), n + 1) for n in range(10))
    from_publish = one.reach(None)
    assert (from_publish.p50_s, from_publish.p90_s, from_publish.p100_s) == (5.0, 9.0, 10.0)
    assert one.reach(NOW - timedelta(minutes=1)).p95_s == 70.0
    assert (one.fault_at, one.expected) == (NOW, 10)


def test_a_tenth_of_a_second_is_rounded_up_so_that_no_time_flatters() -> None:
    world.person()
    incident = world.incident(world.component())
    (row,) = queue(incident)
    Delivery.objects.filter(pk=row.pk).update(
        state="accepted", accepted_at=NOW + timedelta(seconds=2, milliseconds=310)
    )
    (one,) = reports.curves(incident)
    assert one.curve == ((2.4, 1),)


def test_a_broadcast_ends_when_nothing_waits_and_its_curve_outlives_its_rows() -> None:
    world.person()
    world.person(address="other@family.example")
    incident = world.incident(world.component())
    queue(incident)
    assert ending.end(SOON) == 0
    hand_over()
    outbox.fan_out(SOON)
    assert ending.end(SOON) == 1
    before = reports.of_incident(incident, since=NOW)
    assert Informed.objects.get().counts["accepted"] == 2

    ending.forget(SOON + ending.TOLD_KEPT + timedelta(seconds=1))
    assert not Counted.objects.filter(told__gt=0).exists()
    assert reports.of_incident(incident, since=NOW) == before

    Attempt.objects.create(delivery=Delivery.objects.all()[0], at=NOW, result="retry")
    assert ending.forget(SOON + ending.DELIVERIES_KEPT + timedelta(seconds=1)) > 0
    assert not Delivery.objects.exists()
    assert reports.of_incident(incident, since=NOW) == before
    assert reports.progress(Broadcast.objects.get().pk) == {"email": {"accepted": 2}}


def test_what_is_put_back_in_line_opens_its_broadcast_again() -> None:
    world.person()
    queue(world.incident(world.component()))
    hand_over()
    outbox.fan_out(SOON)
    tally.fold()
    ending.end(SOON)
    Delivery.objects.update(state="pending", accepted_at=None)
    ending.end(SOON, tally.fold())
    assert Broadcast.objects.get().settled_at is None


def test_the_all_clear_has_a_curve_of_its_own() -> None:
    world.person()
    incident = world.incident(world.component())
    queue(incident)
    hand_over()
    say(incident, Status.RESOLVED)
    queue(incident)
    hand_over()
    assert [one.counts["accepted"] for one in reports.curves(incident)] == [1]
    (end,) = reports.curves(incident, all_clear=True)
    assert (end.counts["accepted"], end.fault_at) == (1, None)


def test_thinning_moves_no_percentile() -> None:
    steps = reach.curve((n / 10, 3) for n in range(50_000))
    counts = dict.fromkeys(reach.WORDS, 0) | {"accepted": 150_000, "pending": 500}
    thin = reach.thinned(steps, 150_500)
    assert len(thin) <= reach.STEPS_MAX + 8
    assert reach.measure_curve(counts, thin) == reach.measure_curve(counts, steps)
    assert reach.measure_curve(counts, thin).p100_s is None
