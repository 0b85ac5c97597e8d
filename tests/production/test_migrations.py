"""Tables that grow get their indexes, and what their rows must be is looked at, while people write."""

import importlib
import pkgutil

import pytest
from django.db import connection, migrations
from django.db.backends.postgresql.base import DatabaseWrapper

from incidents.online import (
    GROWN,
    AddCheckOnline,
    AddFieldOnline,
    AddIndexOnline,
    DropFieldIndexOnline,
    ReplaceUniqueOnline,
)
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
ONLINE = (
    AddIndexOnline, ReplaceUniqueOnline, AddFieldOnline, AddCheckOnline, DropFieldIndexOnline,
)  # fmt: skip


@pytest.mark.parametrize(("name", "migration"), LATER, ids=[name for name, _ in LATER])
def test_nothing_that_reads_a_grown_table_keeps_writers_out(
    name: str, migration: migrations.Migration
) -> None:
    wrong = []
    for operation in migration.operations:
        if isinstance(operation, ONLINE):
            assert migration.atomic is False, f"{name}: online needs atomic = False"
            continue
        # A check constraint reads every row; so do a column that has one, as positive numbers have, and a key made anew.
        reads = isinstance(
            operation, migrations.AddIndex | migrations.AddConstraint | migrations.AlterField
        ) or (
            isinstance(operation, migrations.AddField)
            and operation.field.get_internal_type() in DatabaseWrapper.data_type_check_constraints
        )
        if reads and str(getattr(operation, "model_name", "")).lower() in GROWN:
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


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("table", "name", "condition"),
    [
        ("notifications_delivery", "notifications_delivery_lane_check", "lane >= 0"),
        ("probes_rollup", "probes_rollup_first_told_check", "first_told >= 0"),
        ("subscribers_subscriber", "subscribers_subscriber_wake_test_hour_check", "wake_test_hour >= 0"),
        ("subscribers_subscriber", "quiet_has_two_ends", "quiet_from IS NULL"),
    ],
)  # fmt: skip
def test_what_was_looked_at_online_is_there_and_holds_for_every_row(
    table: str, name: str, condition: str
) -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT convalidated, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND conname = %s", [table, name],
        )  # fmt: skip
        (found,) = cursor.fetchall()
    assert found[0] is True
    assert condition in found[1]


@pytest.mark.django_db
def test_a_key_without_an_index_of_its_own_is_still_a_key() -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT confrelid::regclass::text, convalidated FROM pg_constraint "
            "WHERE conrelid = 'probes_result'::regclass AND contype = 'f' ORDER BY 1"
        )
        keys = cursor.fetchall()
        cursor.execute(
            "SELECT count(*) FROM pg_index WHERE indrelid = 'probes_result'::regclass AND indnatts = 1 "
            "AND NOT indisprimary AND indpred IS NULL"
        )
        (indexes,) = cursor.fetchone()
    assert keys == [("probes_check", True), ("probes_location", True)]
    assert indexes == 0
