"""Moving out: everything, in two forms that agree, and nothing secret."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.utils import timezone

from desk import keys, moving_out
from desk.models import ApiKey
from incidents import services
from incidents.lifecycle import Status
from probes.models import Location
from subscribers.models import Subscriber, Subscription
from tests import world

pytestmark = pytest.mark.django_db
SECRET = "a1b2c3d4" * 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation's whole, written out."""
    follow, login = world.component("follow"), world.component("login")
    incident = world.incident(follow, name="=HYPERLINK(1)", body='Früh, "quoted",\nand long.')
    services.publish_update(
        incident, status=Status.RESOLVED, body="Over.", actor="ann", now=world.NOW
    )
    world.person(address="parent@family.example", only=login)
    world.person("sms", "+12065550100")
    keys.create(name="robot", scopes=[], now=timezone.now())
    Location.objects.create(name="far", token_hash=SECRET)
    call_command("move_out", str(tmp_path / "out"))
    return tmp_path / "out"


def test_each_table_is_there_whole_in_both_forms(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for model in moving_out._models():
        name = model._meta.db_table
        rows = json.loads((folder / "tables" / f"{name}.json").read_text())
        with (folder / "tables" / f"{name}.csv").open(newline="") as text:
            table = list(csv.DictReader(text))
        assert len(rows) == len(table) == manifest["tables"][name] == model._base_manager.count()
        for row, cells in zip(rows, table, strict=True):
            assert list(row) == list(cells)
            assert [moving_out._cell(value) for value in row.values()] == list(cells.values())
    (incident,) = json.loads((folder / "tables/incidents_incident.json").read_text())
    assert incident["name"] == "=HYPERLINK(1)"
    assert "'=HYPERLINK(1)" in (folder / "tables/incidents_incident.csv").read_text()


def test_nothing_is_forgotten_but_what_is_named(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    ours = {
        model._meta.label_lower: model._meta.db_table
        for room in moving_out.ROOMS
        for model in apps.get_app_config(room).get_models(include_auto_created=True)
    }
    assert {name for name, table in ours.items() if table not in manifest["tables"]} == set(
        manifest["left_out"]
    )


def test_no_secret_is_in_it_and_only_its_owner_may_read_it(folder: Path) -> None:
    whole = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"parent@family.example" in whole
    assert SECRET.encode() not in whole
    assert ApiKey.objects.get().hash.encode() not in whole
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_manifest_has_the_hash_of_every_file(folder: Path) -> None:
    said = json.loads((folder / "manifest.json").read_text())["sha256"]
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    del files["manifest.json"]
    assert said == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    }


def test_the_people_come_in_again_by_their_list(folder: Path) -> None:
    before = {
        (row.channel, row.address_hash, row.every_component) for row in Subscription.objects.all()
    }
    Subscriber.objects.all().delete()
    call_command("import_subscribers", str(folder / "subscribers.csv"))
    after = {
        (row.channel, row.address_hash, row.every_component) for row in Subscription.objects.all()
    }
    assert after == before
    assert not Subscription.objects.exclude(state="active").exists()


def test_what_is_there_is_not_written_over(folder: Path, tmp_path: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(CommandError, match="is there already; expected a name that is free"):
        call_command("move_out", str(folder))
    assert (folder / "manifest.json").read_bytes() == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(CommandError, match="cannot be written: "):
        call_command("move_out", str(tmp_path / "file" / "below"))
