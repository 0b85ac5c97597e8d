"""Tables that grow get their indexes, and what their rows must be is looked at, while people write."""

import importlib
import pkgutil
import uuid
from collections.abc import Iterator

import pytest
from django.db import connection, connections, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from pytest_django.plugin import DjangoDbBlocker

from incidents.online import GROWN, OnlineMigration, OnlineOperation
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
def test_nothing_that_reads_a_grown_table_keeps_writers_out(
    name: str, migration: migrations.Migration
) -> None:
    wrong = []
    for operation in migration.operations:
        if isinstance(operation, OnlineOperation):
            assert isinstance(migration, OnlineMigration), f"{name} is no OnlineMigration"
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


@pytest.fixture
def empty(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[BaseDatabaseWrapper]:
    """Another database on the same server, with nothing in it."""
    if connection.vendor != "postgresql":
        pytest.skip("plain operations there, each migration in one transaction")
    name = f"cut_{uuid.uuid4().hex}"
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        other = connection.copy("cut")
        other.settings_dict = {**other.settings_dict, "NAME": name}
        connections["cut"] = other
        try:
            yield other
        finally:
            other.close()
            del connections["cut"]
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {name}")


def _schema(database: BaseDatabaseWrapper) -> set[str]:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT concat_ws(' ', indrelid::regclass, indexrelid::regclass, indisvalid, indkey) FROM pg_index "
            "WHERE indexrelid::regclass::text NOT LIKE 'pg_toast.%' UNION ALL "
            "SELECT concat_ws(' ', conrelid::regclass, conname, convalidated, conkey) FROM pg_constraint UNION ALL "
            "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) "
            "FROM information_schema.columns WHERE table_schema = 'public'"
        )
        return {text for (text,) in cursor.fetchall()}


@pytest.mark.slow
def test_a_migration_that_is_cut_off_between_two_steps_goes_on_where_it_was(
    empty: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = MigrationExecutor(empty)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    cuts = 0
    for migration, _ in plan:
        steps = migration.operations if isinstance(migration, OnlineMigration) else []
        # Behind the last cut every other step is there already, and must be seen to be.
        for operation in {
            id(step): step for step in [*steps[len(steps) // 2 :][:1], *steps[-1:]]
        }.values():
            with monkeypatch.context() as patch:
                patch.setattr(operation, "database_forwards", _cut)
                with pytest.raises(InterruptedError):
                    MigrationExecutor(empty).migrate([(migration.app_label, migration.name)])
            cuts += 1
        executor = MigrationExecutor(empty)
        executor.migrate([(migration.app_label, migration.name)])
    assert cuts > 6
    assert _schema(empty) == _schema(connection)


def _cut(*_: object) -> None:
    raise InterruptedError
