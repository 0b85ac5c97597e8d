"""What people asked to get later or seldomer is held, and let go when it is due."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from incidents import services
from incidents.lifecycle import ComponentStatus, Impact, Status
from notifications import holding, outbox
from notifications.models import Delivery, DeliveryState, Lane
from subscribers import services as people
from subscribers.models import Subscription
from tests import world
from tests.world import MAJOR, PARTIAL

NIGHT = datetime(2026, 11, 28, 6, 0, tzinfo=UTC)  # 01:00 in New York
EDGES = [
    pytest.param("22:00", "07:00", NIGHT, "2026-11-28T12:00", id="over midnight, after it"),
    pytest.param("22:00", "07:00", NIGHT - timedelta(hours=2), "2026-11-28T12:00", id="over midnight, before it"),
    pytest.param("22:00", "07:00", NIGHT + timedelta(hours=6), None, id="ended this minute"),
    pytest.param("00:30", "02:00", NIGHT, "2026-11-28T07:00", id="within one night"),
    pytest.param("01:01", "02:00", NIGHT, None, id="begins in a minute"),
    pytest.param("00:00", "00:00", NIGHT, None, id="equal ends are none"),
    pytest.param("22:00", "02:30", datetime(2026, 3, 8, 5, tzinfo=UTC), "2026-03-08T07:30", id="ends in the hour that summer time skips"),
]  # fmt: skip


@pytest.mark.parametrize(("begins", "ends", "now", "until"), EDGES)
def test_quiet_hours_end_by_the_wall_clock(
    begins: str, ends: str, now: datetime, until: str | None
) -> None:
    found = holding.quiet_ends(
        now, "America/New_York", time.fromisoformat(begins), time.fromisoformat(ends)
    )
    assert (found and found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")) == until


def declared(**words: Any) -> Any:
    """Declare an incident and queue it."""
    incident = world.incident(world.component(), **words)
    queued()
    return incident


def queued() -> None:
    now = outbox.database_now()
    outbox.open_entries(now + timedelta(seconds=6))
    outbox.fan_out(now)


def quiet_now(row: Subscription, hours: int = 1) -> None:
    """Let quiet hours reign from an hour ago until in an hour, by the page's clock (UTC)."""
    now = datetime.now(UTC)
    person = row.subscriber
    person.quiet_from = (now - timedelta(hours=1)).time().replace(microsecond=0)
    person.quiet_until = (now + timedelta(hours=hours)).time().replace(microsecond=0)
    person.save()


def update(incident: Any, status: Status = Status.IDENTIFIED, **words: Any) -> None:
    services.publish_update(
        incident, status=status, body="More.", actor="ann", now=datetime.now(UTC) - timedelta(seconds=8),
        **words,
    )  # fmt: skip
    queued()


def states(row: Subscription) -> list[tuple[str, int]]:
    return list(
        Delivery.objects.filter(subscription=row).order_by("broadcast__number").values_list("state", "lane")
    )  # fmt: skip


@pytest.mark.django_db
def test_in_quiet_hours_it_waits_and_the_newest_goes_in_the_morning() -> None:
    quiet, other = world.person(), world.person(address="b@family.example")
    quiet_now(quiet)
    incident = declared()
    assert states(quiet) == [(DeliveryState.PENDING, Lane.HELD)]
    assert states(other) == [(DeliveryState.PENDING, Lane.URGENT)]
    update(incident)
    now = outbox.database_now()
    assert holding.release(now) == 0
    assert holding.release(now + timedelta(hours=2)) == 2
    assert states(quiet) == [
        (DeliveryState.SUPERSEDED, Lane.HELD),
        (DeliveryState.PENDING, Lane.BULK),
    ]


@pytest.mark.django_db
def test_who_asked_to_be_woken_is_woken_in_quiet_hours() -> None:
    text = world.person("sms", "+16175550123", wake_me=True)
    call = world.person("voice", "+16175550123", wake_me=True)
    for row in (text, call):
        quiet_now(row)
    declared()
    assert states(text) == states(call) == [(DeliveryState.PENDING, Lane.URGENT)]


@pytest.mark.django_db
def test_who_paused_is_not_queued_until_the_pause_is_over() -> None:
    row = world.person()
    people.pause(row.subscriber, datetime.now(UTC) + timedelta(days=1))
    incident = declared()
    assert states(row) == []
    people.pause(row.subscriber, None)
    update(incident)
    assert len(states(row)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("least", "hurt", "hears"),
    [
        ("", ComponentStatus.DEGRADED_PERFORMANCE, True),
        ("major", ComponentStatus.DEGRADED_PERFORMANCE, False),
        ("major", ComponentStatus.MAJOR_OUTAGE, True),
        ("critical", ComponentStatus.PARTIAL_OUTAGE, False),
        ("critical", ComponentStatus.MAJOR_OUTAGE, True),
    ],
)
def test_only_what_hurts_enough_is_heard(least: str, hurt: ComponentStatus, hears: bool) -> None:
    row = world.person()
    Subscription.objects.filter(pk=row.pk).update(least_impact=least)
    declared(hurt=hurt)
    assert bool(states(row)) is hears


def worst_only(address: str = "parent@family.example") -> Subscription:
    row = world.person(address=address)
    Subscription.objects.filter(pk=row.pk).update(least_impact="critical")
    return row


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("hurt", "impact", "hears"),
    [
        pytest.param(PARTIAL, Impact.CRITICAL, True, id="worse than it looks"),
        pytest.param(MAJOR, Impact.MINOR, False, id="lighter than it looks"),
    ],
)
def test_an_impact_that_was_set_by_hand_counts(
    hurt: ComponentStatus, impact: Impact, hears: bool
) -> None:
    row = worst_only()
    declared(hurt=hurt, impact=impact)
    assert bool(states(row)) is hears


@pytest.mark.django_db
@pytest.mark.parametrize(
    "state",
    [
        pytest.param(DeliveryState.ACCEPTED, id="handed over"),
        pytest.param(DeliveryState.UNKNOWN, id="perhaps"),
        pytest.param(DeliveryState.PENDING, id="on its way"),
    ],
)
def test_who_heard_the_alarm_hears_its_end_though_it_became_lighter(state: DeliveryState) -> None:
    told = worst_only()
    incident = declared(impact=Impact.CRITICAL)
    Delivery.objects.update(state=state, accepted_at=outbox.database_now())
    late = worst_only("late@family.example")
    update(incident, impact=Impact.MINOR)
    update(incident, Status.RESOLVED)
    assert (len(states(told)), states(late)) == (3, [])


@pytest.mark.django_db
def test_whom_the_alarm_never_reached_needs_no_end_of_it() -> None:
    row = worst_only()
    incident = declared(impact=Impact.CRITICAL)
    Delivery.objects.update(state=DeliveryState.FAILED)
    update(incident, impact=Impact.MINOR)
    assert len(states(row)) == 1


@pytest.mark.django_db
def test_fewer_messages_means_one_an_hour_between_the_first_word_and_the_end() -> None:
    row = world.person()
    Subscription.objects.filter(pk=row.pk).update(digest=True)
    incident = declared()
    Delivery.objects.update(state=DeliveryState.ACCEPTED, accepted_at=outbox.database_now())
    update(incident)
    update(incident, Status.MONITORING)
    update(incident, Status.RESOLVED)
    assert states(row) == [
        (DeliveryState.ACCEPTED, Lane.URGENT),
        (DeliveryState.PENDING, Lane.HELD),
        (DeliveryState.PENDING, Lane.HELD),
        (DeliveryState.PENDING, Lane.URGENT),
    ]
    holding.release(outbox.database_now() + timedelta(hours=2))
    assert [state for state, _ in states(row)][1:3] == [DeliveryState.SUPERSEDED] * 2


def seldom(address: str) -> Subscription:
    row = world.person(address=address)
    Subscription.objects.filter(pk=row.pk).update(digest=True)
    return row


def heard(*rows: Subscription) -> None:
    Delivery.objects.filter(subscription__in=rows).update(
        state=DeliveryState.ACCEPTED, accepted_at=outbox.database_now()
    )


@pytest.mark.django_db
def test_one_mail_that_waits_makes_nobody_elses_update_urgent() -> None:
    retried, other, digest = (
        world.person(),
        world.person(address="b@x.example"),
        seldom("c@x.example"),
    )
    incident = declared()
    heard(other, digest)
    update(incident)
    update(incident, Status.MONITORING)
    assert states(retried) == [(DeliveryState.PENDING, Lane.URGENT)] * 3
    assert states(other)[1:] == [(DeliveryState.PENDING, Lane.BULK)] * 2
    assert states(digest)[1:] == [(DeliveryState.PENDING, Lane.HELD)] * 2
    assert list(Delivery.objects.filter(broadcast__number=3).order_by("pk").values_list("subscription", "urgent")) == [
        (retried.pk, True), (other.pk, False), (digest.pk, False),
    ]  # fmt: skip


@pytest.mark.django_db
def test_who_wants_fewer_messages_hears_at_once_what_was_urgent_and_overtaken() -> None:
    digest = seldom("c@x.example")
    incident = declared(hurt=PARTIAL)
    heard(digest)
    update(incident, components={world.component(): MAJOR})  # graver: urgent
    update(incident)
    assert states(digest)[1:] == [(DeliveryState.PENDING, Lane.URGENT)] * 2


@pytest.mark.django_db
def test_times_are_in_the_readers_zone_and_it_is_named() -> None:
    for address, zone in (("a@x.example", "America/New_York"), ("b@x.example", "Asia/Kolkata")):
        row = world.person(address=address)
        Subscription.objects.filter(pk=row.pk).update(time_zone=zone)
    declared(next_update_by=datetime.now(UTC) + timedelta(minutes=20))
    claims = [outbox.claim("email", rows=10) for _ in range(3)]
    found = [claim for claim in claims if claim]
    assert {claim.time_zone for claim in found} == {"America/New_York", "Asia/Kolkata"}
    assert all(len(claim.ids) == 1 for claim in found)
