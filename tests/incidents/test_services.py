"""What the verbs of the core do to page, components and history."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from incidents import clock, reads, services
from incidents.lifecycle import (
    Audience,
    CallReason,
    ComponentStatus,
    IllegalMove,
    Impact,
    Refused,
    Status,
)
from incidents.models import AuditEntry, Call, Incident, StatusChange, Update
from tests import world
from tests.world import FINE, MAJOR, NOW, PARTIAL

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=5)


@pytest.mark.parametrize("what", ["a window ahead", "a post-mortem", "an entry of the past"])
def test_a_status_set_by_hand_stands_until_an_incident_acts(what: str) -> None:
    follow = world.component()
    over = world.incident(follow)
    services.publish_update(over, status=Status.RESOLVED, body="Over.", actor="ann", now=NOW)
    services.set_status(follow, status=MAJOR, actor="api", now=NOW)
    match what:
        case "a window ahead":
            services.schedule(
                page=world.page(), name="Works", body="x", scheduled_for=LATER, components=[follow],
                scheduled_until=LATER + timedelta(hours=1), actor="ann", now=NOW,
            )  # fmt: skip
        case "a post-mortem":
            services.publish_update(
                over, status=Status.POSTMORTEM, body="Why.", actor="ann", now=NOW
            )
        case _:
            world.incident(follow, status=Status.RESOLVED, backfilled=True)
    follow.refresh_from_db()
    assert follow.status == MAJOR
    opened = world.incident(follow, hurt=PARTIAL)
    services.publish_update(opened, status=Status.RESOLVED, body="Over.", actor="ann", now=LATER)
    follow.refresh_from_db()
    assert follow.status == FINE


def test_a_declared_incident_speaks_and_marks_its_components() -> None:
    follow = world.component()
    incident = world.incident(follow)
    update = incident.updates.get()
    follow.refresh_from_db()
    assert (update.number, update.first_word, update.published_at) == (1, True, NOW)
    assert update.changes == [
        {
            "code": follow.uid,
            "name": "Follow",
            "old_status": "operational",
            "new_status": "major_outage",
        }
    ]
    assert (follow.status, incident.impact) == (MAJOR, Impact.CRITICAL)


def test_a_draft_is_silent_until_it_is_published() -> None:
    follow = world.component()
    incident = world.incident(follow, published=False)
    follow.refresh_from_db()
    assert (follow.status, incident.updates.filter(published_at__isnull=False).count()) == (FINE, 0)
    services.publish_draft(incident, actor="ann", now=LATER)
    follow.refresh_from_db()
    assert follow.status == MAJOR


def test_a_second_press_of_publish_is_the_same_update() -> None:
    draft = world.incident(published=False)
    first = services.publish_draft(draft, actor="ann", now=NOW)
    second = services.publish_draft(draft, actor="bob", now=LATER)
    assert first.pk == second.pk
    assert Update.objects.filter(incident=draft).count() == 1


def test_the_same_key_is_the_same_update() -> None:
    incident = world.incident()
    said = [
        services.publish_update(
            incident, status=Status.IDENTIFIED, body="Found.", actor="ann", now=LATER, key="k1"
        )
        for _ in range(3)
    ]
    assert len({update.pk for update in said}) == 1


def test_a_veto_keeps_a_draft_from_going_out() -> None:
    draft = world.incident(published=False, publish_at=NOW)
    services.veto(draft, actor="ann", now=NOW)
    clock.tick(LATER)
    draft.refresh_from_db()
    assert draft.published_at is None


def test_a_due_draft_goes_out_by_itself() -> None:
    draft = world.incident(published=False, publish_at=LATER)
    clock.tick(LATER - timedelta(seconds=1))
    assert Incident.objects.get(pk=draft.pk).published_at is None
    clock.tick(LATER)
    assert Incident.objects.get(pk=draft.pk).published_at == LATER


def test_resolving_sets_the_components_back() -> None:
    follow = world.component()
    incident = world.incident(follow)
    services.publish_update(incident, status=Status.RESOLVED, body="Over.", actor="ann", now=LATER)
    follow.refresh_from_db()
    incident.refresh_from_db()
    assert (follow.status, incident.resolved_at) == (FINE, LATER)


def test_a_component_under_two_incidents_stays_as_bad_as_the_worse_one() -> None:
    follow = world.component()
    worse, milder = world.incident(follow), world.incident(follow, hurt=PARTIAL)
    services.publish_update(worse, status=Status.RESOLVED, body="Over.", actor="ann", now=LATER)
    follow.refresh_from_db()
    assert follow.status == PARTIAL
    services.publish_update(milder, status=Status.RESOLVED, body="Over.", actor="ann", now=LATER)
    follow.refresh_from_db()
    assert follow.status == FINE


def test_an_explicit_status_wins_until_an_incident_changes_it() -> None:
    follow = world.component()
    incident = world.incident(follow)
    services.set_status(follow, status=PARTIAL, actor="ann", now=LATER)
    services.publish_update(
        incident, status=Status.IDENTIFIED, body="Found.", actor="ann", now=LATER
    )
    follow.refresh_from_db()
    assert follow.status == PARTIAL
    services.publish_update(incident, status=Status.RESOLVED, body="Over.", actor="ann", now=LATER)
    follow.refresh_from_db()
    assert follow.status == FINE


def test_resolved_to_identified_is_refused_and_changes_nothing() -> None:
    incident = world.incident()
    services.publish_update(incident, status=Status.RESOLVED, body="Over.", actor="ann", now=LATER)
    with pytest.raises(IllegalMove):
        services.publish_update(
            incident, status=Status.IDENTIFIED, body="No.", actor="ann", now=LATER
        )
    assert incident.updates.count() == 2


def test_a_reopened_incident_keeps_its_id_and_is_investigating() -> None:
    follow = world.component()
    incident = world.incident(follow)
    services.publish_update(incident, status=Status.RESOLVED, body="Over.", actor="ann", now=LATER)
    services.reopen(
        incident, body="It is back.", components={follow: MAJOR}, actor="ann", now=LATER
    )
    incident.refresh_from_db()
    follow.refresh_from_db()
    assert (incident.status, incident.resolved_at, follow.status) == (
        Status.INVESTIGATING,
        None,
        MAJOR,
    )


def test_a_retraction_is_for_those_who_were_told() -> None:
    incident = world.incident(world.component())
    update = services.retract(incident, body="A false alarm.", actor="ann", now=LATER)
    incident.refresh_from_db()
    assert (update.audience, incident.status, incident.retracted_at) == (
        Audience.TOLD_BEFORE,
        "resolved",
        LATER,
    )


def test_a_new_impact_is_marked_and_a_repeated_one_is_not() -> None:
    follow = world.component()
    incident = world.incident(follow, hurt=PARTIAL)
    same = services.publish_update(
        incident, status=Status.IDENTIFIED, body="Found.", actor="ann", now=LATER
    )
    graver = services.publish_update(
        incident,
        status=Status.IDENTIFIED,
        body="Worse.",
        components={follow: MAJOR},
        actor="ann",
        now=LATER,
    )
    assert (same.new_impact, graver.new_impact) == (False, True)


def test_an_edit_is_marked_and_the_old_words_are_kept() -> None:
    update = world.incident().updates.get()
    services.edit(update, body="Corrected.", actor="ann", now=LATER)
    update.refresh_from_db()
    assert (update.body, update.edited_at) == ("Corrected.", LATER)
    assert AuditEntry.objects.get(action="edit").before == {"body": "We are looking."}


def test_a_window_opens_and_closes_by_itself() -> None:
    follow = world.component()
    maintenance = services.schedule(
        page=world.page(), name="New servers", body="We move.", components=[follow], actor="ann", now=NOW,
        scheduled_for=NOW + timedelta(hours=1), scheduled_until=NOW + timedelta(hours=2),
    )  # fmt: skip
    clock.tick(NOW + timedelta(hours=1))
    follow.refresh_from_db()
    assert follow.status == ComponentStatus.UNDER_MAINTENANCE
    clock.tick(NOW + timedelta(hours=2))
    follow.refresh_from_db()
    maintenance.refresh_from_db()
    assert (follow.status, maintenance.status) == (FINE, Status.COMPLETED)


def test_unknown_is_a_status_of_its_own_in_the_history() -> None:
    follow = world.component()
    services.set_unknown(follow, why="not checked since 01:00", since=NOW, now=LATER)
    services.clear_unknown(follow, now=LATER + timedelta(minutes=1))
    history = StatusChange.objects.filter(component=follow).values_list("status", flat=True)
    assert list(history) == ["operational", "unknown", "operational"]


def test_operators_are_called_once_for_one_matter() -> None:
    calls = [
        services.call_operators(
            page=world.page(), reason=CallReason.BLIND, text="Blind.", key="blind:1", now=NOW
        )
        for _ in range(2)
    ]
    assert [call is None for call in calls] == [False, True]


def test_operators_are_called_before_a_promise_lapses() -> None:
    incident = world.incident(next_update_by=LATER + timedelta(minutes=20))
    clock.tick(LATER)
    assert not Call.objects.exists()
    clock.tick(LATER + timedelta(minutes=15))
    clock.tick(LATER + timedelta(minutes=16))
    assert Call.objects.get().incident == incident


def test_a_word_without_a_promise_does_not_take_the_last_one_back() -> None:
    promised = LATER + timedelta(minutes=20)
    incident = world.incident(next_update_by=promised)
    for status, expected in ((Status.IDENTIFIED, promised), (Status.RESOLVED, None)):
        services.publish_update(incident, status=status, body="More.", actor="ann", now=LATER)
        incident.refresh_from_db()
        assert incident.next_update_by == expected


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param({"name": " "}, "The name is empty", id="no name"),
        pytest.param(
            {"name": "x" * 256}, "The name has 256 characters; allowed are 255", id="a long name"
        ),
        pytest.param({"body": ""}, "The text is empty", id="no text"),
        pytest.param({"body": "x" * 25_001}, "allowed are 25,000", id="a long text"),
        pytest.param({"body": "a\x00b"}, "NUL", id="a NUL character"),
        pytest.param(
            {"scheduled_for": NOW},
            "A maintenance needs scheduled_for",
            id="a window without maintenance",
        ),
    ],
)
def test_bad_words_are_refused_and_nothing_is_kept(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        world.incident(**words)
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"status": "broken"}, id="no such status"),
        pytest.param({"impact": "huge"}, id="no such impact"),
        pytest.param({"status": "scheduled"}, id="a maintenance without a window"),
        pytest.param(
            {"status": "resolved", "resolved_at": None}, id="resolved without saying when"
        ),
    ],
)
def test_the_database_says_the_rules_again(broken: dict[str, object]) -> None:
    incident = world.incident()
    with pytest.raises(IntegrityError), transaction.atomic():
        Incident.objects.filter(pk=incident.pk).update(**broken)


def test_a_page_has_one_open_automatic_incident() -> None:
    world.incident(automatic=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        world.incident(automatic=True)


def test_the_audit_cannot_be_changed_or_deleted() -> None:
    world.incident()
    for tamper in (
        lambda: AuditEntry.objects.update(actor="eve"),
        lambda: AuditEntry.objects.all().delete(),
    ):
        with (
            pytest.raises(Exception, match="audit entries are never changed"),
            transaction.atomic(),
        ):
            tamper()


def test_facts_are_read_in_a_constant_number_of_queries(django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]  # pytest-django's fixture
    for number in range(5):
        world.incident(world.component(f"part{number}"))
    with django_assert_num_queries(3):
        facts = [reads.incident_fact(row) for row in reads.with_all(Incident.objects.all())]
    assert len(facts) == 5
