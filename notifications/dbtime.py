"""The database's clock, and its patience with us: leases must not depend on a worker's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import connection, models
from django.db.backends.signals import connection_created

# A process that is frozen in the middle of a transaction keeps its locks: PostgreSQL ends it well before a lease does (60 s).
IDLE_IN_TRANSACTION_S = 30.0
Row = TypeVar("Row", bound=models.Model)


def database_now() -> datetime:
    """Return the time as the database has it."""
    if connection.vendor == "sqlite":
        return datetime.now(UTC)  # an embedded database has its host's clock
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def by_index_only() -> None:
    """Let PostgreSQL find rows by an index for the rest of this transaction.

    Where few rows are wanted of a table that has just grown, it has no statistics yet and would read all of it.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")


def by_ids(rows: models.QuerySet[Row], ids: Sequence[int]) -> models.QuerySet[Row]:
    """Return the rows of these ids: on PostgreSQL by one array, as hundreds of parameters take longer to say than to find."""
    if connection.vendor == "postgresql":
        column = f"{connection.ops.quote_name(rows.model._meta.db_table)}.id"
        return rows.extra(where=[f"{column} = ANY(%s)"], params=[list(ids)])
    return rows.filter(pk__in=ids)


def bound_transactions() -> None:
    """Let PostgreSQL end every transaction of this process that stands still for IDLE_IN_TRANSACTION_S."""
    connection_created.connect(_bound)


def _bound(connection: Any, **_: object) -> None:  # Any: a wrapper of any database
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            milliseconds = str(int(IDLE_IN_TRANSACTION_S * 1000))
            cursor.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, false)",
                [milliseconds],
            )
