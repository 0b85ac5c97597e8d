"""Two people to wake everyone, and how many were told, written down."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from desk import told, waking
from desk.roles import Role
from incidents import services
from incidents.lifecycle import ComponentStatus, Status
from incidents.models import AuditEntry, Incident, Update
from notifications import outbox
from notifications.models import Delivery, Wake
from tests import world
from tests.desk import staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def sleepers() -> None:
    """Two who asked to be woken, one by mail only."""
    world.person("voice", "+15005550007", wake_me=True)
    world.person("voice", "+15005550008", wake_me=True)
    world.person()


def publish(client: Client, **words: Any) -> Update:
    follow = world.component()
    form = client.get("/desk/declare").context["form"]
    values = {
        f.html_name: f.value() for f in form if f.value() is not None and f.value() is not False
    }
    told_: dict[str, Any] = {
        "_form": "1",
        "_publish": "1",
        "name": "Down",
        "body": "x",
        f"component_{follow.pk}": "major_outage",
    }
    assert client.post("/desk/declare", values | told_ | words).status_code == 302
    return Incident.objects.get().updates.get()


def queue() -> datetime:
    later = timezone.now() + timedelta(seconds=6)
    outbox.open_entries(later)
    outbox.fan_out(later)
    return later


def waits(since: datetime) -> list[timedelta]:
    """Return how long each sleeper's first call has to wait."""
    return [row.due_at - since for row in Wake.objects.order_by("id")]


def pam() -> Client:
    return staff.sign_in(Client(), staff.person("pam", Role.PUBLISHER))


def test_calls_wait_for_a_second_person_and_nothing_else_does(sleepers: None) -> None:
    staff.person("bob", Role.PUBLISHER)
    update = publish(pam())
    assert update.calls_after
    at = queue()
    assert [wait > timedelta(seconds=100) for wait in waits(at)] == [True, True]
    mail = Delivery.objects.get(channel="email")
    assert mail.due_at <= at


def test_after_two_minutes_one_person_is_enough(sleepers: None) -> None:
    staff.person("bob", Role.PUBLISHER)
    publish(pam())
    assert [wait <= waking.FALL_BACK for wait in waits(queue())] == [True, True]


def test_a_second_person_agrees_and_the_phones_ring(sleepers: None) -> None:
    staff.person("bob", Role.PUBLISHER)
    update = publish(pam())
    queue()
    bob = staff.sign_in(Client(), staff.user("bob"))
    assert "Agree: wake them now" in bob.get("/desk/").content.decode()
    bob.post(f"/desk/updates/{update.uid}/agree")
    assert [wait <= timedelta(0) for wait in waits(timezone.now())] == [True, True]
    assert AuditEntry.objects.get(action="calls_agreed").after == {"people": 2}


def test_who_published_cannot_agree_with_themselves(sleepers: None) -> None:
    staff.person("bob", Role.PUBLISHER)
    client = pam()
    update = publish(client)
    answer = client.post(f"/desk/updates/{update.uid}/agree", follow=True)
    assert "You published this yourself" in answer.content.decode()
    update.refresh_from_db()
    assert update.calls_after
    assert update.calls_after > timezone.now()


def test_who_published_the_words_of_another_cannot_agree_and_that_other_can(
    sleepers: None,
) -> None:
    bob = staff.sign_in(Client(), staff.person("bob", Role.PUBLISHER))
    draft = world.incident(world.component(), published=False, speaker="bob")
    client = pam()
    client.post(f"/desk/drafts/{draft.uid}/publish")
    update = draft.updates.get()
    assert (update.speaker, update.calls_after is None) == ("bob", False)
    answer = client.post(f"/desk/updates/{update.uid}/agree", follow=True)
    assert "You published this yourself" in answer.content.decode()
    assert "Agree: wake them now" not in answer.content.decode()
    assert "Agree: wake them now" in bob.get("/desk/").content.decode()
    assert not AuditEntry.objects.filter(action="calls_agreed").exists()
    bob.post(f"/desk/updates/{update.uid}/agree")
    assert AuditEntry.objects.get(action="calls_agreed").actor == "bob"


def test_where_one_person_only_may_publish_nobody_waits(sleepers: None) -> None:
    staff.person("vic", Role.VIEWER)
    assert publish(pam()).calls_after is None


def test_where_nobody_is_woken_nobody_is_asked() -> None:
    staff.person("bob", Role.PUBLISHER)
    world.person()
    assert publish(pam()).calls_after is None


def test_a_draft_published_by_one_press_waits_the_same(sleepers: None) -> None:
    staff.person("bob", Role.PUBLISHER)
    draft = world.incident(world.component(), published=False)
    pam().post(f"/desk/drafts/{draft.uid}/publish")
    assert draft.updates.get().calls_after


def test_a_follow_up_published_by_one_press_waits_the_same(sleepers: None) -> None:
    staff.person("bob", Role.PUBLISHER)
    follow = world.component()
    incident = world.incident(follow, hurt=ComponentStatus.DEGRADED_PERFORMANCE)
    worse = services.draft_update(
        incident, status=Status.INVESTIGATING, body="Worse.", actor="probes", now=world.NOW, publish_at=None,
        components={follow: ComponentStatus.MAJOR_OUTAGE},
    )  # fmt: skip
    pam().post(f"/desk/follow-ups/{worse.uid}/publish")
    worse.refresh_from_db()
    assert worse.new_impact
    assert worse.calls_after


def test_the_audit_says_once_how_many_were_told_by_which_channel(sleepers: None) -> None:
    update = publish(pam())
    queue()
    for _ in range(2):
        told.write(timezone.now() + timedelta(seconds=7))
    entry = AuditEntry.objects.get(action="tell")
    assert entry.subject == update.uid
    assert entry.after["people"]["email"] == 1
    assert entry.after["people"]["voice"] == 2
    assert entry.after["recipients"] == sum(entry.after["people"].values())
