"""What staff do in the admin and on the console."""

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from desk import words
from desk.roles import Role
from incidents import services
from incidents.lifecycle import Audience, ComponentStatus, Status
from incidents.models import AuditEntry, Component, Incident, Template, Update
from probes.models import Check, CurrentVerdict
from tests import world
from tests.desk import staff

pytestmark = pytest.mark.django_db
DECLARE = "/admin/incidents/incident/add/"


@pytest.fixture
def ann(client: Client) -> Client:
    return staff.ann(client)


def form_of(client: Client, path: str) -> dict[str, Any]:  # Any: form values
    form = client.get(path).context["form"]
    return {field.html_name: field.value() for field in form if field.value() not in (None, False)}


def declared(client: Client, component: Component) -> dict[str, Any]:  # Any: form values
    return form_of(client, DECLARE) | {
        "name": "Followers may not receive readings", "status": "investigating", "body": "We are looking.",
        f"component_{component.pk}": "major_outage",
    }  # fmt: skip


def test_a_declaration_is_published_once_however_often_it_is_pressed(ann: Client) -> None:
    follow = world.component()
    words = declared(ann, follow)
    assert ann.post(DECLARE, words | {"_publish": "1"}).status_code == 302
    assert ann.post(DECLARE, words | {"_publish": "1"}).status_code == 302
    incident = Incident.objects.get()
    assert incident.published_at
    assert incident.updates.count() == 1
    assert incident.updates.get().speaker == "ann"
    follow.refresh_from_db()
    assert follow.status == ComponentStatus.MAJOR_OUTAGE


def test_a_preview_shows_who_hears_what_and_publishes_nothing(ann: Client, settings: Any) -> None:
    from notifications.channels import Channel, configured

    opened: dict[str, Channel] = configured(
        {"EMAIL_URL": "smtp://127.0.0.1:1", "SITE_URL": "http://status.test"}
    )
    settings.OPEN_CHANNELS = {"email": opened["email"]}
    settings.CHANNELS = {"email": ("E-mail", "email")}
    follow = world.component()
    world.person()
    world.person(address="other@family.example", only=world.component("login"))
    text = unescape(ann.post(DECLARE, declared(ann, follow) | {"_preview": "1"}).content.decode())
    assert "Publish to 1 address" in text
    assert "Followers may not receive readings" in text
    assert not Incident.objects.exists()


def test_a_template_fills_the_form(ann: Client) -> None:
    Template.objects.create(
        page=world.page(), slug="down", name="Follow is down", body="We look.", what_to_do="Check."
    )
    form = ann.get(DECLARE, {"template": "down"}).context["form"]
    assert (form["name"].value(), form["what_to_do"].value()) == ("Follow is down", "Check.")


def test_a_draft_is_kept_and_published_with_other_words(ann: Client) -> None:
    ann.post(DECLARE, declared(ann, world.component()) | {"_draft": "1"})
    incident = Incident.objects.get()
    assert incident.published_at is None
    path = reverse("admin:incidents_incident_publish", args=[incident.pk])
    ann.post(path, form_of(ann, path) | {"body": "Better words.", "_publish": "1"})
    incident.refresh_from_db()
    assert incident.published_at
    assert incident.updates.get().body == "Better words."


def test_an_illegal_move_is_a_sentence_on_the_form(ann: Client) -> None:
    incident = world.incident(world.component())
    path = reverse("admin:incidents_incident_update", args=[incident.pk])
    words = form_of(ann, path) | {"status": "monitoring", "body": "Better.", "_publish": "1"}
    Incident.objects.filter(pk=incident.pk).update(retracted_at=world.NOW)
    path = reverse("admin:incidents_incident_retract", args=[incident.pk])
    answer = ann.post(path, words)
    assert answer.status_code == 200
    assert "was retracted at" in unescape(answer.content.decode())


def test_a_second_operator_reads_the_first_ones_words_before_speaking_over_them(
    ann: Client,
) -> None:
    incident = world.incident(world.component())
    path = reverse("admin:incidents_incident_update", args=[incident.pk])
    words = form_of(ann, path) | {"status": "monitoring", "body": "Better.", "_publish": "1"}
    services.publish_update(
        incident,
        status=Status.IDENTIFIED,
        body="A colleague's words.",
        actor="bob",
        speaker="bob",
        now=timezone.now(),
    )
    answer = ann.post(path, words)
    assert "Meanwhile bob said" in unescape(answer.content.decode())
    again = words | {"seen": answer.context["form"]["seen"].value()}
    assert ann.post(path, again).status_code == 302
    assert Update.objects.order_by("-number").values_list("body", flat=True)[0] == "Better."


def test_a_resolved_incident_is_reopened_and_a_false_alarm_is_taken_back(ann: Client) -> None:
    incident = world.incident(world.component())
    services.publish_update(
        incident, status=Status.RESOLVED, body="Over.", actor="ann", now=timezone.now()
    )
    reopen = reverse("admin:incidents_incident_reopen", args=[incident.pk])
    ann.post(reopen, form_of(ann, reopen) | {"body": "It is back.", "_publish": "1"})
    retract = reverse("admin:incidents_incident_retract", args=[incident.pk])
    ann.post(retract, form_of(ann, retract) | {"_publish": "1"})
    newest = Update.objects.order_by("-number")[0]
    assert (newest.retraction, newest.audience) == (True, Audience.TOLD_BEFORE)


def test_a_maintenance_is_scheduled_in_the_pages_own_time(ann: Client) -> None:
    page = world.page()
    page.time_zone = "America/New_York"
    page.save()
    path = reverse("admin:incidents_incident_schedule")
    words = form_of(ann, path) | {
        "name": "Move", "body": "We move.", "scheduled_for": "2031-01-01T01:00", "scheduled_until": "2031-01-01T02:00",
        "affected": [world.component().pk], "_publish": "1",
    }  # fmt: skip
    assert ann.post(path, words).status_code == 302
    start = Incident.objects.get().scheduled_for
    assert start
    assert start.isoformat() == "2031-01-01T06:00:00+00:00"


def test_a_window_that_ends_before_it_begins_is_refused_at_the_field(ann: Client) -> None:
    path = reverse("admin:incidents_incident_schedule")
    words = form_of(ann, path) | {
        "name": "Move", "body": "x", "scheduled_for": "2031-01-01T03:00", "scheduled_until": "2031-01-01T02:00",
        "_publish": "1",
    }  # fmt: skip
    answer = ann.post(path, words)
    assert answer.context["form"].errors["scheduled_until"] == ["The window ends before it begins."]


def test_a_published_text_is_corrected_through_the_core(ann: Client) -> None:
    update = world.incident().updates.get()
    path = reverse("admin:incidents_update_change", args=[update.pk])
    assert ann.post(path, {"body": "Better said.", "what_to_do": ""}).status_code == 302
    update.refresh_from_db()
    assert update.body == "Better said."
    assert update.edited_at
    assert AuditEntry.objects.get(action="edit").before == {"body": "We are looking."}


def test_a_component_gets_its_history_from_the_admin_too(ann: Client) -> None:
    words = {
        "name": "Log in",
        "slug": "login",
        "status": "partial_outage",
        "position": "0",
        "showcase": "on",
    }
    assert ann.post(reverse("admin:incidents_component_add"), words).status_code == 302
    row = Component.objects.get()
    assert [change.status for change in row.status_changes.all()] == [
        "operational",
        "partial_outage",
    ]


@pytest.mark.parametrize(
    "name",
    ["incidents_incident", "incidents_update", "incidents_component", "incidents_group", "incidents_template",
     "incidents_page", "incidents_auditentry", "incidents_call", "incidents_statuschange", "subscribers_subscription",
     "notifications_broadcast", "notifications_delivery", "probes_check", "probes_location", "probes_policy",
     "probes_currentverdict", "probes_verdictchange", "desk_apikey", "desk_alertrule", "desk_intakealert", "auth_user"],
)  # fmt: skip
def test_every_record_can_be_looked_at(ann: Client, name: str) -> None:
    world.incident(world.component())
    world.person()
    assert ann.get(reverse(f"admin:{name}_changelist")).status_code == 200


def test_an_address_is_masked(ann: Client) -> None:
    person = world.person()
    for path in (
        "admin:subscribers_subscription_changelist",
        "admin:subscribers_subscription_change",
    ):
        arguments = [person.pk] if path.endswith("change") else []
        text = ann.get(reverse(path, args=arguments)).content.decode()
        assert "parent@family.example" not in text
        assert "p•••@family.example" in text


def test_ledgers_cannot_be_changed(ann: Client) -> None:
    world.incident()
    entry = AuditEntry.objects.first()
    assert entry
    assert (
        ann.post(
            reverse("admin:incidents_auditentry_change", args=[entry.pk]), {"actor": "x"}
        ).status_code
        == 403
    )
    assert (
        ann.post(
            reverse("admin:incidents_auditentry_delete", args=[entry.pk]), {"post": "yes"}
        ).status_code
        == 403
    )


def test_staff_without_the_right_see_the_desk_and_cannot_publish(client: Client) -> None:
    staff.sign_in(client, staff.person("eve", Role.VIEWER))
    draft = world.incident(world.component(), published=False)
    assert client.get("/desk/").status_code == 200
    assert client.post(f"/desk/drafts/{draft.uid}/publish").status_code == 403
    assert client.get(DECLARE).status_code == 403


# --- the console ------------------------------------------------------------------------------------------------------


def test_a_stranger_is_asked_to_log_in(client: Client) -> None:
    answer = client.get("/desk/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_the_desk_shows_drafts_with_their_deadline_and_open_incidents_with_their_promise(
    ann: Client,
) -> None:
    now = timezone.now()
    world.incident(
        world.component(), name="Waiting", published=False, publish_at=now + timedelta(minutes=2)
    )
    world.incident(
        world.component("login"), name="Speaking", next_update_by=now - timedelta(minutes=5)
    )
    text = unescape(ann.get("/desk/").content.decode())
    assert "goes out by itself in 1 min" in text
    assert "next update overdue for 5 min" in text
    assert "No check is configured" in text
    assert "HEARTBEAT_URL is not set" in text


def test_the_desk_allows_nothing_inline_and_nothing_from_elsewhere(ann: Client) -> None:
    answer = ann.get("/desk/")
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert "style=" not in answer.content.decode()
    assert "<script>" not in answer.content.decode()


def test_a_draft_is_published_from_the_desk_once_and_vetoed_not_at_all_afterwards(
    ann: Client,
) -> None:
    draft = world.incident(world.component(), published=False)
    for _ in range(2):
        answer = ann.post(f"/desk/drafts/{draft.uid}/publish", follow=True)
        assert "Published: " in answer.content.decode()
        assert "Nothing was done yet" not in answer.content.decode()
    assert draft.updates.get().number == 1
    answer = ann.post(f"/desk/drafts/{draft.uid}/veto", follow=True)
    assert "It went out at" in answer.content.decode()


def test_a_form_of_a_component_opened_before_the_outage_does_not_end_it(ann: Client) -> None:
    follow = world.component()
    path = f"/admin/incidents/component/{follow.pk}/change/"
    form = ann.get(path).context["adminform"].form
    values = {form[name].html_name: form[name].value() for name in form.fields}
    words = {
        name: value for name, value in values.items() if value is not None and value is not False
    }
    words["initial-status"] = "operational"
    world.incident(follow)
    answer = ann.post(path, words | {"description": "Readings."})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    follow.refresh_from_db()
    assert (follow.status, follow.description) == ("major_outage", "Readings.")
    assert ann.post(path, words | {"status": "degraded_performance"}).status_code == 302
    follow.refresh_from_db()
    assert follow.status == "degraded_performance"


def test_a_follow_up_is_published_or_vetoed(ann: Client) -> None:
    incident = world.incident(world.component())
    drafts = [
        services.draft_update(
            incident,
            status=Status.MONITORING,
            body=body,
            actor="probes",
            now=world.NOW,
            publish_at=None,
        )
        for body in ("One", "Two")
    ]
    assert "One" in ann.get("/desk/").content.decode()
    ann.post(f"/desk/follow-ups/{drafts[0].uid}/publish")
    ann.post(f"/desk/follow-ups/{drafts[1].uid}/veto")
    told = {
        row.body: bool(row.published_at)
        for row in Update.objects.filter(pk__in=[row.pk for row in drafts])
    }
    assert told == {"One": True, "Two": False}


def test_the_brake_halts_a_broadcast(ann: Client) -> None:
    from notifications import outbox
    from notifications.models import Broadcast

    world.incident(world.component())
    outbox.open_entries(timezone.now())
    broadcast = Broadcast.objects.get()
    assert ann.get(f"/admin/notifications/delivery/?broadcast={broadcast.pk}").status_code == 200
    ann.post(f"/desk/broadcasts/{broadcast.pk}/halt")
    broadcast.refresh_from_db()
    assert broadcast.halted_at


@pytest.mark.parametrize(
    ("seconds", "said"),
    [pytest.param(5, "5 s", id="seconds"), pytest.param(725, "12 min", id="minutes"),
     pytest.param(4080, "1 h 08 min", id="hours"), pytest.param(260_000, "3 days", id="days")],
)  # fmt: skip
def test_spans_are_said_as_people_say_them(seconds: int, said: str) -> None:
    assert words.span(timedelta(seconds=seconds)) == said


def test_a_certificate_about_to_end_is_a_standing_warning(client: Client) -> None:
    staff.ann(client)
    check = Check.objects.create(
        page=world.page(),
        slug="cert",
        kind="tls",
        interval_s=3600,
        timeout_s=5,
        locations=["local"],
    )
    row = CurrentVerdict.objects.create(of_check=check, component=world.component(), word="up")
    assert "Certificate, check" not in client.get("/desk/").content.decode()
    why = "the certificate ends on 2026-12-01, in 4 days, expected 14 or more"
    CurrentVerdict.objects.filter(pk=row.pk).update(word="degraded", reasoning=why)
    assert f"Certificate, check “cert”: {why}" in client.get("/desk/").content.decode()
