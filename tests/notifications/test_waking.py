"""The ladder's rows on a real database: taken up, called, heard, stopped, passed to the contact; and messages that failed passed on."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from incidents import services
from incidents.lifecycle import Status
from incidents.models import Call, Incident
from notifications import checkups, hearing, holes, mishaps, outbox, passing, waketests, waking
from notifications.hearing import Said
from notifications.models import Broadcast, Counted, Delivery, DeliveryState, Hole, Ring, Wake
from subscribers.forms import FALLBACK_MIN_MAX
from subscribers.models import Contact, Letter, State, Subscriber, Subscription
from tests import world
from tests.notifications.test_outbox import shown

pytestmark = pytest.mark.django_db
NOW = world.NOW
MUM, AUNT = "+12125550101", "+12125550102"


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def alarm(seconds: float = 1) -> Incident:
    incident = world.incident(world.component())
    queue(incident, seconds)
    return incident


def queue(incident: Incident, seconds: float = 1) -> None:
    shown(incident)
    outbox.open_entries(after(seconds))
    outbox.fan_out(after(seconds))


def mum(*, text: bool = False) -> Subscription:
    row = world.person("voice", MUM, wake_me=True)
    if text:
        own = world.person("sms", MUM)
        Subscription.objects.filter(pk=own.pk).update(subscriber=row.subscriber)
    return row


def due() -> list[str]:
    """Return the numbers that the line would call now, by their subscription."""
    rows = Delivery.objects.filter(channel="voice", state="pending", due_at__lte=after(7200))
    return list(rows.values_list("subscription__uid", flat=True))


def made(seconds: float) -> None:
    """Let the line make every due call."""
    Delivery.objects.filter(channel="voice", state="pending", due_at__lte=after(7200)).update(
        state=DeliveryState.ACCEPTED, accepted_at=after(seconds), attempts=1
    )


def not_answered(row: Subscription, seconds: float) -> None:
    delivery = Delivery.objects.filter(subscription=row, channel="voice").latest("pk")
    changed = hearing.note(Delivery.objects.filter(pk=delivery.pk), Said.FAILED, now=after(seconds))
    assert changed
    waking.rang(delivery.pk, outcome="no-answer", now=after(seconds))


def test_who_has_only_a_telephone_is_called_at_once_and_again_within_three_minutes() -> None:
    row = mum()
    alarm()
    assert due() == []
    assert waking.climb(after(1)) == 1
    assert due() == [row.uid]
    made(2)
    assert waking.climb(after(20)) == 0
    not_answered(row, 40)
    assert waking.climb(after(41)) == 0
    assert waking.climb(after(46)) == 1
    assert due() == [row.uid]
    assert Ring.objects.count() == 2


def test_a_text_gets_two_minutes_unless_it_comes_back() -> None:
    mum(text=True)
    alarm()
    assert waking.climb(after(119)) == 0
    assert waking.climb(after(122)) == 1
    assert Wake.objects.get().rank == 0


def test_a_text_that_came_back_is_followed_by_the_call_at_once() -> None:
    mum(text=True)
    alarm()
    waking.climb(after(1))
    text = Delivery.objects.get(channel="sms")
    Delivery.objects.filter(pk=text.pk).update(state=DeliveryState.ACCEPTED, accepted_at=after(2))
    hearing.note(Delivery.objects.filter(pk=text.pk), Said.FAILED, now=after(5))
    hearing.came_back(text.pk, now=after(5))
    assert waking.climb(after(6)) == 1


def test_who_has_heard_by_text_is_not_called() -> None:
    row = mum(text=True)
    alarm()
    text = Delivery.objects.select_related("broadcast", "subscription").get(channel="sms")
    Delivery.objects.filter(pk=text.pk).update(state=DeliveryState.ACCEPTED, accepted_at=after(2))
    assert hearing.heard_by_number(text.subscription.address_hash, now=after(60))
    assert waking.climb(after(300)) == 0
    wake = Wake.objects.get()
    assert (wake.why, wake.heard_by) == ("heard", "sms")
    assert Delivery.objects.get(subscription=row).state == "superseded"


def test_after_two_rings_the_contact_who_agreed_is_called_and_their_key_ends_it() -> None:
    row = mum()
    aunt = world.person("voice", AUNT, only=world.component("login"))
    Contact.objects.create(person=row.subscriber, subscription=aunt)
    alarm()
    for start in (1, 50):
        assert waking.climb(after(start)) == 1
        made(start)
        not_answered(row, start + 30)
    assert waking.climb(after(81)) == 1
    assert due() == [aunt.uid]
    made(82)
    delivery = Delivery.objects.select_related("broadcast", "subscription").get(subscription=aunt)
    hearing.heard(delivery, by="key", now=after(100))
    assert Wake.objects.get().why == "heard"
    assert waking.climb(after(3000)) == 0


def test_a_contact_who_left_or_never_confirmed_is_not_called() -> None:
    row = mum()
    aunt = world.person("voice", AUNT, state=State.PENDING)
    Contact.objects.create(person=row.subscriber, subscription=aunt)
    alarm()
    for start in (1, 50):
        waking.climb(after(start))
        made(start)
        not_answered(row, start + 30)
    assert waking.climb(after(81)) == 0


def test_stop_between_the_rings_ends_them_and_takes_back_what_was_queued() -> None:
    row = mum()
    alarm()
    waking.climb(after(1))
    made(2)
    not_answered(row, 30)
    hearing.stop(row.address_hash, why="said STOP", now=after(31), channels=("sms", "voice"))
    assert waking.climb(after(40)) == 0
    assert (Wake.objects.get().why, due()) == ("nobody", [])


def test_the_end_wakes_nobody_any_more_and_a_reopened_incident_begins_again() -> None:
    row = mum(text=True)
    incident = alarm()
    services.publish_update(
        incident, status=Status.RESOLVED, body="Over.", actor="ann", now=after(60)
    )
    queue(incident, 61)
    assert waking.climb(after(130)) == 0
    assert (Wake.objects.get().why, due()) == ("over", [])
    services.reopen(Incident.objects.get(), body="Again.", actor="ann", now=after(600))
    queue(incident, 601)
    assert waking.climb(after(700)) == 0
    assert waking.climb(after(730)) == 1
    assert due() == [row.uid]


def test_one_number_is_never_called_twice_at_once_whoever_it_stands_for() -> None:
    row = mum()
    other = world.person("voice", AUNT, wake_me=True)
    Contact.objects.create(person=other.subscriber, subscription=row)
    alarm()
    assert waking.climb(after(1)) == 2
    ring = Ring.objects.get(subscription=row)
    # PostgreSQL names the constraint, SQLite its column.
    refusal = r"never_two_calls_at_once|notifications_ring\.address_hash"
    with pytest.raises(IntegrityError, match=refusal), transaction.atomic():
        Ring.objects.create(
            wake=Wake.objects.get(person=other.subscriber), number=9, subscription=row,
            delivery=ring.delivery, address_hash=row.address_hash, at=after(2),
        )  # fmt: skip


def over(incident: Incident) -> None:
    Incident.objects.filter(pk=incident.pk).update(status=Status.RESOLVED, resolved_at=after(3))


def test_an_alarm_that_is_over_or_halted_lets_its_own_people_sleep_and_no_others() -> None:
    row = mum(text=True)
    first, second, third = alarm(), alarm(), alarm()
    assert waking.climb(after(2)) == 0
    over(first)
    Broadcast.objects.filter(incident=second).update(halted_at=after(3))
    assert waking.climb(after(4)) == 0
    sleeping = Wake.objects.filter(ended_at=after(4), why="over")
    assert set(sleeping.values_list("incident", flat=True)) == {first.pk, second.pk}
    assert waking.climb(after(130)) == 1
    assert Ring.objects.get().wake.incident_id == third.pk
    assert due() == [row.uid]


def test_a_pass_asks_the_database_no_more_for_thirty_people_than_for_three() -> None:
    counts = []
    for numbers in (range(3), range(3, 30)):
        for number in numbers:
            world.person("voice", f"+1212555{number:04d}", wake_me=True)
        incident = alarm()
        with CaptureQueriesContext(connection) as asked:
            assert waking.climb(after(1)) == numbers.stop
        counts.append(len(asked))
        over(incident)
        assert waking.climb(after(4)) == 0
        Ring.objects.all().delete()
    assert counts[0] == counts[1] <= 20


def test_a_second_pass_calls_nobody_twice_and_a_dead_worker_is_not_waited_for_ever() -> None:
    mum()
    alarm()
    assert [waking.climb(after(1)), waking.climb(after(1)), waking.climb(after(2))] == [1, 0, 0]
    made(3)
    assert waking.climb(after(160)) == 0  # no word for two and a half minutes: closed
    assert waking.climb(after(166)) == 1


# --- passed on --------------------------------------------------------------------------------------------------------


def two_ways(
    second: str = "sms", **words: Any
) -> tuple[Subscription, Subscription]:  # Any: fields of a model
    """Return a person's mail, and a second way that would not hear of this by itself."""
    mail = world.person("email", "parent@family.example")
    other = world.person(
        second, MUM if second == "sms" else "second@family.example", only=world.component("login")
    )
    Subscription.objects.filter(pk=other.pk).update(subscriber=mail.subscriber, position=1, **words)
    return mail, other


def came_back(row: Subscription) -> None:
    Delivery.objects.filter(subscription=row).update(
        state=DeliveryState.BOUNCED, accepted_at=after(2)
    )


def test_what_came_back_goes_by_the_next_verified_channel_once() -> None:
    mail, text = two_ways()
    alarm()
    came_back(mail)
    assert [passing.pass_on(after(3)), passing.pass_on(after(4))] == [1, 0]
    passed = Delivery.objects.get(subscription=text)
    assert (passed.state, passed.urgent, passed.why) == ("pending", True, "instead of email")


@pytest.mark.parametrize(
    "fields", [{"state": "gone"}, {"state": "pending", "confirmed_at": None}, {"role": "operator"}]
)
def test_only_a_verified_channel_of_the_same_person_is_next(fields: dict[str, Any]) -> None:
    mail, _ = two_ways(**fields)
    alarm()
    came_back(mail)
    assert passing.pass_on(after(3)) == 0


def test_who_was_reached_by_another_channel_is_not_told_twice() -> None:
    mail = world.person("email", "parent@family.example")
    text = world.person("sms", MUM)
    Subscription.objects.filter(pk=text.pk).update(subscriber=mail.subscriber)
    alarm()
    came_back(mail)
    assert passing.pass_on(after(3)) == 0


def unanswered(patience_s: int, accepted_s: float) -> Incident:
    """Let a text be handed over, and its owner have a mail that would not hear of this by itself."""
    text = world.person("sms", MUM)
    mail = world.person("email", "parent@family.example", only=world.component("login"))
    Subscription.objects.filter(pk=mail.pk).update(subscriber=text.subscriber, position=1)
    Subscriber.objects.filter(pk=text.subscriber_id).update(fallback_after_s=patience_s)
    incident = alarm()
    Delivery.objects.filter(subscription=text).update(
        state="delivered", accepted_at=after(accepted_s)
    )
    return incident


@pytest.mark.parametrize("patience_s", [60, FALLBACK_MIN_MAX * 60])
@pytest.mark.parametrize(
    "accepted_s", [pytest.param(2, id="at once"), pytest.param(1200, id="late")]
)
def test_a_text_unanswered_for_as_long_as_the_person_chose_goes_by_the_next_channel(
    patience_s: int, accepted_s: float
) -> None:
    unanswered(patience_s, accepted_s)
    assert passing.pass_on(after(accepted_s + patience_s - 10)) == 0
    assert passing.pass_on(after(accepted_s + patience_s + 1)) == 1


def test_who_waits_long_for_an_answer_keeps_nobody_else_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passing, "ROWS_MAX", 1)  # a bound of ours, made small
    patient = world.person("sms", AUNT)
    Subscriber.objects.filter(pk=patient.subscriber_id).update(fallback_after_s=3600)
    unanswered(60, 3)
    Delivery.objects.filter(subscription=patient).update(state="delivered", accepted_at=after(2))
    assert passing.pass_on(after(64)) == 1


def test_an_unanswered_alarm_is_not_passed_on_once_it_is_over() -> None:
    incident = unanswered(3600, 2)
    services.publish_update(
        incident, status=Status.RESOLVED, body="Over.", actor="ann", now=after(1800)
    )
    queue(incident, 1801)
    assert passing.pass_on(after(3603)) == 0


# --- black hole -------------------------------------------------------------------------------------------------------


def handed_over(count: int, heard_of: int) -> None:
    """Queue texts, of which a provider took all, five minutes ago, and told of some."""
    for number in range(count):
        world.person("sms", f"+1212555{number:04d}")
    incident = alarm()
    rows = Delivery.objects.filter(broadcast__incident=incident, channel="sms").order_by("pk")
    rows.update(state="accepted", accepted_at=NOW - timedelta(minutes=5))
    pks = list(rows.values_list("pk", flat=True)[:heard_of])
    Delivery.objects.filter(pk__in=pks).update(state="delivered")


@pytest.mark.parametrize(
    ("count", "heard_of", "is_hole"),
    [
        pytest.param(20, 20, False, id="all were heard of"),
        pytest.param(20, 16, False, id="four fifths of normal"),
        pytest.param(20, 15, True, id="below"),
        pytest.param(20, 0, True, id="nothing"),
        pytest.param(9, 0, False, id="too few to say"),
    ],
)
def test_a_provider_that_delivers_nothing_is_found_and_operators_are_called(
    count: int, heard_of: int, is_hole: bool
) -> None:
    handed_over(count, heard_of)
    for _ in range(2):
        holes.look(NOW)
    assert Hole.objects.filter(closed_at__isnull=True).count() == is_hole
    assert Call.objects.count() == is_hole
    assert len([line for line in checkups.problems(NOW) if "takes messages" in line]) == is_hole


def test_in_a_hole_the_silent_ones_go_by_the_next_channel_and_it_closes_when_receipts_come() -> (
    None
):
    handed_over(20, 0)
    text = Subscription.objects.filter(channel="sms").order_by("pk").first()
    assert text is not None
    mail = world.person("email", "parent@family.example", only=world.component("login"))
    Subscription.objects.filter(pk=mail.pk).update(subscriber=text.subscriber, position=1)
    holes.look(NOW)
    assert passing.pass_on(NOW) == 1
    assert Delivery.objects.get(subscription=mail).why == "instead of sms"
    Delivery.objects.filter(channel="sms").update(state="delivered")
    assert holes.look(NOW) == []


@pytest.mark.parametrize(
    ("url", "secret", "a_week", "is_hole"),
    [
        pytest.param("anymail+postmark://KEY", "user:password", 200, True, id="a provider that reports"),
        pytest.param("anymail+postmark://KEY", "user:password", 0, False, id="normal not known"),
        pytest.param("anymail+postmark://KEY", "", 200, False, id="reports are not taken"),
        pytest.param("anymail+mandrill://KEY", "user:password", 200, False, id="says only sent"),
        pytest.param("smtp://127.0.0.1:1", "user:password", 200, False, id="plain SMTP"),
    ],
)  # fmt: skip
def test_mails_are_watched_where_the_provider_tells_of_each(
    url: str, secret: str, a_week: int, is_hole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.ENVIRON.raw, "EMAIL_URL", url)
    monkeypatch.setitem(settings.ENVIRON.raw, "EMAIL_FALLBACK_URL", "")
    monkeypatch.setitem(settings.ENVIRON.raw, "EMAIL_WEBHOOK_SECRET", secret)
    for number in range(20):
        world.person("email", f"parent{number}@family.example")
    incident = alarm()
    rows = Delivery.objects.filter(broadcast__incident=incident, channel="email")
    rows.update(state="accepted", accepted_at=NOW - timedelta(minutes=5))
    if a_week:
        text = world.incident(world.component("login"))
        queue(text)
        earlier = Broadcast.objects.exclude(incident=incident).get()
        Broadcast.objects.filter(pk=earlier.pk).update(created_at=NOW - timedelta(days=2))
        Counted.objects.create(
            broadcast=earlier, channel="email", state="delivered", told=1, number=a_week
        )
    holes.look(NOW)
    assert Hole.objects.filter(channel="email", closed_at__isnull=True).count() == is_hole


def test_what_a_person_missed_and_what_told_them_instead_is_on_their_page() -> None:
    row = world.person("sms", MUM)
    incident = alarm()
    text = Delivery.objects.get(channel="sms")
    Delivery.objects.filter(pk=text.pk).update(state="bounced", why="Twilio: undelivered (30003)")
    found = list(mishaps.of_person(row.subscriber_id, NOW))
    assert [(one.channel, one.about, one.instead) for one in found] == [("sms", incident.name, "")]
    assert found[0].why == "Twilio: undelivered (30003)"

    mail = world.person("email", "parent@family.example", only=world.component("login"))
    Subscription.objects.filter(pk=mail.pk).update(subscriber=row.subscriber, position=1)
    assert passing.pass_on(after(5)) == 1
    Delivery.objects.filter(subscription=mail).update(state="accepted", accepted_at=after(6))
    assert [one.instead for one in mishaps.of_person(row.subscriber_id, after(7))] == ["email"]

    # Another one's page says nothing of it, nor does this one's for ever.
    assert mishaps.of_person(world.person("sms", AUNT).subscriber_id, after(7)) == []
    assert mishaps.of_person(row.subscriber_id, NOW + timedelta(days=31)) == []


# --- wake tests -------------------------------------------------------------------------------------------------------


def test_once_a_month_at_the_persons_hour_we_ask_whether_we_can_still_wake_them() -> None:
    row = mum()
    person = row.subscriber
    person.wake_test_hour, person.time_zone = 20, "America/New_York"
    person.save()
    evening = datetime(2026, 11, 2, 1, 30, tzinfo=UTC)  # 20:30 in New York, the clocks just changed
    assert waketests.begin(evening - timedelta(hours=1)) == 0
    assert [waketests.begin(evening), waketests.begin(evening)] == [1, 0]
    assert Letter.objects.get().kind == "test"
    assert waketests.begin(evening + timedelta(days=27)) == 0
    assert list(waketests.failed(evening + timedelta(hours=2))) == [person]
    assert any("monthly test" in line for line in checkups.problems(evening + timedelta(hours=2)))
    outbox.open_entries(evening)
    delivery = Delivery.objects.select_related("broadcast__letter", "subscription").get()
    hearing.heard(delivery, by="key", now=evening + timedelta(minutes=1))
    Delivery.objects.update(state=DeliveryState.ACCEPTED, accepted_at=evening)
    hearing.heard(delivery, by="key", now=evening + timedelta(minutes=1))
    assert list(waketests.failed(evening + timedelta(hours=2))) == []


def test_nobody_is_tested_while_something_is_wrong() -> None:
    row = mum()
    Subscriber.objects.filter(pk=row.subscriber_id).update(wake_test_hour=NOW.hour, time_zone="UTC")
    world.incident(world.component())
    assert waketests.begin(NOW) == 0
