"""The outbox against every order of events that Hypothesis thinks of: publish, send, crash, callback, unsubscribe, halt, time.

A failing case is printed as the steps that lead to it, shortest first, with the line that replays it (@reproduce_failure).
"""

import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from incidents import services
from incidents.lifecycle import Status
from incidents.models import Incident, Update
from notifications import channels, claiming, dbtime, ending, fanning, outbox, tally
from notifications.models import WAITING, Broadcast, Delivery, DeliveryState
from notifications.outbox import Claim, Due, Settlement
from subscribers import services as people
from subscribers.models import State, Subscription
from tests import world

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
CHANNELS = ("email", "sms")
PEOPLE = 3  # on each channel
CHUNK = 2  # so that a fan-out can be interrupted
# What a provider does, and whether it has the message afterwards.
ANSWERS = {
    "accepted": (channels.accepted("id"), True),
    "refused": (channels.refused("no"), False),
    "retry": (channels.retry("later"), False),
    "taken, no answer": (channels.unknown("no answer"), True),
    "lost, no answer": (channels.unknown("no answer"), False),
}
AMBIGUOUS = {"taken, no answer", "lost, no answer"}


class Machine(RuleBasedStateMachine):
    """One incident and six people; `ledger` is what the provider has."""

    def __init__(self) -> None:
        super().__init__()
        self._atomic = transaction.atomic()
        self._atomic.__enter__()
        self.now = datetime.now(UTC)
        self._real = dbtime.database_now
        _everywhere(self._real, lambda: self.now)
        self._chunk, fanning.CHUNK_ROWS = fanning.CHUNK_ROWS, CHUNK
        world.page()
        self.component = world.component()
        for n in range(PEOPLE):
            world.person("email", f"p{n}@family.example")
            world.person("sms", f"+1212555{n:04d}")
        self.incident: Incident | None = None
        self.claims: list[Claim] = []
        self.ledger: dict[int, int] = defaultdict(int)  # delivery -> how often the provider has it
        self.ambiguous: dict[int, int] = defaultdict(int)
        self.newest: dict[int, int] = defaultdict(int)  # subscription -> newest update begun

    # --- what people and machines do ---

    @rule()
    def publish(self) -> None:
        if self.incident is None:
            self.incident = services.declare(
                page=world.page(), name="Down", body="We are looking.", actor="ann", now=self.now,
                components={self.component: world.MAJOR},
            )  # fmt: skip
        else:
            status = Status.IDENTIFIED if self.incident.updates.count() % 2 else Status.MONITORING
            services.publish_update(
                self.incident, status=status, body="More.", actor="ann", now=self.now
            )

    @rule()
    def show(self) -> None:
        shown = Update.objects.filter(shown_at__isnull=True).values_list("pk", flat=True)
        services.mark_shown(list(shown), now=self.now)

    @rule()
    def open_entries(self) -> None:
        outbox.open_entries(self.now)

    @rule(rows=st.sampled_from([CHUNK, 100]))
    def fan_out(self, rows: int) -> None:
        outbox.fan_out(self.now, rows_max=rows)

    @rule(channel=st.sampled_from(CHANNELS), rows=st.integers(1, 4))
    def claim(self, channel: str, rows: int) -> None:
        claimed = outbox.claim(channel, rows=rows)
        if claimed:
            self.claims.append(claimed)

    @rule(
        channel=st.sampled_from(CHANNELS),
        answers=st.lists(st.sampled_from(list(ANSWERS)), min_size=4, max_size=4),
    )
    def take_and_send(self, channel: str, answers: list[str]) -> None:
        taken = outbox.take(channel, rows=4)
        if taken:
            self._hand_over(taken[0], taken[1], answers)

    @precondition(lambda self: self.claims)
    @rule(
        which=st.integers(0, 99),
        answers=st.lists(st.sampled_from(list(ANSWERS)), min_size=4, max_size=4),
    )
    def send(self, which: int, answers: list[str]) -> None:
        claimed = self.claims.pop(which % len(self.claims))
        self._hand_over(claimed, outbox.admit(claimed, claimed.ids), answers)

    @precondition(lambda self: self.claims)
    @rule(which=st.integers(0, 99), taken=st.lists(st.booleans(), min_size=4, max_size=4))
    def crash(self, which: int, taken: list[bool]) -> None:
        """The worker dies after it called the provider, before it could write down what it heard."""
        claimed = self.claims.pop(which % len(self.claims))
        for delivery, has_it in zip(outbox.admit(claimed, claimed.ids), taken, strict=False):
            self._begin(delivery)
            self.ledger[delivery.pk] += has_it
            self.ambiguous[delivery.pk] += 1

    @precondition(lambda self: self.claims)
    @rule(which=st.integers(0, 99))
    def give_back(self, which: int) -> None:
        claimed = self.claims.pop(which % len(self.claims))
        outbox.release(claimed, claimed.ids)

    @rule(seconds=st.sampled_from([1, 6, 31, 61, 300]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def sweep(self) -> None:
        outbox.sweep_leases()

    @rule(which=st.integers(0, 2 * PEOPLE - 1))
    def unsubscribe(self, which: int) -> None:
        row = Subscription.objects.order_by("pk")[which]
        if row.state != State.GONE:
            people.leave(row, now=self.now)

    @precondition(lambda self: self.incident is not None)
    @rule(which=st.integers(0, 9))
    def halt(self, which: int) -> None:
        if which == 0:  # seldom: nothing happens afterwards
            broadcast = Broadcast.objects.order_by("-pk").first()
            if broadcast is not None:
                outbox.halt(broadcast, now=self.now)

    @rule()
    def end(self) -> None:
        outbox.settle_what_is_halted()
        ending.end(self.now, tally.fold())

    # --- what must hold ---

    def _begin(self, delivery: Due) -> None:
        """A send begins: may it?"""
        row = Delivery.objects.select_related("broadcast", "subscription").get(pk=delivery.pk)
        assert row.state == DeliveryState.CALLING, "sent without being admitted"
        assert row.subscription.state == State.ACTIVE, "I4: sent to somebody who has left"
        assert row.broadcast.halted_at is None, "sent although halted"
        assert row.broadcast.number >= self.newest[row.subscription_id], "I3: older after newer"
        self.newest[row.subscription_id] = row.broadcast.number

    def _hand_over(self, claimed: Claim, sending: list[Due], answers: list[str]) -> None:
        done = []
        for delivery, answer in zip(sending, answers, strict=False):
            self._begin(delivery)
            outcome, has_it = ANSWERS[answer]
            self.ledger[delivery.pk] += has_it
            self.ambiguous[delivery.pk] += answer in AMBIGUOUS
            done.append(Settlement(delivery, outcome, self.now))
        outbox.settle(done, lease=claimed.lease, provider="test", critical=True)

    @invariant()
    def nobody_is_told_twice_without_a_reason(self) -> None:
        for pk, times in self.ledger.items():
            assert times <= 1 + self.ambiguous[pk], f"I2: delivery {pk} was told {times} times"

    @invariant()
    def the_books_agree(self) -> None:
        words = {"prepared": "pending", "calling": "pending"}
        rows: Counter[tuple[str, str]] = Counter(
            (channel, words.get(state, state))
            for channel, state in Delivery.objects.values_list("channel", "state")
        )
        sums = tally.states(list(Broadcast.objects.values_list("pk", flat=True)))
        flat = {(c, state): n for c, states in sums.items() for state, n in states.items()}
        assert flat == dict(rows), "I11: the tally differs from the ledger"

    @invariant()
    def accepted_means_that_the_provider_has_it(self) -> None:
        accepted = Delivery.objects.filter(state="accepted").values_list("pk", flat=True)
        assert all(self.ledger[pk] for pk in accepted), "accepted by nobody"

    def teardown(self) -> None:
        """The faults stop: everything comes to its end, and whoever is still there has heard the newest (I1)."""
        try:
            self._come_to_rest()
        finally:
            fanning.CHUNK_ROWS = self._chunk
            _everywhere(outbox.database_now, self._real)
            transaction.set_rollback(True)
            self._atomic.__exit__(None, None, None)

    def _come_to_rest(self) -> None:
        self.claims.clear()
        for _ in range(60):
            self.now += timedelta(seconds=65)
            self.show()
            outbox.open_entries(self.now)
            outbox.fan_out(self.now)
            outbox.sweep_leases()
            self.end()
            for channel in CHANNELS:
                while taken := outbox.take(channel, rows=100):
                    self._hand_over(*taken, ["accepted"] * 100)
            if not Delivery.objects.filter(state__in=WAITING).exists():
                break
        assert not Delivery.objects.filter(state__in=WAITING).exists(), (
            "I1: something waits for ever"
        )
        self.the_books_agree()
        self.nobody_is_told_twice_without_a_reason()
        lost = Delivery.objects.filter(
            state=DeliveryState.SUPERSEDED, subscription__state=State.ACTIVE
        )
        for row in lost.select_related("broadcast"):
            newer = Delivery.objects.filter(
                subscription=row.subscription_id,
                broadcast__incident=row.broadcast.incident_id,
                broadcast__number__gt=row.broadcast.number,
            )
            assert newer.exists(), "I1: superseded by nothing"


def _everywhere(old: object, new: object) -> None:
    """Put `new` in the place of a verb in all modules of the voice that know it by name."""
    for name, module in list(sys.modules.items()):
        if name.startswith("notifications"):
            for known, value in list(vars(module).items()):
                if value is old:
                    setattr(module, known, new)


def replay(
    *, examples: int, phases: Any = tuple(Phase)
) -> settings:  # Any: Hypothesis takes any collection
    """Return settings whose failures say how to replay them."""
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        phases=phases,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.faults
def test_no_order_of_events_breaks_a_promise() -> None:
    run_state_machine_as_test(Machine, settings=replay(examples=20))


@pytest.mark.mutants
def test_the_machine_sees_that_an_older_update_is_not_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: without one protection the same orders of events break a promise."""
    monkeypatch.setattr(claiming, "_drop_overtaken", lambda *_: None)
    monkeypatch.setattr(
        claiming, "OVERTAKEN_WAIT", timedelta(0)
    )  # nor does it wait for the newer one to be queued
    with pytest.raises(AssertionError, match="I3"):
        run_state_machine_as_test(Machine, settings=replay(examples=200, phases=[Phase.generate]))
