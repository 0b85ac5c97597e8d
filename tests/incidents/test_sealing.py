"""The audit's chain: what was sealed cannot be changed unnoticed, nor at all through the database."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from incidents import chain, sealing, services
from incidents.models import AuditEntry, AuditSeal
from tests import world

pytestmark = pytest.mark.django_db


def entries(count: int) -> None:
    for number in range(count):
        services.audit(
            actor="ann", action="try", subject=str(number), after={"n": number}, now=world.NOW
        )


def lift_triggers() -> None:
    """Do what only the database's owner can: tamper."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE incidents_auditentry DISABLE TRIGGER ALL")
            cursor.execute("ALTER TABLE incidents_auditseal DISABLE TRIGGER ALL")
        else:
            for table in ("audit", "seal"):
                for verb in ("update", "delete"):
                    cursor.execute(f"DROP TRIGGER incidents_{table}_{verb}")


def test_each_link_stands_on_the_one_before_it() -> None:
    entries(3)
    assert sealing.seal() == 3
    entries(2)
    assert sealing.seal() == 2
    links = list(AuditSeal.objects.order_by("position"))
    assert [link.position for link in links] == [1, 2, 3, 4, 5]
    assert [link.previous for link in links] == [chain.FIRST, *(link.hash for link in links[:-1])]
    found = sealing.verify(now=world.NOW)
    assert (found.links, found.unsealed, found.fault) == (5, 0, "")


def test_what_is_not_sealed_yet_is_counted_and_after_ten_seconds_is_a_fault() -> None:
    entries(1)
    assert sealing.verify(now=world.NOW).unsealed == 1
    assert not sealing.verify(now=world.NOW).fault
    assert "does the clock run" in sealing.verify(now=world.NOW + timedelta(seconds=11)).fault


@pytest.mark.parametrize(
    "verb", ["UPDATE incidents_auditseal SET hash = 'x'", "DELETE FROM incidents_auditseal"]
)
def test_the_database_refuses_to_change_a_seal(verb: str) -> None:
    entries(1)
    sealing.seal()
    with (
        pytest.raises(DatabaseError, match="never changed"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(verb)
    assert AuditSeal.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="its triggers are dropped for every test that commits"
)
def test_a_tampered_entry_and_a_missing_link_are_named() -> None:
    entries(3)
    sealing.seal()
    lift_triggers()
    try:
        AuditEntry.objects.filter(subject="1").update(actor="mallory")
        assert "link 2" in sealing.verify(now=world.NOW).fault
        AuditEntry.objects.filter(subject="1").update(actor="ann")
        assert not sealing.verify(now=world.NOW).fault
        AuditSeal.objects.filter(position=2).delete()
        assert "link 2 is missing" in sealing.verify(now=world.NOW).fault
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE incidents_auditentry ENABLE TRIGGER ALL")
            cursor.execute("ALTER TABLE incidents_auditseal ENABLE TRIGGER ALL")
