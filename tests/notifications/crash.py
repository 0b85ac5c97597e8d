"""A worker's life in a process of its own, for tests that kill it: queue, drain, recover, count."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")

import django

django.setup()

from django.core.management import call_command
from django.db.models import Count

from incidents import services
from notifications import outbox, sending
from notifications.models import Delivery
from subscribers import services as people
from subscribers.services import Incoming
from tests import world


def queue(number: int) -> None:
    """Bring people in, declare an incident and fan it out."""
    call_command("migrate", interactive=False, verbosity=0)
    now = datetime.now(UTC)
    rows = (
        Incoming(
            channel="email",
            address=f"p{n}@family.example",
            consent_source="list",
            consent_at=now - timedelta(days=1),
        )
        for n in range(number)
    )
    people.bring_in(rows, source="test", now=now)
    incident = world.incident(world.component(), now=now)
    services.mark_shown(list(incident.updates.values_list("pk", flat=True)), now=now)
    outbox.open_entries(now)
    outbox.fan_out(now)


def recover() -> None:
    """Let the dead worker's lease lapse, and wait no longer for what is unknown; then send the rest."""
    Delivery.objects.filter(lease_until__isnull=False).update(
        lease_until=outbox.database_now() - timedelta(seconds=1)
    )
    outbox.sweep_leases()
    Delivery.objects.filter(state="pending").update(due_at=outbox.database_now())
    sending.drain("email", seconds=60)


def count() -> None:
    states = Delivery.objects.values_list("state").annotate(n=Count("pk"))
    print(json.dumps(dict(states)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["queue", number]:
            queue(int(number))
        case ["drain"]:
            sending.drain("email", seconds=60)
        case ["recover"]:
            recover()
        case ["count"]:
            count()
