"""The terminal against a far installation: over its /v1, with a key, by real HTTP."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from incidents import services
from incidents.lifecycle import Audience, ComponentStatus, Status
from incidents.models import Component, Incident
from tests import world
from tests.clients.conftest import House, house  # noqa: F401  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(house: House) -> list[str]:  # noqa: F811
    world.component()
    house.publish()
    return ["--server", house.url, "--key", house.key]


def test_an_incident_is_declared_updated_resolved_and_looked_at_far_away(
    server: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("declare", "Readings are late", "--body", "We look.", "--component", "follow=partial_outage", "--quiet", *server)  # fmt: skip
    (uid,) = capsys.readouterr().out.split()
    call_command("update", uid, "--status", "identified", "--body", "Found.", "--next-update-in", "600", *server)  # fmt: skip
    call_command("status", *server)
    call_command("resolve", "newest", *server)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2"
    assert f"{uid} identified (major): Readings are late" in lines
    assert lines[-1] == "3"
    incident = Incident.objects.get(uid=uid)
    assert incident.status == Status.RESOLVED
    assert [row.audience for row in incident.updates.order_by("number")] == [
        Audience.NOBODY,
        Audience.EVERYONE,
        Audience.EVERYONE,
    ]
    assert Component.objects.get().status == ComponentStatus.OPERATIONAL


def test_the_newest_far_away_is_the_newest_open_incident_and_no_maintenance(
    server: list[str],
) -> None:
    trouble, now = world.incident(), timezone.now()
    services.schedule(
        page=world.page(), name="Works", body="x", scheduled_for=now + timedelta(days=1), actor="ann", now=now,
        scheduled_until=now + timedelta(days=2),
    )  # fmt: skip
    call_command("resolve", "newest", *server)
    trouble.refresh_from_db()
    assert trouble.status == Status.RESOLVED
    assert Incident.objects.get(name="Works").status == Status.SCHEDULED
    with pytest.raises(CommandError, match="there is no open incident there"):
        call_command("resolve", "newest", *server)


def test_the_status_is_told_here_too(capsys: pytest.CaptureFixture[str]) -> None:
    incident = world.incident(world.component())
    call_command("status")
    assert capsys.readouterr().out.splitlines() == [
        "Major System Outage",
        "follow: major_outage",
        f"{incident.uid} investigating (critical): Followers may not receive readings",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(["--key", "wrong"], "Could not authenticate", id="a wrong key"),
        pytest.param(["--component", "nope"], "--component is 'nope'; expected one of follow", id="no such component"),
        pytest.param(["--impact", "critical", "--body", "x" * 25_001], "body", id="a text too long"),
        pytest.param(["--draft"], "--draft works on this installation only", id="a draft"),
        pytest.param(["--server", "ftp://x"], "expected an address as", id="no address"),
        pytest.param(["--server", "http://127.0.0.1:1"], "does not answer", id="nobody there"),
    ],
)  # fmt: skip
def test_what_is_wrong_far_away_is_one_sentence(
    server: list[str], words: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("declare", "Down", *server, *words)
    assert sentence in str(caught.value)
    assert not Incident.objects.exists()
