"""What the page shows and is told on the way back and forth: relapses, further checks, what people posted."""

from datetime import timedelta

import pytest

from incidents import clock as core_clock
from incidents import services as core
from incidents.lifecycle import ComponentStatus, Status
from incidents.models import Incident, Update
from probes.models import Check, CurrentVerdict
from tests.probes.test_services import INTERVAL_S, ONE_AM, SPEC, World, build_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    return build_world()


def second_check(world: World) -> None:
    Check.objects.create(
        page=world.page,
        slug="second",
        kind="http",
        spec=SPEC,
        interval_s=INTERVAL_S,
        locations=["local"],
        changed_at=ONE_AM,
    )


@pytest.mark.slow
def test_each_component_that_relapses_is_shown(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.policy("login", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    world.runs(2, login="fail")
    world.runs(11)
    assert world.said()[-1] == ("monitoring", True)

    world.runs(2, follow="fail")
    world.runs(2, login="fail")

    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE
    assert world.component("login").status == ComponentStatus.MAJOR_OUTAGE
    assert world.said()[3:] == [("investigating", True), ("investigating", True)]


@pytest.mark.slow
def test_a_relapse_that_becomes_worse_is_said(world: World) -> None:
    world.policy("follow", "degraded", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    world.runs(11)

    world.runs(2, follow="slow")
    assert world.component("follow").status == ComponentStatus.DEGRADED_PERFORMANCE
    world.runs(2, follow="fail")

    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE
    assert [status for status, _ in world.said()] == [
        "investigating",
        "monitoring",
        "investigating",
        "investigating",
    ]


def two_checks_say(world: World, first: str, *second: str) -> None:
    """Both checks run side by side; the second one sees one thing after the other."""
    for seen in second:
        world.run(follow=first)
        world.run(follow=seen, check="second")
        world.wait(INTERVAL_S)


def test_a_check_that_worsens_does_not_lower_what_another_one_said(world: World) -> None:
    world.policy("follow", "degraded", "partial", "outage", publish="auto", veto_s=0)
    second_check(world)

    two_checks_say(world, "fail", "slow", "slow", "fail", "slow", "fail", "slow", "fail")

    assert CurrentVerdict.objects.filter(component__slug="follow", word="partial").exists()
    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE


@pytest.mark.slow
def test_a_milder_relapse_does_not_lower_a_graver_one(world: World) -> None:
    world.policy("follow", "degraded", "outage", publish="auto", veto_s=0)
    second_check(world)
    two_checks_say(world, "fail", "fail", "fail")
    two_checks_say(world, "ok", *["ok"] * 11)
    assert world.said()[-1] == ("monitoring", True)

    two_checks_say(world, "fail", "slow", "slow")

    assert world.component("follow").status == ComponentStatus.MAJOR_OUTAGE
    assert world.said()[2:] == [("investigating", True)]


# ---- where a person has posted -------------------------------------------------------------


def post(world: World, status: Status) -> None:
    core.publish_update(
        Incident.objects.get(), status=status, body="We know.", actor="ann", now=world.now
    )


@pytest.mark.slow
def test_a_relapse_that_passed_while_it_was_a_draft_does_not_go_out(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    post(world, Status.MONITORING)
    world.runs(1, follow="fail")
    assert world.said()[2:] == [("investigating", False)]

    world.runs(12)

    assert ("investigating", True) not in world.said()[2:]


@pytest.mark.slow
def test_a_relapse_that_lasts_goes_out(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.runs(2, follow="fail")
    post(world, Status.MONITORING)

    world.runs(12, follow="fail")

    assert world.said()[2:] == [("investigating", True)]


@pytest.mark.slow
def test_a_further_component_that_passed_as_a_draft_is_said_when_it_is_back(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.policy("login", "outage", publish="auto", veto_s=120)
    world.runs(2, follow="fail")
    world.runs(2, login="fail")
    world.runs(6)
    assert world.said() == [("investigating", True), ("investigating", False)]

    world.runs(2, login="fail")
    assert world.said()[2:] == [("investigating", False)]
    world.runs(4, login="fail")

    assert world.said()[2:] == [("investigating", True)]
    assert world.component("login").status == ComponentStatus.MAJOR_OUTAGE


@pytest.mark.slow
def test_a_veto_of_a_further_component_holds_until_it_was_clean_once(world: World) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    world.policy("login", "outage", publish="auto", veto_s=120)
    world.runs(2, follow="fail")
    world.runs(2, login="fail")
    core.veto(Update.objects.get(published_at=None), actor="ann", now=world.now)
    world.runs(4, login="fail")
    assert len(world.said()) == 2

    world.runs(1)
    world.runs(2, login="fail")

    assert world.said()[2:] == [("investigating", False)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by_person", "said"),
    [
        pytest.param(False, [("monitoring", True)], id="the machine took it back: said at last"),
        pytest.param(True, [], id="a person did not want it: not said"),
    ],
)
def test_an_all_clear_that_was_taken_back(
    world: World, by_person: bool, said: list[tuple[str, bool]]
) -> None:
    world.policy("follow", "outage", publish="auto", veto_s=0)
    Check.objects.update(rule={"recover_after_s": 300, "resolve_after_s": None})
    world.runs(2, follow="fail")
    post(world, Status.IDENTIFIED)
    world.runs(12)
    draft = Update.objects.get(status="monitoring")
    if by_person:
        core.veto(draft, actor="ann", now=world.now)

    # One failed run breaks the peace; two would be an outage.
    world.runs(1, follow="fail")
    world.runs(24)

    assert Update.objects.get(pk=draft.pk).vetoed_at is not None
    assert [each for each in world.said() if each == ("monitoring", True)] == said


# ---- a draft that waits while something graver is said -------------------------------------


def draft(world: World, state: ComponentStatus, status: Status = Status.INVESTIGATING) -> Update:
    """A follow-up of the machine about "follow" waits for 300 s."""
    return core.draft_update(
        Incident.objects.get(),
        status=status,
        body="A draft.",
        components={world.component("follow"): state},
        publish_at=world.now + timedelta(seconds=300),
        actor="probes",
        now=world.now,
    )


def follow_is(world: World, state: ComponentStatus) -> None:
    """Say in public how "follow" is, a minute later."""
    world.wait(60)
    core.publish_update(
        Incident.objects.get(),
        status=Status.INVESTIGATING,
        body="Now.",
        components={world.component("follow"): state},
        actor="ann",
        now=world.now,
    )


@pytest.mark.parametrize(
    ("drafted", "meanwhile", "shown"),
    [
        pytest.param("degraded_performance", "major_outage", "major_outage", id="graver: stays"),
        pytest.param("operational", "major_outage", "major_outage", id="no all-clear: stays"),
        pytest.param("major_outage", "degraded_performance", "major_outage", id="milder: raised"),
        pytest.param("degraded_performance", None, "degraded_performance", id="nothing: lowered"),
    ],
)
def test_a_draft_does_not_lower_what_was_said_after_it_was_written(
    world: World, drafted: str, meanwhile: str | None, shown: str
) -> None:
    open_incident(world, ComponentStatus.PARTIAL_OUTAGE)
    draft(world, ComponentStatus(drafted))
    if meanwhile:
        follow_is(world, ComponentStatus(meanwhile))

    world.wait(300)
    core_clock.tick(world.now)

    assert Update.objects.get(body="A draft.").published_at
    assert world.component("follow").status == shown


def test_an_all_clear_that_waited_says_that_it_works(world: World) -> None:
    open_incident(world, ComponentStatus.DEGRADED_PERFORMANCE)
    draft(world, ComponentStatus.OPERATIONAL, Status.MONITORING)
    follow_is(world, ComponentStatus.MAJOR_OUTAGE)

    world.wait(300)
    core_clock.tick(world.now)

    assert world.component("follow").status == ComponentStatus.OPERATIONAL


def test_what_a_person_presses_is_said_as_it_stands(world: World) -> None:
    open_incident(world, ComponentStatus.PARTIAL_OUTAGE)
    waiting = draft(world, ComponentStatus.DEGRADED_PERFORMANCE)
    follow_is(world, ComponentStatus.MAJOR_OUTAGE)

    core.publish_drafted_update(waiting, actor="ann", by_person=True, now=world.now)

    assert world.component("follow").status == ComponentStatus.DEGRADED_PERFORMANCE


def open_incident(world: World, state: ComponentStatus) -> None:
    core.declare(
        page=world.page,
        name="Follow",
        body="We look.",
        components={world.component("follow"): state},
        automatic=True,
        actor="probes",
        now=world.now,
    )
    world.wait(1)
