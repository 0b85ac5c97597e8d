"""The cast of a measurement: subscribers by the hundred thousand, an incident, what the ledger says. In a process of its own."""

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.models import Model

    from notifications.messages import Notice

FANNED_OUT_S = 300.0
SUBJECT = "Followers may not receive readings: check the wearer directly"
BODY = (
    "We see that readings do not reach followers since 01:12 EST. We are looking for the cause. "
    * 4
)
TO_DO = (
    "Check the wearer directly, by phone or in person. Keep the receiver within six metres. " * 2
)


def words() -> dict[str, str]:
    """Return subject, text and HTML of a mail like ours."""
    from notifications.channels import _mail

    text, html = _mail.bodies(_notice(), _mail.Foot("M", "U"), _mail.Foot("M", "U"))
    return {"subject": SUBJECT, "text": text, "html": html}


def ready_bytes() -> bytes:
    """Return a mail like ours as it goes over the wire, without the final dot."""
    from notifications.channels import Recipient, _mail

    link = "https://status.follow.example/unsubscribe/" + "x" * 36
    form = _mail.form(_notice(), "status@follow.example", manage=True, unsubscribe=True)
    person = Recipient("1", "s1@family.example", link, link)
    return form.filled("s1@family.example", "id@follow.example", person)[:-5]


def _notice() -> "Notice":
    from notifications.messages import Notice

    return Notice(
        kind="update",
        thread="incident",
        sequence=1,
        subject=SUBJECT,
        title=SUBJECT,
        state="Not working: Follow. We are investigating.",
        body=BODY,
        what_to_do=TO_DO,
        next_update_by="02:30 EST (07:30 UTC)",
        url="https://status.follow.example/incidents/abcdef",
        language="en",
        sender="Follow status",
        short="",
        published_at=datetime(2026, 11, 30, 6, 12, tzinfo=UTC),
        headline=SUBJECT,
    )


def fill(people: dict[str, int]) -> None:
    """COPY so many subscribers of each channel, confirmed, for every component."""
    from django.db import connection

    from subscribers.models import Subscriber, Subscription

    first = _newest() + 1
    now = datetime.now(UTC)
    numbers = range(first, first + sum(people.values()))
    _copy(Subscriber, ({"id": number, "uid": f"u{number:011d}"} for number in numbers))
    _copy(Subscription, _rows(people, first, now))
    with connection.cursor() as cursor:
        for table in ("subscriber", "subscription"):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('subscribers_{table}', 'id'), max(id)) FROM subscribers_{table}"
            )
        cursor.execute("ANALYZE subscribers_subscription")


def _copy(model: "type[Model]", rows: Iterator[dict[str, object]]) -> None:
    """COPY rows; what a row leaves out is as the model has it by default."""
    from django.db import connection

    usual = {
        str(field.column): field.get_default()
        for field in model._meta.local_concrete_fields
        if not field.primary_key
    }
    first = next(rows)
    columns = list(usual | first)
    connection.ensure_connection()
    with (
        connection.connection.cursor() as cursor,
        cursor.copy(f"COPY {model._meta.db_table} ({', '.join(columns)}) FROM STDIN") as copy,
    ):
        for row in chain([first], rows):
            whole = usual | row
            copy.write_row([whole[column] for column in columns])


def _rows(people: dict[str, int], first: int, now: datetime) -> Iterator[dict[str, object]]:
    from django.conf import settings

    from subscribers import addresses

    number = first
    for channel, count in people.items():
        kind = settings.CHANNELS[channel][1]
        for _ in range(count):
            address = f"s{number}@family.example" if kind == "email" else f"+1{number:010d}"
            yield {
                "id": number,
                "subscriber_id": number,
                "uid": f"p{number:011d}",
                "channel": channel,
                "address_sealed": addresses.seal(address, settings.FIELD_KEYS),
                "address_hash": addresses.address_hash(kind, address, settings.SECRET_KEY),
                "state": "active",
                "wake_me": channel == "voice",
                "source": "bench",
                "created_at": now,
                "confirmed_at": now,
            }
            number += 1


def _newest() -> int:
    from subscribers.models import Subscriber

    return Subscriber.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def groups(number: int) -> None:
    """Let everybody follow one of `number` components instead of all."""
    from django.db import connection

    from incidents import reads, services

    now = datetime.now(UTC)
    for index in range(number):
        component = services.add_component(
            page=reads.the_page(), slug=f"group-{index}", name=f"Group {index}", actor="bench", now=now, critical=True,
        )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO subscribers_subscription_components (subscription_id, component_id) "
                "SELECT id, %s FROM subscribers_subscription WHERE id %% %s = %s",
                [component.pk, number, index],
            )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE subscribers_subscription SET every_component = false")
        cursor.execute("VACUUM ANALYZE subscribers_subscription")
        cursor.execute("ANALYZE subscribers_subscription_components")


def publish(name: str, *, wait: bool = True, slug: str = "follow") -> float:
    """Declare an incident that hurts a critical component; return the seconds until everybody is queued."""
    from incidents import reads, services
    from incidents.lifecycle import ComponentStatus
    from incidents.models import Component
    from notifications.models import Broadcast

    now = datetime.now(UTC)
    page = reads.the_page()
    component = Component.objects.filter(slug=slug).first() or services.add_component(
        page=page, slug=slug, name="Follow", actor="bench", now=now, critical=True
    )
    started = time.time()
    incident = services.declare(
        page=page,
        name=name,
        body=BODY,
        what_to_do=TO_DO,
        actor="bench",
        components={component: ComponentStatus.MAJOR_OUTAGE},
        now=datetime.now(UTC),
    )
    while wait and time.time() - started < FANNED_OUT_S:
        if Broadcast.objects.filter(incident=incident, fanned_out_at__isnull=False).exists():
            break
        time.sleep(0.05)
    return time.time() - started


MARK_ROWS = 100_000  # rates are told of the first and of the last so many


def million() -> dict[str, object]:
    """Queue an incident for everybody by the line's own verbs, and again by one bare statement into a table like ours."""
    import psutil

    from notifications import fanning, outbox
    from notifications.models import Broadcast, Delivery

    publish("A million", wait=False)
    now = datetime.now(UTC)
    outbox.open_entries(now + outbox_wait())
    broadcast = Broadcast.objects.get()
    stamps: list[tuple[int, float]] = [(0, time.perf_counter())]
    rows = 0
    sizes = []
    while (chunk := fanning.queue_chunk(broadcast.pk, now)) is not None:
        rows += chunk.rows
        stamps.append((rows, time.perf_counter()))
        sizes.append(psutil.Process().memory_info().rss)
    took = stamps[-1][1] - stamps[0][1]
    bare = _bare(Delivery._meta.db_table)
    first, last = _rate(stamps, 0, MARK_ROWS), _rate(stamps, rows - MARK_ROWS, rows)
    return {
        "rows": rows,
        "seconds": round(took, 1),
        "rows_per_s": round(rows / took),
        "bare_rows_per_s": round(rows / bare),
        "ratio_to_bare": round(bare / took, 2),
        "first_100k_per_s": round(first),
        "last_100k_per_s": round(last),
        "last_to_first": round(last / first, 2),
        "memory_mb": [round(sizes[0] / 1e6), round(max(sizes) / 1e6)],
    }


def outbox_wait() -> timedelta:
    from notifications.opening import SHOWN_WITHIN

    return SHOWN_WITHIN * 2  # there is no page here that would show it first


def _rate(stamps: list[tuple[int, float]], start: int, end: int) -> float:
    begin = max(at for at in stamps if at[0] <= max(start, 0))
    finish = min(at for at in stamps if at[0] >= end)
    return (finish[0] - begin[0]) / (finish[1] - begin[1])


def _bare(table: str) -> float:
    """Return the seconds of one INSERT … SELECT of the same rows, with the same indexes, constraints and foreign keys."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE bare (LIKE {table} INCLUDING ALL)")
        for column, other in (
            ("broadcast", "notifications_broadcast"),
            ("subscription", "subscribers_subscription"),
        ):
            cursor.execute(
                f"ALTER TABLE bare ADD FOREIGN KEY ({column}_id) REFERENCES {other} DEFERRABLE INITIALLY DEFERRED"
            )
        started = time.perf_counter()
        cursor.execute(
            """INSERT INTO bare (broadcast_id, subscription_id, channel, urgent, lane, state, attempts, maybe_sent, due_at,
            lease, provider, provider_id, why) SELECT (SELECT max(id) FROM notifications_broadcast), id, channel, true, 1,
            'pending', 0, false, now(), '', '', '', '' FROM subscribers_subscription WHERE state = 'active'"""
        )
        took = time.perf_counter() - started
        cursor.execute("DROP TABLE bare")
    return took


def low() -> dict[str, int]:
    """Make all that waits low in priority."""
    from notifications.models import Delivery, Lane

    waiting = Delivery.objects.filter(state="pending")
    return {"rows": waiting.update(lane=Lane.BULK, urgent=False)}


def states() -> dict[str, int]:
    from django.db.models import Count

    from notifications.models import Delivery

    found = Delivery.objects.values_list("state").annotate(number=Count("pk"))
    return dict(found)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")
    import django

    django.setup()
    match sys.argv[1:]:
        case ["fill", *people]:
            fill({channel: int(number) for channel, number in (word.split("=") for word in people)})
        case ["publish", name]:
            print(publish(name))
        case ["groups", number]:
            groups(int(number))
        case ["publish", name, "at once", *slug]:
            took = publish(name, wait=False, slug=slug[0] if slug else "follow")
            print(json.dumps({"at": time.time() - took, "took_s": took}))
        case ["million"]:
            print(json.dumps(million()))
        case ["low"]:
            print(json.dumps(low()))
        case ["states"]:
            print(json.dumps(states()))
        case ["database", name]:
            from django.db import connection

            with connection.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{name}"')
        case _:
            raise SystemExit("fanout_cast: fill, publish, states or database was expected")


if __name__ == "__main__":
    main()
