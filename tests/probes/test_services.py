"""From results to incidents, in the real database: what the machine says, when, and when not."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import OperationalError, connections

from incidents import clock as core_clock
from incidents import services as core
from incidents.lifecycle import CallReason, ComponentStatus, Status
from incidents.models import Call, Component, Incident, Page, Pulse, Template, Update
from probes import clock, kinds, services
from probes.alone import alone
from probes.kinds import Outcome
from probes.models import (
    Check,
    CurrentVerdict,
    Location,
    Policy,
    Result,
    Rollup,
    Tally,
    VerdictChange,
)
from probes.services import NewResult

pytestmark = pytest.mark.django_db

ONE_AM = datetime(2019, 11, 30, 6, 0, 0, tzinfo=UTC)  # 01:00 in New York
INTERVAL_S = 30
SPEC = {
    "steps": [
        {"name": "log in", "component": "login", "url": "http://follow.test/login"},
        {"name": "newest reading", "component": "follow", "url": "http://follow.test/latest"},
    ]
}
NIGHT = {"from": "22:00", "to": "07:00", "time_zone": "America/New_York", "veto_s": 0}


@dataclass
class World:
    """A page, one check at one location, and a clock that only this test moves."""

    page: Page
    check: Check
    now: datetime = ONE_AM
    locations: dict[str, Location] = field(default_factory=dict)

    def policy(self, component: str, *verdicts: str, **more: Any) -> Policy:
        return Policy.objects.create(
            page=self.page,
            position=Policy.objects.count(),
            component=self.component(component),
            verdicts=list(verdicts),
            **more,
        )

    def component(self, slug: str) -> Component:
        return Component.objects.get(slug=slug)

    def run(
        self,
        *,
        login: str = "ok",
        follow: str = "ok",
        location: str = "local",
        check: str = "journey",
    ) -> None:
        """One run ends; the clock of the machine ticks with it."""
        result = one_result(self.now, login=login, follow=follow, check=check)
        services.record(self.locations[location], [result], now=self.now)
        self.tick()

    def runs(self, count: int, **seen: str) -> None:
        for _ in range(count):
            self.run(**seen)
            self.wait(INTERVAL_S)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def tick(self) -> None:
        core_clock.tick(self.now)
        clock.tick(self.now)

    def said(self) -> list[tuple[str, bool]]:
        """Every update of every incident, oldest first: its status, and whether it is public."""
        return [
            (update.status, update.published_at is not None)
            for update in Update.objects.order_by("created_at", "id")
        ]


def one_result(
    at: datetime,
    *,
    login: str = "ok",
    follow: str = "ok",
    sequence: int = 0,
    check: str = "journey",
) -> NewResult:
    steps = [_step("log in", "login", login)]
    if login == "ok":
        steps.append(_step("newest reading", "follow", follow))
    bad = {login, follow} - {"ok", "slow"}
    outcome = Outcome.TARGET_FAIL if bad else Outcome.SLOW if follow == "slow" else Outcome.OK
    return NewResult(
        check=check,
        sequence=sequence or int(at.timestamp() * 1000),
        at=at,
        outcome=outcome,
        first_outcome=outcome,
        attempts=1,
        reason="",
        steps=tuple(steps),
        total_ms=12.5,
    )


def _step(name: str, component: str, word: str) -> dict[str, Any]:
    outcome, reason, failed = {
        "ok": ("ok", "", []),
        "slow": ("slow", "took 3 s, allowed 2", ["degraded_over_s"]),
        "fail": ("target_fail", "HTTP 503, expected 200", ["status"]),
        "stale": ("target_fail", "[0].time was 900 s old, allowed 660", ["max_age_s"]),
    }[word]
    return {
        "name": name,
        "component": component,
        "outcome": outcome,
        "reason": reason,
        "failed": failed,
    }


@pytest.fixture
def world() -> World:
    return build_world()


def build_world() -> World:
    page = Page.objects.create(name="Follow status")
    for slug, name in (("login", "Log in"), ("follow", "Readings")):
        core.add_component(page=page, slug=slug, name=name, actor="test", now=ONE_AM)
    Template.objects.create(
        page=page,
        slug="follow-down",
        name="Follow is down",
        body="Look at the receiver.",
        next_update_in_s=1200,
    )
    check = Check.objects.create(
        page=page,
        slug="journey",
        kind="http",
        spec=SPEC,
        interval_s=INTERVAL_S,
        locations=["local"],
        rule={"recover_after_s": 300, "resolve_after_s": 600},
        changed_at=ONE_AM,
    )
    services.create_location(name="local", now=ONE_AM)
    local = Location.objects.get(name="local")
    return World(page, check, locations={"local": local})


def test_a_failure_at_night_is_published_at_once_with_its_template(world: World) -> None:
    world.policy("follow", "outage", "stale", publish="auto", template="follow-down", night=NIGHT)

    world.runs(2, follow="fail")

    incident = Incident.objects.get()
    assert (incident.name, incident.automatic) == ("Follow is down", True)
    assert world.said() == [("investigating", True)]
    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE
    assert incident.started_at == ONE_AM
    assert incident.source["reasoning"] == (
        "2 of 2 probes from local failed: HTTP 503, expected 200."
    )


def test_one_failure_alone_publishes_nothing(world: World) -> None:
    world.policy("follow", "outage", publish="auto", night=NIGHT)

    world.runs(1, follow="fail")

    assert not Incident.objects.exists()


def test_by_day_the_draft_waits_for_a_veto_and_then_goes_out(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=120)
    world.runs(2, follow="fail")
    detected = world.now - timedelta(seconds=INTERVAL_S)

    assert world.said() == [("investigating", False)]
    assert Call.objects.get().reason == CallReason.DRAFT_WAITS
    assert Incident.objects.get().publish_at == detected + timedelta(seconds=120)

    world.runs(4, follow="fail")

    assert world.said() == [("investigating", True)]


@pytest.mark.slow
def test_a_vetoed_verdict_stays_silent_until_it_was_clean_once(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=120)
    world.runs(2, follow="fail")
    core.veto(Incident.objects.get(), actor="ann", now=world.now)

    world.runs(10, follow="fail")
    assert Incident.objects.count() == 1

    world.runs(1)
    world.runs(2, follow="fail")
    assert Incident.objects.count() == 2


def test_a_worse_verdict_than_the_vetoed_one_is_judged_anew(world: World) -> None:
    world.policy("follow", "outage", "stale", publish="auto", veto_s=120)
    world.runs(2, follow="stale")
    core.veto(Incident.objects.get(), actor="ann", now=world.now)

    world.runs(2, follow="fail")

    assert Incident.objects.filter(vetoed_at=None).count() == 1


@pytest.mark.slow
def test_a_draft_policy_waits_for_a_person(world: World) -> None:
    world.policy("follow", "outage", publish="draft")

    world.runs(30, follow="fail")

    assert world.said() == [("investigating", False)]


def test_a_draft_policy_goes_out_after_its_time(world: World) -> None:
    world.policy("follow", "outage", publish="draft", publish_after_s=300)

    world.runs(11, follow="fail")
    assert world.said() == [("investigating", False)]
    world.runs(1, follow="fail")
    assert world.said() == [("investigating", True)]


def test_notify_calls_operators_once_and_publishes_nothing(world: World) -> None:
    world.policy("follow", "outage", publish="notify")

    world.runs(5, follow="fail")

    assert not Incident.objects.exists()
    assert Call.objects.get().reason == CallReason.VERDICT


def test_without_a_policy_only_the_desk_knows(world: World) -> None:
    world.runs(5, follow="fail")

    assert not Incident.objects.exists()
    assert not Call.objects.exists()
    assert CurrentVerdict.objects.get(component__slug="follow").word == "outage"
    assert VerdictChange.objects.filter(new="outage").count() == 1


def test_the_first_policy_that_matches_wins(world: World) -> None:
    world.policy("follow", "stale", publish="auto", veto_s=0)
    world.policy("follow", "outage", publish="notify")
    world.policy("follow", "outage", publish="auto", veto_s=0)

    world.runs(2, follow="fail")

    assert not Incident.objects.exists()


@pytest.mark.slow
def test_after_300_s_clean_it_is_monitored_and_600_s_later_resolved(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")

    world.runs(10)
    assert world.said() == [("investigating", True)]
    world.runs(1)
    assert world.said()[1:] == [("monitoring", True)]
    assert world.component("follow").status == ComponentStatus.OPERATIONAL
    world.runs(20)
    assert world.said()[2:] == [("resolved", True)]


def test_time_alone_moves_on_between_the_results(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    Check.objects.update(interval_s=600, rule={"recover_after_s": 300, "resolve_after_s": 0})
    for seen in ("fail", "fail", "ok"):
        world.run(follow=seen)
        world.wait(600)

    world.tick()

    assert world.said() == [("investigating", True), ("resolved", True)]


def test_a_location_that_falls_silent_is_noted_though_the_others_go_on(world: World) -> None:
    for name in ("ams", "nyc"):
        world.locations[name] = Location.objects.create(name=name, token_hash=name)
    Check.objects.update(locations=["local", "ams", "nyc"])
    for name in world.locations:
        world.run(location=name)
    for _ in range(2):
        world.wait(40)
        world.run(location="local")
        world.run(location="ams")
    assert Tally.objects.get().faults == {}

    world.wait(10)
    world.tick()

    assert set(Tally.objects.get().faults) == {"nyc"}


@pytest.mark.slow
def test_without_resolve_after_s_only_a_person_resolves(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    Check.objects.update(rule={"resolve_after_s": None})
    world.runs(2, follow="fail")

    world.runs(100)

    assert world.said() == [("investigating", True), ("monitoring", True)]


@pytest.mark.slow
def test_a_relapse_while_monitored_is_said_in_the_same_incident(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    world.runs(11)

    world.runs(3, follow="fail")

    assert [status for status, _ in world.said()] == [
        "investigating",
        "monitoring",
        "investigating",
    ]
    assert Incident.objects.count() == 1


@pytest.mark.slow
def test_a_relapse_after_the_end_reopens_the_same_incident(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    world.runs(32)
    assert Incident.objects.get().status == Status.RESOLVED

    world.runs(2, follow="fail")

    assert Incident.objects.get().status == Status.INVESTIGATING


@pytest.mark.slow
def test_a_relapse_too_late_is_another_incident(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    Check.objects.update(
        rule={"recover_after_s": 300, "resolve_after_s": 600, "reopen_within_s": 60}
    )
    world.runs(2, follow="fail")
    world.runs(40)

    world.runs(2, follow="fail")

    assert Incident.objects.count() == 2


@pytest.mark.slow
def test_flapping_for_half_an_hour_is_one_incident_and_one_word(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)

    for _ in range(15):
        world.runs(2, follow="fail")
        world.runs(2)

    assert world.said() == [("investigating", True)]


def test_a_further_component_appends_to_the_one_incident(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.policy("login", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")

    world.runs(2, login="fail")

    incident = Incident.objects.get()
    assert world.said() == [("investigating", True), ("investigating", True)]
    assert {each.slug for each in incident.components.all()} == {"follow", "login"}


def test_a_further_component_of_a_draft_policy_is_drafted(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.policy("login", "outage", publish="draft")
    world.runs(2, follow="fail")

    world.runs(2, login="fail")

    assert world.said() == [("investigating", True), ("investigating", False)]


def test_the_earliest_deadline_publishes_the_draft_whole_with_the_worst_text(world: World) -> None:
    world.policy("follow", "stale", publish="draft", publish_after_s=3000)
    world.policy("login", "outage", publish="auto", veto_s=60)
    world.runs(2, follow="stale")
    world.runs(2, login="fail")
    assert world.said() == [("investigating", False)]

    world.runs(2, login="fail")

    assert world.said() == [("investigating", True)]
    incident = Incident.objects.get()
    assert incident.name == "Log in is not working"
    assert incident.components.count() == 2


@pytest.mark.slow
def test_a_draft_that_came_to_nothing_is_withdrawn(world: World) -> None:
    world.policy("follow", "outage", publish="draft")
    world.runs(2, follow="fail")

    world.runs(12)

    assert Incident.objects.get().vetoed_at is not None
    assert world.said() == [("investigating", False)]


@pytest.mark.slow
def test_where_a_person_has_posted_the_machine_drafts_and_calls(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    core.publish_update(
        Incident.objects.get(),
        status=Status.IDENTIFIED,
        body="We know.",
        actor="ann",
        now=world.now,
    )

    world.runs(11)
    assert world.said()[2:] == [("monitoring", False)]
    assert Call.objects.filter(reason=CallReason.DRAFT_WAITS).count() == 1

    world.runs(10)
    assert world.said()[2:] == [("monitoring", True)]


@pytest.mark.slow
def test_a_drafted_all_clear_is_withdrawn_when_the_trouble_is_back(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    core.publish_update(
        Incident.objects.get(),
        status=Status.IDENTIFIED,
        body="We know.",
        actor="ann",
        now=world.now,
    )
    world.runs(11)

    world.runs(15, follow="fail")

    assert ("monitoring", True) not in world.said()


def test_a_component_that_a_person_spoke_of_is_not_said_again(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    core.declare(
        page=world.page,
        name="Follow is down",
        body="We know.",
        components={world.component("follow"): ComponentStatus.MAJOR_OUTAGE},
        actor="ann",
        now=world.now,
    )

    world.runs(3, follow="fail")

    assert world.said() == [("investigating", True)]


def test_blindness_is_shown_at_once_and_ends_with_the_next_result(world: World) -> None:
    world.runs(1)
    world.wait(89)
    world.tick()

    follow = world.component("follow")
    assert follow.unknown_since is not None
    assert follow.unknown_why == "checks not running since 06:00 UTC"
    call = Call.objects.get(reason=CallReason.BLIND)
    assert call.text.startswith("Nobody can tell how Log in and Readings are.")

    world.run()
    assert world.component("follow").unknown_since is None


@pytest.mark.parametrize("outcome", ["prober_fault", "auth_suspect", "blocked_us"])
@pytest.mark.slow
def test_a_blind_check_calls_once_though_another_sees_the_component(
    world: World, outcome: str
) -> None:
    second = Check.objects.get(slug="journey")
    second.pk, second.slug = None, "second"
    second.save()
    local = world.locations["local"]

    for _ in range(10):
        for each in (outcome, "prober_fault"):  # another reason is no other blindness
            blind = replace(
                one_result(world.now), check="second", outcome=Outcome(each), steps=(), reason="why"
            )
            world.run()
            services.record(local, [blind], now=world.now)
            world.wait(INTERVAL_S)

    assert world.component("follow").unknown_since is None
    call = Call.objects.get(reason=CallReason.BLIND)
    assert call.text.startswith("The check second cannot tell how Log in and Readings are.")
    assert call.text.endswith("local: why.")


def test_a_check_that_waits_for_an_earlier_step_calls_nobody_for_blindness(world: World) -> None:
    world.runs(6, login="fail")

    assert world.component("follow").unknown_since is not None
    assert not Call.objects.filter(reason=CallReason.BLIND).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("interval_s", "consecutive"), [(30, 2), (60, 2), (30, 4)])
def test_an_alert_that_does_not_arrive_is_an_outage_though_its_runs_take_their_wait(
    world: World, interval_s: int, consecutive: int
) -> None:
    step = {"name": "write", "url": "http://follow.test/readings"}
    spec = {"component": "follow", "steps": [step], "match": {"value": "{alert_value}"}}
    rule = {**kinds.rule_of("alert"), "consecutive": consecutive}
    Check.objects.update(kind="alert", spec=spec, interval_s=interval_s, rule=rule)
    missed = {"component": "follow", "outcome": "target_fail", "reason": "no alert", "failed": []}
    steps = (_step("write", "follow", "ok"), {"name": "alert arrives"} | missed)
    said = []

    for _ in range(consecutive + 2):
        began = world.now
        for _ in range(180 // 10):
            world.wait(10)
            world.tick()
            said.append(CurrentVerdict.objects.values_list("word", flat=True).first())
        run = replace(one_result(began), outcome=Outcome.TARGET_FAIL, steps=steps)
        services.record(world.locations["local"], [run], now=world.now)
        world.wait(interval_s)

    # Three failures are partial before four are an outage; it is never unknown in between.
    assert [word for word, _ in groupby(said) if word] in (["outage"], ["partial", "outage"])


def test_no_blindness_before_its_time(world: World) -> None:
    world.runs(1)
    world.wait(58)
    world.tick()

    assert world.component("follow").unknown_since is None


@pytest.mark.slow
def test_a_blind_machine_never_says_that_it_is_over(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")

    for _ in range(100):
        world.wait(30)
        world.tick()

    assert world.said() == [("investigating", True)]


def test_a_component_behind_a_failing_step_is_named_and_unknown(world: World) -> None:
    world.policy("login", "outage", publish="auto", veto_s=0)
    world.runs(1)

    world.runs(4, login="fail")

    follow = world.component("follow")
    assert follow.unknown_why == 'not checked while "log in" fails'
    assert {each.slug for each in Incident.objects.get().components.all()} == {"follow", "login"}
    assert follow.status == ComponentStatus.OPERATIONAL


@pytest.mark.slow
def test_read_again_but_not_logged_in_is_not_over(world: World) -> None:
    world.policy("login", "outage", publish="auto", veto_s=0)
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    world.runs(2, login="fail")

    world.runs(30, login="fail")

    assert Incident.objects.get().status == Status.INVESTIGATING


def test_a_batch_that_comes_twice_counts_once(world: World) -> None:
    batch = [one_result(world.now, sequence=number) for number in (1, 2, 3)]
    local = world.locations["local"]

    assert services.record(local, batch, now=world.now) == 3
    assert services.record(local, batch, now=world.now) == 0
    assert Result.objects.count() == 3
    assert Rollup.objects.get(span="hour").runs == 3


def test_old_results_out_of_a_buffer_raise_no_alarm(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    past = world.now - timedelta(hours=2)
    batch = [
        one_result(past + timedelta(seconds=30 * number), follow="fail") for number in range(20)
    ]
    batch.append(one_result(world.now))

    services.record(world.locations["local"], batch, now=world.now)

    assert not Incident.objects.exists()
    assert Result.objects.count() == 21


def test_a_clock_ten_minutes_off_is_the_probers_fault(world: World) -> None:
    world.policy("follow", "outage", "stale", publish="auto", veto_s=0)
    ahead = timedelta(minutes=10)
    for _ in range(3):
        result = one_result(world.now + ahead, follow="stale")
        services.record(
            world.locations["local"], [result], now=world.now, sent_at=world.now + ahead
        )
        world.wait(30)

    assert not Incident.objects.exists()
    assert set(Result.objects.values_list("outcome", flat=True)) == {"prober_fault"}
    assert Result.objects.latest("id").reason == "its clock is 600 s ahead of ours"
    assert world.component("follow").unknown_since is not None


def test_a_check_that_is_switched_off_leaves_nothing_unknown(world: World) -> None:
    world.runs(1)
    world.wait(100)
    world.tick()
    assert world.component("follow").unknown_since is not None

    Check.objects.update(enabled=False)
    world.tick()

    assert world.component("follow").unknown_since is None


def test_results_are_forgotten_after_two_days_and_their_counts_are_not(world: World) -> None:
    world.runs(1)
    world.wait(48 * 3600)
    world.tick()

    assert not Result.objects.exists()
    assert Rollup.objects.get(span="minute").ok == 1


def test_the_pulse_tells_when_each_location_was_last_heard(world: World) -> None:
    world.run()

    heard = Pulse.objects.get(name=clock.PULSE).note
    assert heard["locations"] == {"local": ONE_AM.isoformat()}


def test_a_check_that_cannot_be_judged_holds_up_no_other_and_is_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.runs(1)
    broken = Check.objects.get(slug="journey")
    broken.pk, broken.slug = None, "a-broken-one"
    broken.save()
    at, local = world.now, world.locations["local"]
    kept = {"outcome": "ok", "first_outcome": "ok", "steps": [{}], "at": at, "received_at": at}
    row = Result.objects.create(of_check=broken, location=local, sequence=1, **kept)

    for _ in range(3):
        world.wait(100)
        Result.objects.update(at=world.now - timedelta(seconds=95))
        world.tick()

    assert world.component("follow").unknown_since is not None
    assert Pulse.objects.get(name=clock.PULSE).note["failing"] == {"check a-broken-one": 3}
    said = [each for each in caplog.records if "check a-broken-one" in each.message]
    assert len(said) == 1
    assert said[0].exc_info is not None
    row.delete()
    world.tick()
    assert Pulse.objects.get(name=clock.PULSE).note["failing"] == {}
    assert "check a-broken-one is well again, after 3 failures" in caplog.text


def test_a_database_that_is_away_ends_the_pass(world: World) -> None:
    with pytest.raises(OperationalError), alone("check journey"):
        raise OperationalError("the connection is closed")


def three_locations(world: World) -> None:
    for name in ("fra", "nyc", "syd"):
        services.create_location(name=name, now=ONE_AM)
        world.locations[name] = Location.objects.get(name=name)
    Check.objects.update(locations=["fra", "nyc", "syd"])


@pytest.mark.parametrize(
    ("failing", "incidents"),
    [
        pytest.param(["fra"], 0, id="one of three is no quorum"),
        pytest.param(["fra", "syd"], 1, id="two of three are"),
    ],
)
def test_a_quorum_of_locations_opens_an_incident(
    world: World, failing: list[str], incidents: int
) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    three_locations(world)

    for _ in range(3):
        for name in ("fra", "nyc", "syd"):
            world.run(location=name, follow="fail" if name in failing else "ok")
        world.wait(INTERVAL_S)

    assert Incident.objects.count() == incidents


@pytest.mark.django_db(transaction=True)
def test_two_agents_that_report_at_once_make_one_incident() -> None:
    world = build_world()
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.policy("login", "outage", publish="auto", veto_s=0)
    three_locations(world)
    names = ("fra", "nyc", "syd")
    Check.objects.update(rule={"consecutive": 1})
    barrier = Barrier(len(names))

    def report(name: str) -> None:
        try:
            barrier.wait(timeout=10)
            result = one_result(world.now, follow="fail")
            services.record(world.locations[name], [result], now=world.now)
        finally:
            connections.close_all()

    threads = [Thread(target=report, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert Incident.objects.count() == 1
    assert Update.objects.count() == 1
    assert Result.objects.count() == 3
