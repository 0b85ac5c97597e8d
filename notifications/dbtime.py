"""The database's clock: leases must not depend on a worker's."""

from datetime import UTC, datetime

from django.db import connection


def database_now() -> datetime:
    """Return the time as the database has it."""
    if connection.vendor == "sqlite":
        return datetime.now(UTC)  # an embedded database has its host's clock
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment
