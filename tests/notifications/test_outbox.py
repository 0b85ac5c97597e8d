"""The line from an entry to a settled delivery, on a real database."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from incidents import services
from incidents.lifecycle import Audience, CallReason, Status
from incidents.models import Incident, Update
from notifications import channels, claiming, fanning, outbox, waking
from notifications.models import Broadcast, Delivery, DeliveryState
from notifications.outbox import Settlement
from subscribers.models import Letter, LetterKind, Role, State, Subscription, Suppression
from tests import world
from tests.world import MAJOR, NOW, PARTIAL

pytestmark = pytest.mark.django_db
SOON = NOW + timedelta(seconds=1)


def shown(incident: Incident) -> None:
    services.mark_shown(list(incident.updates.values_list("pk", flat=True)), now=SOON)


def queue(incident: Incident) -> list[Delivery]:
    shown(incident)
    outbox.open_entries(SOON)
    outbox.fan_out(SOON)
    waking.climb(SOON)
    return list(Delivery.objects.filter(broadcast__incident=incident).order_by("pk"))


def hand_over(channel: str = "email") -> list[str]:
    """Send everything due on `channel` through a provider that accepts; return whom it went to."""
    told = []
    while claimed := outbox.claim(channel, rows=100):
        sending = outbox.admit(claimed, claimed.ids)
        told += [delivery.subscription.uid for delivery in sending]
        done = [
            Settlement(delivery, channels.accepted("id"), outbox.database_now())
            for delivery in sending
        ]
        outbox.settle(done, lease=claimed.lease, provider="test", critical=True)
    return told


# --- who is queued ----------------------------------------------------------------------------------------------------


def test_a_follower_of_the_component_is_queued() -> None:
    follow = world.component()
    person = world.person(only=follow)
    assert [delivery.subscription for delivery in queue(world.incident(follow))] == [person]


def test_a_follower_of_another_component_hears_nothing() -> None:
    world.person(only=world.component("login"))
    assert queue(world.incident(world.component("follow"))) == []


def test_channels_that_nobody_chose_are_done_in_one_look() -> None:
    person = world.person()
    incident = world.incident()
    shown(incident)
    outbox.open_entries(SOON)
    with CaptureQueriesContext(connection) as asked:
        outbox.fan_out(SOON)
    assert Delivery.objects.get().subscription == person
    inserts = [each for each in asked if each["sql"].startswith('INSERT INTO "notifications_del')]
    assert len(inserts) == 1
    assert Broadcast.objects.get().fanned_out_at


def test_an_incident_without_components_is_for_everyone() -> None:
    world.person(only=world.component("login"))
    assert len(queue(world.incident())) == 1


@pytest.mark.parametrize(
    "who",
    [
        pytest.param({"state": State.PENDING}, id="has not confirmed"),
        pytest.param({"state": State.GONE}, id="has left"),
        pytest.param({"role": Role.OPERATOR}, id="is an operator"),
        pytest.param(
            {"channel": "voice", "address": "+12125550100"}, id="has not asked to be woken"
        ),
    ],
)
def test_nobody_is_told_who_did_not_ask(who: dict[str, Any]) -> None:
    world.person(**who)
    assert queue(world.incident(world.component())) == []


def test_who_asked_to_be_woken_is_called_for_a_critical_component_only() -> None:
    world.person("voice", "+12125550100", wake_me=True)
    assert len(queue(world.incident(world.component("follow", critical=True)))) == 1
    assert queue(world.incident(world.component("site", critical=False))) == []


def test_a_suppressed_address_is_counted_but_not_sent() -> None:
    person = world.person()
    Suppression.objects.create(channel="email", address_hash=person.address_hash, reason="bounced")
    assert [delivery.state for delivery in queue(world.incident())] == ["suppressed"]
    assert hand_over() == []


@pytest.mark.slow
def test_importing_500_old_incidents_messages_nobody() -> None:
    world.person()
    for number in range(500):
        world.incident(
            name=f"Old {number}", backfilled=True, status=Status.RESOLVED, started_at=NOW
        )
    outbox.open_entries(NOW + timedelta(minutes=1))
    assert (Update.objects.count(), Broadcast.objects.count()) == (500, 0)


def test_fan_out_run_twice_queues_once() -> None:
    world.person()
    incident = world.incident()
    queue(incident)
    Broadcast.objects.update(fanned_out_at=None, cursor={})
    assert len(queue(incident)) == 1


def test_fan_out_resumes_where_it_stopped(monkeypatch) -> None:  # type: ignore[no-untyped-def]  # pytest's fixtures
    monkeypatch.setattr(fanning, "CHUNK_ROWS", 2)  # a bound of ours, made small
    people = [world.person(address=f"p{number}@family.example") for number in range(7)]
    incident = world.incident()
    shown(incident)
    outbox.open_entries(SOON)
    assert outbox.fan_out(SOON, rows_max=3) == 4  # whole chunks, stopped past the bound
    assert Broadcast.objects.get().fanned_out_at is None
    for _ in people:  # a pass has a bound of time too
        outbox.fan_out(SOON)
    assert Delivery.objects.count() == len(people)
    assert Broadcast.objects.get().fanned_out_at == SOON


def test_an_update_waits_to_be_shown_but_not_for_ever() -> None:
    world.person()
    world.incident()
    outbox.open_entries(NOW + timedelta(seconds=4))
    assert not Broadcast.objects.exists()
    outbox.open_entries(NOW + timedelta(seconds=6))
    assert Broadcast.objects.count() == 1


def test_two_sweeps_open_one_broadcast() -> None:
    incident = world.incident()
    shown(incident)
    assert [outbox.open_entries(SOON), outbox.open_entries(SOON)] == [1, 0]


def test_an_entry_of_the_day_before_yesterday_is_not_sent() -> None:
    world.person()
    world.incident(now=NOW - timedelta(hours=25))
    assert outbox.open_entries(NOW) == 0


def test_a_call_goes_to_the_operators_on_their_channels() -> None:
    operator = world.person("sms", "+15005550010", role=Role.OPERATOR)
    world.person()
    services.call_operators(
        page=world.page(), reason=CallReason.BLIND, text="Blind.", key="k", now=NOW
    )
    outbox.open_entries(SOON)
    outbox.fan_out(SOON)
    assert Delivery.objects.get().subscription == operator


def test_a_letter_goes_to_one_person_who_need_not_have_confirmed() -> None:
    person = world.person(state=State.PENDING)
    world.person(address="other@family.example")
    Letter.objects.create(subscription=person, kind=LetterKind.CONFIRM)
    outbox.open_entries(SOON)
    assert hand_over() == [person.uid]


# --- what overtakes what ----------------------------------------------------------------------------------------------


def say(incident: Incident, status: Status, **words: Any) -> None:
    services.publish_update(
        incident, status=status, body="More.", actor="ann", now=outbox.database_now(), **words
    )


def test_an_overtaken_update_is_superseded_and_the_person_hears_the_newest() -> None:
    world.person()
    incident = world.incident()
    queue(incident)
    say(incident, Status.RESOLVED)
    queue(incident)
    hand_over()
    states = Delivery.objects.order_by("broadcast__number").values_list("state", flat=True)
    assert list(states) == ["superseded", "accepted"]


def test_an_update_that_sms_would_not_hear_inherits_what_it_overtakes() -> None:
    person = world.person("sms", "+12125550100")
    incident = world.incident()
    queue(incident)
    say(incident, Status.IDENTIFIED)
    rows = queue(incident)
    assert [(row.broadcast.number, row.urgent) for row in rows] == [(1, True), (2, True)]
    assert hand_over("sms") == [person.uid]
    assert [row.state for row in Delivery.objects.order_by("pk")] == ["superseded", "accepted"]


def test_sms_hears_nothing_of_a_later_update_when_the_first_was_sent() -> None:
    world.person("sms", "+12125550100")
    incident = world.incident()
    queue(incident)
    hand_over("sms")
    say(incident, Status.IDENTIFIED)
    assert len(queue(incident)) == 1


def test_sms_hears_a_new_impact_and_the_end() -> None:
    world.person("sms", "+12125550100")
    follow = world.component()
    incident = world.incident(follow, hurt=PARTIAL)
    queue(incident)
    hand_over("sms")
    say(incident, Status.IDENTIFIED, components={follow: MAJOR})
    queue(incident)
    hand_over("sms")
    say(incident, Status.RESOLVED)
    queue(incident)
    assert Delivery.objects.count() == 3


def test_a_broadcast_overtaken_before_its_fan_out_hands_its_people_on() -> None:
    world.person("sms", "+12125550100")
    incident = world.incident()
    shown(incident)
    outbox.open_entries(SOON)
    say(incident, Status.IDENTIFIED)  # by itself nothing that SMS would hear
    queue(incident)
    assert [row.broadcast.number for row in Delivery.objects.all()] == [2]


def test_who_was_not_queued_for_the_first_word_hears_the_second_as_urgently() -> None:
    world.person()
    incident = world.incident()
    shown(incident)
    outbox.open_entries(SOON)
    say(incident, Status.IDENTIFIED)
    queue(incident)
    [row] = Delivery.objects.all()
    assert (row.broadcast.number, row.urgent) == (2, True)


def test_an_older_message_waits_while_a_newer_update_is_not_queued_yet() -> None:
    world.person()
    incident = world.incident()
    queue(incident)
    say(incident, Status.IDENTIFIED)
    claimed = outbox.claim("email", rows=10)
    assert claimed
    assert outbox.admit(claimed, claimed.ids) == []
    assert Delivery.objects.get().state == "pending"


def test_a_social_account_gets_every_update_in_order() -> None:
    world.person("x", "account", role=Role.SOCIAL)
    incident = world.incident()
    queue(incident)
    say(incident, Status.IDENTIFIED)
    queue(incident)
    assert len(hand_over("x")) == 2


def test_an_incident_with_social_off_is_not_posted() -> None:
    world.person("x", "account", role=Role.SOCIAL)
    assert queue(world.incident(social=False)) == []


def test_a_retraction_goes_to_who_was_told_and_to_nobody_else() -> None:
    told = world.person()
    incident = world.incident()
    queue(incident)
    hand_over()
    world.person(address="late@family.example")
    services.retract(incident, body="A false alarm.", actor="ann", now=SOON)
    queue(incident)
    assert hand_over() == [told.uid]


def test_a_retracted_alarm_is_not_sent_any_more() -> None:
    world.person()
    incident = world.incident()
    queue(incident)
    services.retract(incident, body="A false alarm.", actor="ann", now=SOON)
    queue(incident)
    assert hand_over() == []
    assert Delivery.objects.get().state == "superseded"


def taken_back(incident: Incident) -> None:
    services.retract(incident, body="A false alarm.", actor="ann", now=outbox.database_now())


@pytest.mark.parametrize("is_queued", [False, True])
def test_an_alarm_retracted_while_a_worker_holds_it_is_not_sent(is_queued: bool) -> None:
    world.person()
    incident = world.incident()
    queue(incident)
    claimed = outbox.claim("email", rows=10)
    assert claimed
    taken_back(incident)
    if is_queued:
        queue(incident)
    assert outbox.admit(claimed, claimed.ids) == []
    queue(incident)
    assert hand_over() == []
    alarm = Delivery.objects.get()
    assert (alarm.state, alarm.lease, alarm.why) == ("superseded", "", "retracted")


def test_a_retracted_alarm_that_a_worker_gives_back_is_not_sent() -> None:
    world.person()
    incident = world.incident()
    queue(incident)
    claimed = outbox.claim("email", rows=10)
    assert claimed
    taken_back(incident)
    queue(incident)
    outbox.release(claimed, claimed.ids)
    taken = outbox.take("email", rows=10)
    assert taken
    assert taken[1] == []
    assert Delivery.objects.get().state == "superseded"


def test_who_may_have_got_the_alarm_is_told_of_its_retraction_alone() -> None:
    person = world.person()
    incident = world.incident()
    queue(incident)
    Delivery.objects.update(maybe_sent=True)
    claimed = outbox.claim("email", rows=10)
    assert claimed
    taken_back(incident)
    assert outbox.admit(claimed, claimed.ids) == []
    queue(incident)
    assert hand_over() == [person.uid]
    states = Delivery.objects.order_by("broadcast__number").values_list("state", flat=True)
    assert list(states) == ["superseded", "accepted"]


def test_an_incident_that_is_opened_again_after_its_retraction_is_heard() -> None:
    person = world.person()
    incident = world.incident()
    queue(incident)
    taken_back(incident)
    queue(incident)
    services.reopen(incident, body="It is back.", actor="ann", now=outbox.database_now())
    queue(incident)
    assert hand_over() == [person.uid]


def test_the_all_clear_calls_only_who_answered() -> None:
    answered, silent = (world.person("voice", f"+1212555010{n}", wake_me=True) for n in (1, 2))
    incident = world.incident(world.component())
    queue(incident)
    hand_over("voice")
    Delivery.objects.filter(subscription=answered).update(answered_at=SOON)
    say(incident, Status.RESOLVED)
    queue(incident)
    assert hand_over("voice") == [answered.uid]
    assert not Delivery.objects.filter(subscription=silent, broadcast__number=2).exists()


def test_an_update_for_nobody_is_not_broadcast() -> None:
    world.person()
    incident = world.incident(audience=Audience.NOBODY)
    assert queue(incident) == []


# --- whose turn it is -------------------------------------------------------------------------------------------------


def test_broadcasts_that_wait_for_their_next_attempt_take_nobodys_turn() -> None:
    patient = world.person()
    for _ in range(claiming.TURNS_MAX):
        queue(world.incident())
    Delivery.objects.update(due_at=NOW + timedelta(hours=1))
    now = outbox.database_now()
    assert list(outbox.waiting_channels(now)) == []
    queue(world.incident())
    assert [channel for channel, *_ in outbox.waiting_channels(now)] == ["email"]
    assert hand_over() == [patient.uid]


@pytest.mark.slow
def test_a_call_that_is_due_waits_for_no_ladder() -> None:
    """Sixteen alarms whose people have not to be called yet; then one of somebody with a telephone alone."""
    patient = world.person("voice", "+12125550100", wake_me=True)
    world.person("sms", "+12125550100")
    Subscription.objects.update(subscriber=patient.subscriber)
    for _ in range(claiming.TURNS_MAX):
        queue(world.incident(world.component()))
    assert outbox.claim("voice", rows=10) is None
    alone = world.person("voice", "+12125550101", wake_me=True)
    queue(world.incident(world.component()))
    assert hand_over("voice") == [alone.uid]


def test_while_the_brake_holds_only_calls_to_operators_have_a_turn() -> None:
    person = world.person("sms", "+12125550100", state=State.PENDING)
    operator = world.person("sms", "+12125550101", role=Role.OPERATOR)
    Letter.objects.create(subscription=person, kind=LetterKind.CONFIRM)
    outbox.open_entries(SOON)
    assert outbox.claim("sms", rows=10, calls_only=True) is None
    services.call_operators(
        page=world.page(), reason=CallReason.BLIND, text="Blind.", key="k", now=NOW
    )
    outbox.open_entries(SOON)
    outbox.fan_out(SOON)
    claimed = outbox.claim("sms", rows=10, calls_only=True)
    assert claimed
    assert Delivery.objects.get(pk=claimed.ids[0]).subscription == operator


# --- leases -----------------------------------------------------------------------------------------------------------


def test_two_workers_never_claim_the_same_delivery() -> None:
    for number in range(10):
        world.person(address=f"p{number}@family.example")
    queue(world.incident())
    claims = [outbox.claim("email", rows=6), outbox.claim("email", rows=6)]
    ids = [pk for claimed in claims if claimed for pk in claimed.ids]
    assert len(ids) == len(set(ids)) == 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("sqlite" in settings.DATABASES["default"]["ENGINE"], reason="no row locks")
@pytest.mark.parametrize(("held", "left"), [(6, 4), (10, 0)])
def test_rows_that_another_worker_is_claiming_are_passed_over(held: int, left: int) -> None:
    for number in range(10):
        world.person(address=f"p{number}@family.example")
    queue(world.incident())

    def claim() -> outbox.Claim | None:
        try:
            return outbox.claim("email", rows=6)
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as elsewhere:
        locked = Delivery.objects.select_for_update().order_by("-urgent", "due_at", "id")[:held]
        theirs = {delivery.pk for delivery in locked}
        claimed = elsewhere.submit(claim).result(timeout=20)
    # None, not an empty claim: there is nothing to send, and no language to send it in.
    assert (claimed is None) == (left == 0)
    mine = set(claimed.ids) if claimed else set()
    assert (len(mine), theirs & mine) == (left, set())


def test_what_a_dead_worker_had_not_sent_is_due_again() -> None:
    world.person()
    queue(world.incident())
    outbox.claim("email", rows=10)
    Delivery.objects.update(lease_until=NOW)
    outbox.sweep_leases()
    assert len(hand_over()) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("sqlite" in settings.DATABASES["default"]["ENGINE"], reason="no row locks")
def test_a_worker_frozen_in_its_transaction_does_not_stop_the_sweep() -> None:
    for number in range(2):
        world.person(address=f"p{number}@family.example")
    queue(world.incident())
    outbox.claim("email", rows=10)
    Delivery.objects.update(lease_until=NOW)

    def sweep() -> int:
        try:
            return outbox.sweep_leases()
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as elsewhere:
        frozen = Delivery.objects.select_for_update().order_by("pk")[0]
        assert elsewhere.submit(sweep).result(timeout=20) == 1
    assert Delivery.objects.get(pk=frozen.pk).state == "prepared"
    assert outbox.sweep_leases() == 1


def test_what_a_dead_worker_was_sending_is_unknown_and_sent_once_more() -> None:
    world.person()
    queue(world.incident(world.component()))
    claimed = outbox.claim("email", rows=10)
    assert claimed
    outbox.admit(claimed, claimed.ids)
    Delivery.objects.update(lease_until=NOW)
    outbox.sweep_leases()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.maybe_sent) == ("pending", True)
    # Its lease was waited for: who was in hand has heard nothing for a minute and waits no second one.
    assert delivery.due_at <= outbox.database_now()
    assert len(hand_over()) == 1


@pytest.mark.parametrize(
    ("attempts", "maybe_sent", "state"),
    [
        pytest.param(12, False, "pending", id="clear refusals before are no doubts"),
        pytest.param(11, True, "pending", id="eleven workers died with it"),
        pytest.param(12, True, "unknown", id="twelve did"),
    ],
)
def test_a_mail_whose_workers_die_is_not_given_up_soon(
    attempts: int, maybe_sent: bool, state: str
) -> None:
    world.person()
    queue(world.incident(world.component()))
    claimed = outbox.claim("email", rows=10)
    assert claimed
    outbox.admit(claimed, claimed.ids)
    Delivery.objects.update(lease_until=NOW, attempts=attempts, maybe_sent=maybe_sent)
    outbox.sweep_leases()
    assert Delivery.objects.get().state == state


def test_what_a_provider_says_is_kept_without_what_no_database_takes() -> None:
    world.person()
    queue(world.incident(world.component()))
    claimed = outbox.claim("email", rows=10)
    assert claimed
    [due] = outbox.admit(claimed, claimed.ids)
    outcome = channels.refused("no\0 such \ud800box", dead=True)
    said = Settlement(due, outcome, outbox.database_now())
    outbox.settle([said], lease=claimed.lease, provider="test", critical=True)
    assert Delivery.objects.get().tried.get().why == "no such ?box"
    assert Suppression.objects.get().reason == "no such ?box"


def test_an_outcome_after_the_lease_was_lost_writes_nothing() -> None:
    world.person()
    queue(world.incident())
    claimed = outbox.claim("email", rows=10)
    assert claimed
    sending = outbox.admit(claimed, claimed.ids)
    Delivery.objects.update(lease="another")
    done = [Settlement(delivery, channels.accepted("id"), SOON) for delivery in sending]
    assert outbox.settle(done, lease=claimed.lease, provider="test", critical=True) == 0


def test_who_unsubscribes_after_the_fan_out_hears_nothing() -> None:
    person = world.person()
    queue(world.incident())
    type(person).objects.filter(pk=person.pk).update(state=State.GONE)
    assert hand_over() == []
    assert Delivery.objects.get().state == "suppressed"


def test_a_halted_broadcast_sends_nothing_more() -> None:
    world.person()
    queue(world.incident())
    claimed = outbox.claim("email", rows=10)
    assert claimed
    outbox.halt(Broadcast.objects.get(), now=SOON)
    assert outbox.admit(claimed, claimed.ids) == []
    assert Delivery.objects.get().state == "halted"


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        pytest.param(channels.accepted("id"), DeliveryState.ACCEPTED, id="accepted"),
        pytest.param(channels.retry("busy"), DeliveryState.PENDING, id="retry"),
        pytest.param(
            channels.refused("no such number", dead=True), DeliveryState.REFUSED, id="refused"
        ),
        pytest.param(
            channels.unknown("timeout"), DeliveryState.PENDING, id="unknown is tried once more"
        ),
    ],
)
def test_an_outcome_settles_its_delivery(outcome: channels.Outcome, state: DeliveryState) -> None:
    world.person()
    queue(world.incident(world.component()))
    claimed = outbox.claim("email", rows=10)
    assert claimed
    [delivery] = outbox.admit(claimed, claimed.ids)
    outbox.settle(
        [Settlement(delivery, outcome, SOON)], lease=claimed.lease, provider="test", critical=True
    )
    settled = Delivery.objects.get(pk=delivery.pk)
    assert (settled.state, settled.lease) == (state, "")
    assert Suppression.objects.exists() == outcome.dead


def test_after_five_unknowns_it_stays_unknown() -> None:
    world.person()
    queue(world.incident(world.component()))
    for _ in range(5):
        Delivery.objects.update(due_at=NOW)
        claimed = outbox.claim("email", rows=10)
        assert claimed
        [delivery] = outbox.admit(claimed, claimed.ids)
        unknown = Settlement(delivery, channels.unknown("timeout"), SOON)
        outbox.settle([unknown], lease=claimed.lease, provider="test", critical=True)
    assert Delivery.objects.get().state == "unknown"
