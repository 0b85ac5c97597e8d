"""The desk's commands: what they print, what they change, how they end."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from desk import keys
from incidents import services
from incidents.lifecycle import Status
from incidents.models import Component, Incident, Template
from probes.models import Check, Policy
from tests import world
from tests.desk.test_siteconfig import GOOD

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db
SITE = GOOD.replace(
    'channel: sms, address: "+15005550010"', 'channel: email, address: "on-call@example.org"'
).replace("https://status.example.org", "http://status.test")


@pytest.fixture
def file(tmp_path: Path, settings: pytest.FixtureRequest) -> Path:
    settings.CHANNELS = {"email": ("E-mail", "email")}  # type: ignore[attr-defined]  # pytest-django's settings
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_apply_says_what_it_creates_and_a_second_time_that_nothing_changes(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("apply", str(file))
    lines = said(capsys)
    assert {"component login: created", "check journey: created", "template down: created"} <= set(
        lines
    )
    call_command("apply", str(file))
    assert said(capsys) == ["nothing to change"]


def test_what_export_prints_changes_nothing_when_applied(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("apply", str(file))
    said(capsys)
    call_command("export")
    file.write_text(capsys.readouterr().out)
    call_command("apply", str(file))
    assert said(capsys) == ["nothing to change"]


@pytest.mark.parametrize("slug", ["my__service", "Follow_App", "-odd-"])
def test_a_slug_that_the_database_holds_is_exported_and_applied(
    slug: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("apply", str(file))
    world.component(slug)
    call_command("apply", str(file))
    said(capsys)
    call_command("export")
    file.write_text(capsys.readouterr().out)
    assert f"slug: {slug}" in file.read_text()
    call_command("apply", str(file))
    assert said(capsys) == ["nothing to change"]


def test_a_dry_run_changes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("apply", str(file), "--dry-run")
    assert "component login: created" in said(capsys)
    assert not Component.objects.exists()


def test_a_changed_interval_is_said_and_a_removed_policy_is_gone(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("apply", str(file))
    said(capsys)
    text = SITE.replace("interval_s: 30", "interval_s: 60")
    start, end = text.index("policies:"), text.index("alerts:")
    file.write_text(text[:start] + text[end:])
    call_command("apply", str(file))
    assert said(capsys) == ["check journey: interval_s 30 → 60", "policy 1: deleted"]
    assert not Policy.objects.exists()
    assert Check.objects.get().interval_s == 60


def test_a_component_with_an_incident_stays_and_one_without_goes(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("apply", str(file))
    call_command("declare", "Log in fails", "--body", "We look.", "--component", "login")
    file.write_text("page: {name: Follow status}\ncomponents: []\n")
    said(capsys)
    call_command("apply", str(file))
    lines = said(capsys)
    assert "component follow: deleted" in lines
    assert "note: component login: kept, though not in the file: 1 incident refers to it" in lines
    assert list(Component.objects.values_list("slug", flat=True)) == ["login"]


def test_a_wrong_file_changes_nothing(file: Path) -> None:
    file.write_text(SITE.replace("interval_s: 30", "interval_s: fast"))
    with pytest.raises(CommandError, match=r'site.yaml line 11: checks\[0\].interval_s is "fast"'):
        call_command("apply", str(file))
    assert not Component.objects.exists()
    assert not Template.objects.exists()


def test_a_key_is_printed_alone_and_opens_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_key", "--name", "robot")
    (key,) = said(capsys)
    found = keys.find(key, now=timezone.now())
    assert found
    assert found.name == "robot"
    assert key not in found.hash


def test_an_incident_is_declared_updated_and_resolved_from_a_terminal(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("apply", str(file))
    said(capsys)
    call_command("declare", "--template", "down", "--component", "follow")
    (uid,) = said(capsys)
    call_command("update", uid, "--status", "identified", "--body", "Found.")
    call_command("resolve", "newest")
    assert said(capsys) == ["2", "3"]
    incident = Incident.objects.get(uid=uid)
    assert (incident.name, incident.status) == ("Follow is down", Status.RESOLVED)


def test_the_newest_is_the_newest_open_incident_and_no_maintenance() -> None:
    trouble = world.incident()
    services.schedule(
        page=world.page(), name="Works", body="x", scheduled_for=timezone.now() + timedelta(days=1), actor="ann",
        scheduled_until=timezone.now() + timedelta(days=2), now=timezone.now(),
    )  # fmt: skip
    world.incident(status=Status.RESOLVED)
    call_command("resolve", "newest")
    trouble.refresh_from_db()
    assert trouble.status == Status.RESOLVED
    assert Incident.objects.get(name="Works").status == Status.SCHEDULED
    with pytest.raises(CommandError, match="there is no open incident"):
        call_command("resolve", "newest")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["declare", "Down"], "The text is empty", id="no text"),
        pytest.param(
            ["declare", "x", "--body", "y", "--component", "nope"],
            "--component is 'nope'",
            id="no component",
        ),
        pytest.param(["declare", "--template", "nope"], "--template is 'nope'", id="no template"),
        pytest.param(
            ["update", "nope", "--body", "x"], "there is no published incident", id="no incident"
        ),
        pytest.param(
            ["create_location", "Over There"], "NAME is 'Over There'", id="no name of a location"
        ),
    ],
)
def test_a_command_refuses_in_one_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as caught:
        call_command(*arguments)
    assert sentence in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["apply", "--help"], 0, "example:", id="help has an example"),
        pytest.param(["apply"], 2, "FILE", id="wrong use is 2"),
        pytest.param(
            ["apply", "no-such-file.yaml"],
            1,
            "no-such-file.yaml cannot be read",
            id="a failure is 1",
        ),
        pytest.param(
            ["export"], 1, "the database cannot be used", id="a database without tables is 1"
        ),
    ],
)
def test_exit_codes(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'empty'}",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# --- what was changed in the admin since ------------------------------------------------------------------------------


def test_what_was_changed_in_the_admin_is_said_and_kept(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("apply", str(file))
    Component.objects.filter(slug="follow").update(name="Readings of followers")
    Component.objects.create(page=Component.objects.first().page, slug="share", name="Sharing")  # type: ignore[union-attr]  # applied above
    Template.objects.all().update(body="In better words.")
    said(capsys)
    file.write_text(file.read_text().replace("name: Log in, group", "name: Sign in, group"))
    call_command("apply", str(file))
    lines = said(capsys)
    assert lines[0] == 'component login: name "Log in" → "Sign in"'
    assert sum("kept" in line for line in lines) == 3
    assert Component.objects.get(slug="follow").name == "Readings of followers"
    assert Component.objects.filter(slug="share").exists()
    assert Template.objects.get().body == "In better words."
    call_command("apply", str(file), "--overwrite")
    assert Component.objects.get(slug="follow").name == "Readings"
    assert not Component.objects.filter(slug="share").exists()


def test_what_was_deleted_in_the_admin_does_not_come_back_by_itself(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("apply", str(file))
    Policy.objects.all().delete()
    said(capsys)
    call_command("apply", str(file))
    assert "note: policies: changed in the admin since the last apply, kept" in said(capsys)[1]
    assert not Policy.objects.exists()


def test_a_long_text_is_shown_line_by_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("apply", str(file))
    said(capsys)
    file.write_text(file.read_text().replace('body: "We look."', 'body: "We look hard."'))
    call_command("apply", str(file), "--dry-run")
    assert said(capsys)[:3] == [
        "template down: body changed",
        "    - We look.",
        "    + We look hard.",
    ]
    assert Template.objects.get().body == "We look."
