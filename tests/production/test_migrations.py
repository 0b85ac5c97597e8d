"""Tables that grow get their indexes while people write."""

import importlib
import pkgutil

import pytest
from django.db import connection, migrations, models

from incidents.online import GROWN, AddIndexOnline, ReplaceUniqueOnline
from statuspage.schema import ROOMS


def _later() -> list[tuple[str, migrations.Migration]]:
    """Return every migration of ours but the first of each room."""
    found = []
    for room in ROOMS:
        package = importlib.import_module(f"{room}.migrations")
        for each in pkgutil.iter_modules(package.__path__):
            if each.name[0].isdigit() and not each.name.startswith("0001"):
                module = importlib.import_module(f"{room}.migrations.{each.name}")
                found.append((f"{room}.{each.name}", module.Migration(each.name, room)))
    return found


LATER = _later()


@pytest.mark.parametrize(("name", "migration"), LATER, ids=[name for name, _ in LATER])
def test_no_index_on_a_grown_table_keeps_writers_out(
    name: str, migration: migrations.Migration
) -> None:
    wrong = []
    for operation in migration.operations:
        if isinstance(operation, AddIndexOnline | ReplaceUniqueOnline):
            assert migration.atomic is False, f"{name}: online needs atomic = False"
            continue
        is_index = isinstance(operation, migrations.AddIndex) or (
            isinstance(operation, migrations.AddConstraint)
            and isinstance(operation.constraint, models.UniqueConstraint)
        )
        if is_index and str(getattr(operation, "model_name", "")).lower() in GROWN:
            wrong.append(operation.describe())
    assert wrong == []


@pytest.mark.django_db
def test_what_was_built_online_is_there_and_valid() -> None:
    if connection.vendor != "postgresql":
        return  # plain operations there; makemigrations --check holds them to the models
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, i.indisvalid, i.indisunique, pg_get_indexdef(c.oid) FROM pg_index i "
            "JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE c.relname IN ('result_counts_once', 'result_to_forget', 'delivery_in_line')"
        )
        found = {name: (valid, unique, text) for name, valid, unique, text in cursor.fetchall()}
    assert sorted(found) == ["delivery_in_line", "result_counts_once", "result_to_forget"]
    assert all(valid for valid, _, _ in found.values())
    assert found["result_counts_once"][1] is True
    assert "(location_id, sequence, of_check_id)" in found["result_counts_once"][2]
