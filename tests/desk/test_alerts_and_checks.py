"""Alerts and checks in one incident: neither ends it while the other one still sees trouble."""

from datetime import timedelta
from typing import Any

import pytest

from desk import clock as desk_clock
from desk import intake
from desk.models import AlertRule, IntakeAlert
from incidents import services
from incidents.lifecycle import ComponentStatus, Status
from incidents.models import Call, Incident, Template, Update
from probes.models import Check
from tests.probes.test_services import ONE_AM, World, build_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    return build_world()


def alert(
    world: World,
    component: str,
    *,
    is_over: bool = False,
    publish: str = "auto",
    veto_s: float = 0,
) -> None:
    """An alert on a component comes in, or ends."""
    AlertRule.objects.get_or_create(
        match={"component": component},
        defaults={
            "position": AlertRule.objects.count(),
            "component": world.component(component),
            "publish": publish,
            "veto_s": veto_s,
        },
    )
    labels = {"component": component}
    told = intake.Alert("generic", component, labels, f"{component} fails", is_over)
    intake.take_in([told], now=world.now)
    world.tick()


def test_an_alert_that_ends_resolves_nothing_while_a_check_fails(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    alert(world, "follow")
    world.runs(2, follow="fail")

    alert(world, "follow", is_over=True)
    world.runs(2, follow="fail")

    assert Incident.objects.get().status == Status.INVESTIGATING
    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE


@pytest.mark.slow
def test_when_the_check_is_clean_too_it_is_over(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    alert(world, "follow")
    world.runs(2, follow="fail")
    alert(world, "follow", is_over=True)

    world.runs(32)

    assert [status for status, _ in world.said()] == ["investigating", "monitoring", "resolved"]


@pytest.mark.slow
def test_a_check_that_recovers_says_nothing_is_over_while_an_alert_fires(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    alert(world, "login")
    world.runs(2, follow="fail")

    world.runs(32)
    assert Incident.objects.get().status == Status.INVESTIGATING
    assert world.component("login").status == ComponentStatus.MAJOR_OUTAGE

    alert(world, "login", is_over=True)
    world.runs(1)
    assert Incident.objects.get().status == Status.RESOLVED
    assert world.component("login").status == ComponentStatus.OPERATIONAL


@pytest.mark.slow
def test_a_check_that_recovers_takes_back_no_draft_of_an_alert(world: World) -> None:
    world.policy("follow", "outage", publish="draft")
    alert(world, "login", publish="draft")
    world.runs(2, follow="fail")

    world.runs(12)
    assert Incident.objects.get().vetoed_at is None

    alert(world, "login", is_over=True)
    world.runs(1)
    assert Incident.objects.get().vetoed_at is not None


@pytest.mark.slow
def test_a_drafted_all_clear_is_taken_back_when_an_alert_comes_in(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    services.publish_update(
        Incident.objects.get(),
        status=Status.IDENTIFIED,
        body="We know.",
        actor="ann",
        now=world.now,
    )
    world.runs(11)
    assert world.said()[-1] == ("monitoring", False)

    alert(world, "login")
    world.runs(12)

    assert ("monitoring", True) not in world.said()


@pytest.mark.slow
def test_what_an_alert_drafted_in_a_monitored_incident_goes_out(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    world.runs(11)
    assert world.said()[-1] == ("monitoring", True)

    alert(world, "login", veto_s=60)
    world.runs(4)

    assert world.component("login").status == ComponentStatus.MAJOR_OUTAGE


def person_posts(world: World) -> None:
    services.publish_update(
        Incident.objects.get(),
        status=Status.IDENTIFIED,
        body="We know.",
        actor="ann",
        now=world.now,
    )


def pass_by(world: World, seconds: float) -> None:
    world.wait(seconds)
    world.tick()


def all_clears(world: World) -> list[tuple[str, bool]]:
    return [each for each in world.said() if each[0] == "resolved"]


def test_an_alert_that_fires_again_takes_back_the_drafted_all_clear(world: World) -> None:
    alert(world, "follow")
    person_posts(world)
    alert(world, "follow", is_over=True)
    pass_by(world, 60)
    alert(world, "follow")
    pass_by(world, 300)
    assert all_clears(world) == [("resolved", False)]

    alert(world, "follow", is_over=True)
    pass_by(world, 300)
    assert all_clears(world) == [("resolved", False), ("resolved", True)]


def test_an_all_clear_that_waits_is_taken_back_when_the_incident_is_reopened(world: World) -> None:
    alert(world, "follow")
    person_posts(world)
    alert(world, "follow", is_over=True)
    services.publish_update(
        Incident.objects.get(), status=Status.RESOLVED, body="Over.", actor="ann", now=world.now
    )
    pass_by(world, 60)
    alert(world, "follow")
    pass_by(world, 300)
    assert Incident.objects.get().status == Status.INVESTIGATING


def test_an_all_clear_that_a_person_vetoed_is_not_drafted_again(world: World) -> None:
    alert(world, "follow")
    person_posts(world)
    alert(world, "follow", is_over=True)
    services.veto(Update.objects.get(status="resolved"), actor="ann", now=world.now)
    pass_by(world, 60)
    alert(world, "follow")
    alert(world, "follow", is_over=True)
    pass_by(world, 300)
    assert all_clears(world) == [("resolved", False)]


# ---- two rules for one component -----------------------------------------------------------


def two_rules(world: World, **more: Any) -> None:
    for severity, impact, name in (
        ("critical", "critical", "Follow is down"),
        ("warning", "minor", "Follow is slow"),
    ):
        template = Template.objects.create(
            page=world.page, slug=severity, name=name, body=f"{name}.", impact=impact
        )
        AlertRule.objects.create(
            position=AlertRule.objects.count(),
            match={"severity": severity},
            component=world.component("follow"),
            template=template,
            **({"publish": "auto", "veto_s": 0} | more),
        )


def take_in(world: World, *severities: str, is_over: bool = False) -> None:
    told = [intake.Alert("generic", each, {"severity": each}, each, is_over) for each in severities]
    intake.take_in(told, now=world.now)
    world.tick()


@pytest.mark.parametrize(
    "severities", [("critical", "warning"), ("warning", "critical")], ids=["first", "last"]
)
def test_the_graver_of_two_alerts_has_the_draft(world: World, severities: tuple[str, str]) -> None:
    two_rules(world)
    take_in(world, *severities)
    incident = Incident.objects.get()
    assert (incident.name, incident.updates.get().body) == ("Follow is down", "Follow is down.")
    assert (incident.impact, incident.impact_override) == ("critical", "critical")
    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE


def test_a_graver_alert_takes_up_a_withdrawn_draft_in_its_own_words(world: World) -> None:
    two_rules(world, veto_s=120)
    take_in(world, "warning")
    take_in(world, "warning", is_over=True)
    take_in(world, "critical")
    assert Incident.objects.get().name == "Follow is down"
    pass_by(world, 120)
    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE


def test_a_graver_alert_is_said_where_a_milder_one_is_published(world: World) -> None:
    two_rules(world, veto_s=120)
    take_in(world, "warning")
    pass_by(world, 120)
    assert world.component("follow").status == ComponentStatus.DEGRADED_PERFORMANCE

    take_in(world, "critical")
    assert world.component("follow").status == ComponentStatus.DEGRADED_PERFORMANCE
    pass_by(world, 120)
    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE
    assert Update.objects.order_by("-number")[0].body == "Follow is down."


def test_a_milder_alert_adds_nothing_where_a_graver_one_is_published(world: World) -> None:
    two_rules(world)
    take_in(world, "critical")
    take_in(world, "warning")
    assert len(world.said()) == 1


def test_further_alerts_of_one_rule_are_one_follow_up(world: World) -> None:
    alert(world, "follow")
    AlertRule.objects.create(
        position=9, match={}, component=world.component("login"), publish="auto", veto_s=120
    )
    take_in(world, "one")
    take_in(world, "two")
    assert world.said() == [("investigating", True), ("investigating", False)]


# ---- what ends before it was said ----------------------------------------------------------


def test_a_further_component_whose_alert_ended_before_it_was_said_is_not_said(world: World) -> None:
    alert(world, "follow")
    alert(world, "login", veto_s=120)
    alert(world, "login", is_over=True)
    pass_by(world, 120)
    assert world.said() == [("investigating", True), ("investigating", False)]
    assert world.component("login").status == ComponentStatus.OPERATIONAL


def test_a_worse_status_whose_alert_ended_before_it_was_said_is_not_said(world: World) -> None:
    two_rules(world, veto_s=120)
    take_in(world, "warning")
    pass_by(world, 120)
    take_in(world, "critical")
    take_in(world, "critical", is_over=True)
    pass_by(world, 120)
    assert world.component("follow").status == ComponentStatus.DEGRADED_PERFORMANCE


def test_a_further_component_is_said_while_one_of_its_alerts_lasts(world: World) -> None:
    alert(world, "follow")
    AlertRule.objects.create(
        position=9, match={}, component=world.component("login"), publish="auto", veto_s=120
    )
    take_in(world, "one", "two")
    take_in(world, "one", is_over=True)
    pass_by(world, 120)
    assert world.component("login").status == ComponentStatus.MAJOR_OUTAGE


def test_an_alert_that_ends_takes_back_nothing_that_a_check_sees(world: World) -> None:
    alert(world, "follow")
    world.policy("login", "outage", publish="auto", veto_s=120)
    alert(world, "login", veto_s=120)
    world.runs(2, login="fail")
    alert(world, "login", is_over=True)
    world.runs(5, login="fail")
    assert world.component("login").status == ComponentStatus.MAJOR_OUTAGE


def test_what_a_milder_alert_still_tells_is_said_when_the_graver_one_ended(world: World) -> None:
    alert(world, "login")
    two_rules(world, veto_s=120)
    take_in(world, "critical")
    take_in(world, "warning")
    take_in(world, "critical", is_over=True)
    pass_by(world, 120)
    assert world.component("follow").status == ComponentStatus.DEGRADED_PERFORMANCE
    assert Update.objects.filter(number__isnull=False).latest("number").body == "Follow is slow."


def test_what_a_milder_alert_still_tells_waits_where_its_own_rule_wants_it(world: World) -> None:
    alert(world, "login")
    two_rules(world, veto_s=120)
    take_in(world, "critical")
    AlertRule.objects.filter(match={"severity": "warning"}).update(veto_s=900)
    take_in(world, "warning")
    take_in(world, "critical", is_over=True)
    pass_by(world, 120)
    assert world.component("follow").status == ComponentStatus.OPERATIONAL
    pass_by(world, 780)
    assert world.component("follow").status == ComponentStatus.DEGRADED_PERFORMANCE


# ---- one of the two falls silent -----------------------------------------------------------


def alert_holds_what_the_checks_would_end(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    alert(world, "login")
    world.runs(2, follow="fail")
    world.runs(12)


@pytest.mark.slow
def test_an_alert_that_alone_holds_up_the_way_back_calls_operators_once(world: World) -> None:
    alert_holds_what_the_checks_would_end(world)
    world.runs(2)
    call = Call.objects.get(key__startswith="alert-holds:")
    assert "an alert has not ended" in call.text


@pytest.mark.slow
def test_an_alert_whose_end_is_lost_does_not_keep_the_checks_from_the_all_clear(
    world: World,
) -> None:
    alert_holds_what_the_checks_would_end(world)
    IntakeAlert.objects.update(seen_at=world.now - timedelta(hours=4))
    world.runs(1)
    assert Incident.objects.get().status == Status.INVESTIGATING
    IntakeAlert.objects.update(seen_at=world.now - timedelta(hours=6))
    world.runs(1)
    assert Incident.objects.get().status != Status.INVESTIGATING


@pytest.mark.slow
@pytest.mark.parametrize(("publish", "is_published"), [("draft", False), ("auto", True)])
def test_a_draft_that_only_alerts_hold_goes_out_by_their_rule(
    world: World, publish: str, is_published: bool
) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=900)
    world.runs(2, follow="fail")
    alert(world, "login", publish=publish, veto_s=1_200)
    for _ in range(42):
        world.runs(1)
        intake.tick(world.now)
        if world.now < ONE_AM + timedelta(seconds=1_200):
            assert world.said() == [("investigating", False)]
    incident = Incident.objects.get()
    assert (incident.published_at is not None, incident.vetoed_at) == (is_published, None)
    assert [row.component.slug for row in incident.affected.all()] == ["login"]
    assert world.component("follow").status == ComponentStatus.OPERATIONAL

    alert(world, "login", is_over=True)
    incident.refresh_from_db()
    assert incident.status == Status.RESOLVED if is_published else incident.vetoed_at


@pytest.mark.slow
def test_what_checks_and_alerts_ended_is_reopened_when_the_alert_is_back(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    alert(world, "follow")
    world.runs(2, follow="fail")
    alert(world, "follow", is_over=True)
    world.runs(32)
    assert Incident.objects.get().status == Status.RESOLVED

    alert(world, "follow")
    assert Incident.objects.get().status == Status.INVESTIGATING


def test_a_draft_that_a_person_vetoed_is_not_taken_up_again(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=900)
    alert(world, "follow", veto_s=900)
    world.runs(2, follow="fail")
    alert(world, "follow", is_over=True)
    vetoed = Incident.objects.get()
    services.veto(vetoed, actor="ann", now=world.now)
    world.tick()

    alert(world, "follow")
    vetoed.refresh_from_db()
    assert vetoed.vetoed_at is not None


def test_an_incident_whose_check_is_switched_off_ends_when_its_alerts_are_over(
    world: World,
) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    alert(world, "follow")
    world.runs(2, follow="fail")
    alert(world, "follow", is_over=True)
    intake.tick(world.now)
    assert Incident.objects.get().status == Status.INVESTIGATING

    Check.objects.update(enabled=False)
    world.tick()
    desk_clock.tick(world.now)
    desk_clock.tick(world.now)
    assert all_clears(world) == [("resolved", True)]
