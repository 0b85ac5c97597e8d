"""A backup that was restored sends nothing again."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from notifications import epoch, outbox, sending
from notifications.models import Broadcast, Delivery, Epoch
from tests import world
from tests.notifications.test_outbox import SOON, queue, shown

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _a_folder_of_its_own(settings: Any, tmp_path: Path) -> None:  # pytest-django's own type
    settings.DATA_DIR = tmp_path
    settings.REDIS_URL = "redis://127.0.0.1:1"  # nobody is there: the file alone must do
    epoch._valkey.cache_clear()
    epoch._Asked.at = float("-inf")
    epoch._Unwritten.said = False


def go_back(beats: int) -> None:
    """Put the database back by so many beats; the note outside stays."""
    row = Epoch.objects.get()
    Epoch.objects.update(beats=row.beats - beats)
    epoch._Asked.at = float("-inf")


def test_a_database_that_lives_on_is_not_restored() -> None:
    for _ in range(3):
        epoch.keep()
    assert not epoch.is_restored()
    assert Epoch.objects.get().begun_at is None


def test_a_crash_that_loses_the_last_beat_is_no_restore() -> None:
    for _ in range(3):
        epoch.keep()
    go_back(1)
    assert not epoch.is_restored()


def test_another_installation_with_the_same_folder_is_not_restored() -> None:
    for _ in range(5):
        epoch.keep()
    Epoch.objects.update(uid="another", beats=1)
    epoch._Asked.at = float("-inf")
    assert not epoch.is_restored()


def test_what_waited_in_a_restored_backup_is_never_sent() -> None:
    for n in range(3):
        world.person(address=f"p{n}@family.example")
    queue(world.incident(world.component()))
    unheard = world.incident(world.component())
    shown(unheard)
    for _ in range(5):
        epoch.keep()
    go_back(4)

    assert epoch.is_restored()
    assert sending.drain("email", seconds=5) == 0
    epoch.keep()

    assert not epoch.is_restored()
    assert Epoch.objects.get().begun_at is not None
    outbox.open_entries(SOON)
    outbox.fan_out(SOON)
    outbox.settle_what_is_halted()
    assert outbox.claim("email", rows=10) is None
    assert {each.state for each in Delivery.objects.all()} == {"halted"}
    assert Broadcast.objects.get(incident=unheard).halted_at is not None


def test_what_is_published_after_the_restore_goes_out() -> None:
    world.person()
    for _ in range(5):
        epoch.keep()
    go_back(4)
    epoch.keep()
    assert len(queue(world.incident(world.component()))) == 1
    assert outbox.claim("email", rows=10) is not None


def test_a_note_that_is_broken_counts_for_nothing() -> None:
    epoch.keep()
    path = Path(django_settings.DATA_DIR) / "epoch.json"
    assert json.loads(path.read_text())["beats"] == 1
    path.write_text("{")
    assert not epoch.is_restored()


def test_a_note_that_cannot_be_written_is_said_once(
    settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    settings.DATA_DIR = tmp_path / "file"
    for _ in range(3):
        epoch.keep()
    [said] = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert said.startswith(f"the note of the epoch cannot be written to {settings.DATA_DIR}: ")
    settings.DATA_DIR = tmp_path
    epoch.keep()
    settings.DATA_DIR = tmp_path / "file"
    epoch.keep()
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == [said, said]


def test_a_note_that_is_written_is_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    epoch.keep()
    assert not caplog.messages
