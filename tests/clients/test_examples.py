"""The examples of docs/reference.md, copied and pasted: only address and key are others."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from desk.models import IntakeAlert
from incidents.lifecycle import Status
from incidents.models import AuditEntry, Incident
from tests.clients.conftest import House

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).resolve().parents[2]
WHOLE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
SECTION = WHOLE.partition("## Management API")[2].partition("\n## ")[0]
EXAMPLES = re.findall(r"```(sh|python)\n(.*?)```", SECTION, flags=re.DOTALL)


def paste(number: int, house: House, folder: Path) -> str:
    """Run an example as somebody would who has just copied it; return what it printed."""
    language, text = EXAMPLES[number]
    text = text.replace("https://status.example.org", house.url)
    text = re.sub(r"\bKEY\b", house.key, text)
    file = folder / "example"
    file.write_text(text, encoding="utf-8")
    command = ["sh", "-eu", str(file)] if language == "sh" else [sys.executable, str(file)]
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_examples_of_each_language() -> None:
    assert [language for language, _ in EXAMPLES] == ["sh", "python", "sh"]


@pytest.mark.parametrize("number", [0, 1], ids=["curl", "python"])
def test_an_incident_is_declared_and_resolved_as_shown(
    house: House, tmp_path: Path, number: int
) -> None:
    paste(number, house, tmp_path)
    incident = Incident.objects.get()
    assert (incident.name, incident.status) == ("Readings are late", Status.RESOLVED)
    said = incident.updates.order_by("number").values_list("body", flat=True)
    assert list(said) == ["We are looking.", "Readings arrive again."]
    assert {entry.actor for entry in AuditEntry.objects.all()} == {"api:stranger"}


def test_an_alert_is_handed_in_as_shown(house: House, tmp_path: Path) -> None:
    assert '"new": 1' in paste(2, house, tmp_path)
    assert IntakeAlert.objects.get().summary == "Followers see nothing"
