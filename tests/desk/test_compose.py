"""The one screen: what is typed is kept, what to do is locked, and nobody speaks over words unread."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from desk import advice, preview
from desk.models import SavedForm
from desk.roles import Role
from incidents import services
from incidents.lifecycle import Status
from incidents.models import Incident, Series, Template, Update
from notifications.tariffs import Tariff
from tests import world
from tests.desk import staff

pytestmark = pytest.mark.django_db
DECLARE = "/desk/declare"


@pytest.fixture
def ann(client: Client) -> Client:
    return staff.ann(client)


def typed(client: Client, path: str, **words: Any) -> dict[str, Any]:  # Any: form values
    form = client.get(path).context["form"]
    values = {
        field.html_name: field.value()
        for field in form
        if field.value() is not None and field.value() is not False
    }
    return values | {"_form": "1"} | words


def declaration(client: Client, **words: Any) -> dict[str, Any]:  # Any: form values
    follow = world.component()
    told = {
        "name": "Followers may not receive readings",
        "body": "We are looking.",
        f"component_{follow.pk}": "major_outage",
    }
    return typed(client, DECLARE, **(told | words))


def text(answer: Any) -> str:  # Any: a response of the test client
    return unescape(answer.content.decode())


def test_what_is_typed_is_there_again_after_a_reload(ann: Client) -> None:
    answer = ann.post(f"{DECLARE}/keep", declaration(ann, body="Half a sent"))
    assert answer.status_code == 200
    assert ann.get(DECLARE).context["form"]["body"].value() == "Half a sent"
    assert not Incident.objects.exists()


def test_what_is_typed_is_there_again_after_a_logout(ann: Client) -> None:
    ann.post(f"{DECLARE}/keep", declaration(ann, body="Half a sent"))
    ann.post("/accounts/logout/")
    assert ann.get(DECLARE).status_code == 302
    again = {"username": "ann", "password": staff.PASSWORD, "next": DECLARE}
    assert ann.post("/admin/login/", again)["Location"] == DECLARE
    assert ann.get(DECLARE).context["form"]["body"].value() == "Half a sent"


def test_words_posted_after_the_login_has_ended_wait_for_the_next_one(ann: Client) -> None:
    words = declaration(ann, body="Typed in full, pressed too late.", _publish="1")
    ann.logout()
    answer = ann.post(DECLARE, words)
    assert answer["Location"] == "/admin/login/?next=%2Fdesk%2Fdeclare"
    ann.post("/admin/login/", {"username": "ann", "password": staff.PASSWORD, "next": DECLARE})
    assert ann.get(DECLARE).context["form"]["body"].value() == "Typed in full, pressed too late."
    assert not Incident.objects.exists()


def test_what_others_type_is_not_mine(ann: Client) -> None:
    ann.post(f"{DECLARE}/keep", declaration(ann, body="Mine"))
    bob = staff.sign_in(Client(), staff.person("bob", Role.PUBLISHER))
    assert bob.get(DECLARE).context["form"]["body"].value() is None


def test_what_was_published_is_not_kept_and_can_be_thrown_away_before(ann: Client) -> None:
    ann.post(f"{DECLARE}/keep", declaration(ann))
    ann.post(f"{DECLARE}/clear")
    assert not SavedForm.objects.exists()
    answer = ann.post(DECLARE, declaration(ann, _publish="1"))
    assert answer["Location"] == f"/desk/incidents/{Incident.objects.get().uid}/"
    assert not SavedForm.objects.exists()


def test_a_form_that_is_too_big_is_not_kept_and_does_no_harm(ann: Client) -> None:
    ann.post(f"{DECLARE}/keep", {"_form": "1", "body": "x" * 200_000})
    assert not SavedForm.objects.exists()


# --- what to do -------------------------------------------------------------------------------------------------------


def test_a_critical_component_gets_the_approved_block_and_no_words_of_ours(ann: Client) -> None:
    words = declaration(ann, primary_device_alarms="working", _publish="1")
    ann.post(DECLARE, words)
    update = Update.objects.get()
    assert update.what_to_do == advice.block(advice.read({"primary_device_alarms": "working"}))
    assert update.known["primary_device_alarms"] == "working"
    assert update.known["remote_data"] == "unknown"


def test_own_words_for_a_critical_component_are_refused_and_kept(ann: Client) -> None:
    answer = ann.post(DECLARE, declaration(ann, what_to_do="Just relax.", _publish="1"))
    assert "What to do is locked while a critical component is affected" in text(answer)
    assert "Just relax." in text(answer)
    assert not Incident.objects.exists()


def test_own_words_stand_where_nothing_critical_is_affected(ann: Client) -> None:
    site = world.component("site", critical=False)
    told = {
        "name": "The web site is slow",
        "body": "Slow.",
        f"component_{site.pk}": "degraded_performance",
    }
    ann.post(DECLARE, typed(ann, DECLARE, what_to_do="Use the app.", _publish="1", **told))
    assert Update.objects.get().what_to_do == "Use the app."


def test_what_was_known_is_known_at_the_next_update(ann: Client) -> None:
    ann.post(DECLARE, declaration(ann, primary_device_alarms="working", _publish="1"))
    path = f"/desk/incidents/{Incident.objects.get().uid}/update"
    assert ann.get(path).context["form"]["primary_device_alarms"].value() == "working"


def test_the_end_says_what_may_have_been_missed(ann: Client) -> None:
    incident = world.incident(world.component())
    path = f"/desk/incidents/{incident.uid}/update"
    words = typed(ann, f"{path}?status=resolved", body="It works again.", _publish="1")
    assert words["status"] == "resolved"
    assert words["missed_from"]
    ann.post(path, words)
    said = Update.objects.order_by("-number")[0]
    assert said.status == Status.RESOLVED
    assert said.what_to_do.startswith(advice.LOOK_AGAIN)
    assert "may have been missed" in said.what_to_do


def test_a_window_with_one_end_is_refused_at_the_field(ann: Client) -> None:
    path = f"/desk/incidents/{world.incident(world.component()).uid}/update"
    answer = ann.post(path, typed(ann, path, body="x", missed_until="", _publish="1"))
    assert "The window needs both ends" in text(answer)


# --- templates and looks ----------------------------------------------------------------------------------------------


def test_a_template_fills_in_text_and_components(ann: Client) -> None:
    follow = world.component()
    template = Template.objects.create(
        page=world.page(), slug="down", name="Follow is down", body="We look.", impact="major"
    )
    template.components.add(follow)
    form = ann.get(DECLARE, {"template": "down"}).context["form"]
    assert form["name"].value() == "Follow is down"
    assert form[f"component_{follow.pk}"].value() == "partial_outage"


def test_further_languages_of_the_page_can_be_written_and_a_template_brings_its_own(
    ann: Client,
) -> None:
    assert "body_in_es" not in ann.get(DECLARE).context["form"].fields
    page = world.page()
    page.languages = ["en", "es"]
    page.save()
    Template.objects.create(
        page=page, slug="down", name="Down", body="We look.", translations={"es": {"body": "Miramos."}}
    )  # fmt: skip
    form = ann.get(DECLARE, {"template": "down"}).context["form"]
    assert form["body_in_es"].value() == "Miramos."

    assert ann.post(DECLARE, declaration(ann, body_in_es="Lo miramos.")).status_code == 302
    assert Update.objects.get().translations == {"es": {"body": "Lo miramos."}}


def test_the_button_says_whom_it_reaches() -> None:
    mail = preview.Words("email", "E-mail", "Down.", 2_000)
    post = preview.Words("x", "X", "Down.", 1, is_account=True)
    silent = preview.Words("facebook", "Facebook", "", None, is_account=True)
    assert preview.reach([mail, post, silent]) == "2,000 addresses and 1 post"
    assert preview.reach([post, replace(post, channel="facebook")]) == "2 posts"
    assert preview.reach([silent]) == "the page alone"


def test_the_outlook_names_people_parts_and_what_makes_a_text_dear(
    ann: Client, settings: Any
) -> None:
    settings.TARIFFS = {"sms": Tariff(price=Decimal("0.01"))}
    world.person("sms", "+15005550009")
    answer = ann.post(
        f"{DECLARE}/keep", declaration(ann, name="Followers may not receive “readings” 😀")
    )
    said = text(answer)
    assert "Publish: 1 address" in said
    assert "😀 is not in GSM-7" in said
    assert "about 0.02 USD" in said or "about 0.03 USD" in said


def test_mail_and_page_are_drawn_from_what_is_typed(ann: Client) -> None:
    ann.post(f"{DECLARE}/keep", declaration(ann, body="Words that only I have seen."))
    for path in ("/desk/look/email", "/desk/look/page"):
        answer = ann.get(path, {"of": "declare:"})
        assert "Words that only I have seen." in text(answer)
        assert "sandbox" in answer["Content-Security-Policy"]
        assert "script-src" not in answer["Content-Security-Policy"]


def test_the_banner_is_drawn_by_its_own_script_from_what_is_typed(ann: Client) -> None:
    ann.post(f"{DECLARE}/keep", declaration(ann))
    answer = ann.get("/desk/look/banner", {"of": "declare:"})
    assert "Followers%20may%20not%20receive%20readings" in text(answer)
    assert "connect-src data:;" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    ann.post(f"{DECLARE}/keep", declaration(ann, body=""))
    assert "Nothing to show yet" in text(ann.get("/desk/look/banner", {"of": "declare:"}))


def test_an_unfinished_form_says_what_is_missing(ann: Client) -> None:
    answer = ann.post(f"{DECLARE}/keep", declaration(ann, body=""))
    assert "Not whole yet. Text: This field is required." in text(answer)


# --- two people -------------------------------------------------------------------------------------------------------


def test_the_second_to_declare_the_same_trouble_reads_the_first_ones_words(ann: Client) -> None:
    words = declaration(ann, _publish="1")
    world.incident(world.component(), body="Bob's words.", speaker="bob", now=timezone.now())
    answer = ann.post(DECLARE, words)
    assert answer.status_code == 409
    assert "Meanwhile bob declared" in text(answer)
    assert "Bob's words." in text(answer)
    assert Incident.objects.count() == 1
    again = words | {name: answer.context["form"][name].value() for name in ("seen", "key")}
    assert ann.post(DECLARE, again).status_code == 302
    assert Incident.objects.count() == 2


def test_other_words_from_a_form_that_stood_open_elsewhere_are_not_lost(ann: Client) -> None:
    incident = world.incident(world.component())
    path = f"/desk/incidents/{incident.uid}/update"
    first = typed(ann, path, status="identified", body="We found it.", _publish="1")
    next_one = first | {"body": "It is being mended.", "status": "monitoring"}
    assert ann.post(path, first).status_code == 302
    assert ann.post(path, first).status_code == 302, "the same words are the same press"
    answer = ann.post(path, next_one)
    assert answer.status_code == 409
    assert "We found it." in text(answer)
    assert "It is being mended." in text(answer)
    again = next_one | {name: answer.context["form"][name].value() for name in ("seen", "key")}
    assert ann.post(path, again).status_code == 302
    said = incident.updates.order_by("number").values_list("body", flat=True)
    assert list(said) == ["We are looking.", "We found it.", "It is being mended."]


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        pytest.param(
            "_draft", "_publish", "is kept as a draft already", id="a draft is not published"
        ),
        pytest.param("_publish", "_draft", "is published already", id="what went out is no draft"),
    ],
)
def test_the_browsers_own_way_back_does_not_say_what_is_not_so(
    ann: Client, first: str, then: str, says: str
) -> None:
    words = declaration(ann)
    assert ann.post(DECLARE, words | {first: "1"}).status_code == 302
    answer = ann.post(DECLARE, words | {then: "1"})
    assert answer.status_code == 409
    assert says in text(answer)


@pytest.mark.parametrize("button", ["_publish", "_draft"])
@pytest.mark.parametrize("changed", ["body", "component"])
def test_other_words_under_a_declaration_that_was_made_are_not_lost(
    ann: Client, button: str, changed: str
) -> None:
    words = declaration(ann) | {button: "1"}
    assert ann.post(DECLARE, words).status_code == 302
    assert ann.post(DECLARE, words).status_code == 302
    name = "body" if changed == "body" else f"component_{world.component().pk}"
    new = "Something else." if changed == "body" else "degraded_performance"
    answer = ann.post(DECLARE, words | {name: new})
    assert answer.status_code == 409
    assert answer.context["form"][name].value() == new
    assert Incident.objects.count() == 1


def test_other_words_in_the_records_can_be_said_after_all(ann: Client) -> None:
    incident = world.incident(world.component())
    path = f"/admin/incidents/incident/{incident.pk}/update/"
    words = typed(ann, path, status="identified", body="We found it.")
    assert ann.post(path, words).status_code == 302
    answer = ann.post(path, words | {"body": "It is being mended."})
    assert "We found it." in text(answer)
    again = words | {"body": "It is being mended."}
    again |= {name: answer.context["form"][name].value() for name in ("seen", "key")}
    assert ann.post(path, again).status_code == 302
    assert incident.updates.count() == 3


def test_another_trouble_is_declared_without_a_question(ann: Client) -> None:
    words = declaration(ann, _publish="1")
    world.incident(world.component("login"), now=timezone.now())
    assert ann.post(DECLARE, words).status_code == 302


def test_a_draft_published_by_a_colleague_is_not_published_over(ann: Client) -> None:
    draft = world.incident(world.component(), published=False)
    path = f"/desk/incidents/{draft.uid}/publish"
    words = typed(ann, path, body="My better words.", _publish="1")
    services.publish_draft(draft, actor="bob", by_person=True, now=timezone.now())
    answer = ann.post(path, words)
    assert "Meanwhile bob said" in text(answer)
    assert "My better words." in text(answer)
    assert draft.updates.count() == 1


def test_the_same_press_twice_is_one_update(ann: Client) -> None:
    incident = world.incident(world.component())
    path = f"/desk/incidents/{incident.uid}/update"
    words = typed(ann, path, body="Better.", status="monitoring", _publish="1")
    for _ in range(2):
        assert ann.post(path, words).status_code == 302
    assert incident.updates.count() == 2


# --- the life of an incident ------------------------------------------------------------------------------------------


def test_a_past_incident_is_written_down_and_nobody_is_told(ann: Client) -> None:
    follow = world.component()
    path = "/desk/backfill"
    words = typed(
        ann, path, name="Of last week", body="It was down.", started_at="2026-01-02T01:00", ended_at="2026-01-02T03:00",
        _publish="1", **{f"component_{follow.pk}": "major_outage"},
    )  # fmt: skip
    assert ann.post(path, words).status_code == 302
    incident = Incident.objects.get()
    assert (incident.backfilled, incident.status) == (True, Status.RESOLVED)
    assert set(incident.updates.values_list("audience", flat=True)) == {"nobody"}
    assert [row.status for row in follow.status_changes.filter(incident=incident)] == [
        "major_outage",
        "operational",
    ]


def test_what_has_not_ended_is_not_written_down_as_past(ann: Client) -> None:
    words = typed(
        ann,
        "/desk/backfill",
        name="x",
        body="x",
        started_at="2026-01-02T03:00",
        ended_at="2031-01-02T01:00",
        _publish="1",
    )
    assert "It has not ended yet; declare it instead." in text(ann.post("/desk/backfill", words))


def test_a_maintenance_comes_again_and_reminds(ann: Client) -> None:
    path = "/desk/schedule"
    words = typed(
        ann, path, name="Weekly work", body="We move.", scheduled_for="2031-01-01T01:00", scheduled_until="2031-01-01T02:00",
        rule="FREQ=WEEKLY", remind_before="86400", affected=[world.component().pk], _publish="1",
    )  # fmt: skip
    for _ in range(2):
        assert ann.post(path, words).status_code == 302
    incident, series = Incident.objects.get(), Series.objects.get()
    assert incident.series == series
    assert incident.scheduled_for
    assert incident.remind_at == incident.scheduled_for - timedelta(days=1)
    assert series.next_at == incident.scheduled_for + timedelta(days=7)
    assert "Comes again: FREQ=WEEKLY" in text(ann.get(f"/desk/incidents/{incident.uid}/"))


def test_a_post_mortem_begins_as_a_timeline_and_is_published_separately(ann: Client) -> None:
    incident = world.incident(world.component())
    services.publish_update(
        incident,
        status=Status.RESOLVED,
        body="Over.",
        actor="ann",
        speaker="ann",
        now=timezone.now(),
    )
    path = f"/desk/incidents/{incident.uid}/postmortem"
    answer = ann.get(path)
    assert "ann said (resolved): “Over.”" in answer.context["text"]
    assert (
        ann.post(path, {"_form": "1", "body": "What we learned.", "_keep": "1"}).status_code == 302
    )
    incident.refresh_from_db()
    assert incident.status == Status.RESOLVED
    ann.post(path, {"_form": "1", "body": "What we learned.", "_publish": "1"})
    incident.refresh_from_db()
    assert incident.status == Status.POSTMORTEM


def test_two_incidents_are_merged_from_the_page_of_one(ann: Client) -> None:
    one, other = world.incident(world.component()), world.incident(world.component("login"))
    answer = ann.post(f"/desk/incidents/{one.uid}/merge", {"into": other.uid})
    assert answer["Location"] == f"/desk/incidents/{other.uid}/"
    one.refresh_from_db()
    assert one.merged_into == other
