"""Twilio's callbacks against gunicorn and PostgreSQL: answered in time at 200 a second, nothing lost at 1,000 offered.

Starts its own servers; open loop, signed as Twilio signs, 30 % doubled or out of order. Prints one JSON object.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from benchmarks.probes_stage import free_port
from benchmarks.stage import ROOT

CALM_PER_S, CALM_S = 200, 60
STORM_PER_S, STORM_S = 1_000, 15
SHARE_DISTURBED = 0.3
CONNECTIONS = 256
TIMEOUT_S = 30.0
WORDS = ("queued", "sent", "delivered")


@dataclass(slots=True)
class Heard:
    """What the load saw."""

    waits_s: list[float] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)  # deliveries whose last word was answered 2xx
    offered: int = 0
    answered: int = 0
    refused: int = 0


def run() -> dict[str, Any]:  # Any: figures of several types
    import tests.servers  # noqa: F401  # starts PostgreSQL and Valkey, and says so in the environment

    port = free_port()
    os.environ["SITE_URL"] = f"http://127.0.0.1:{port}"
    os.environ["ALLOWED_HOSTS"] = "127.0.0.1"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    rounds = ((CALM_PER_S, CALM_S), (STORM_PER_S, STORM_S))
    pks = _deliveries(sum(per_s * seconds for per_s, seconds in rounds) // len(WORDS))
    web = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--bind",
            f"127.0.0.1:{port}",
            *_as_serve(),
            "statuspage.wsgi",
        ],
        cwd=ROOT,
    )
    try:
        _await(port)
        figures: dict[str, Any] = {}
        for name, (per_s, seconds) in zip(("calm", "storm"), rounds, strict=True):
            mine = [pks.pop() for _ in range(per_s * seconds // len(WORDS))]
            heard = asyncio.run(_load(mine, per_s))
            figures |= {f"{name}_{key}": value for key, value in _figures(heard).items()}
        return figures
    finally:
        web.terminate()
        web.wait(30)


def _as_serve() -> list[str]:
    from statuspage.supervisor import _GUNICORN

    return list(_GUNICORN)


def _deliveries(count: int) -> list[int]:
    """Make so many texts that Twilio took."""
    from django.conf import settings

    from incidents import reads, services
    from notifications import outbox
    from notifications.models import Delivery
    from subscribers import addresses
    from subscribers.models import State, Subscriber, Subscription

    now = datetime.now(UTC)
    persons = Subscriber.objects.bulk_create([Subscriber() for _ in range(count)], batch_size=1000)
    Subscription.objects.bulk_create(
        [
            Subscription(
                subscriber=person, channel="sms", state=State.ACTIVE, confirmed_at=now, address_sealed=b"x",
                address_hash=addresses.address_hash("phone", f"+1212{number:07d}", settings.SECRET_KEY),
            )
            for number, person in enumerate(persons)
        ],
        batch_size=1000,
    )  # fmt: skip
    incident = services.declare(
        page=reads.the_page(), name="Down", body="We look.", actor="bench", now=now
    )
    services.mark_shown(list(incident.updates.values_list("pk", flat=True)), now=now)
    outbox.open_entries(now)
    while outbox.fan_out(now) or outbox.has_more():
        pass
    Delivery.objects.filter(channel="sms").update(state="accepted", accepted_at=now, attempts=1)
    return list(Delivery.objects.filter(channel="sms").values_list("pk", flat=True))


async def _load(pks: list[int], per_s: int) -> Heard:
    """Offer every word of every delivery at a steady rate, whether or not earlier ones were answered."""
    heard = Heard()
    plan = _plan(pks)
    connector = TCPConnector(limit=CONNECTIONS)
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=TIMEOUT_S)) as client:
        started = time.perf_counter()
        tasks = []
        for number, (pk, word) in enumerate(plan):
            wait_s = started + number / per_s - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            tasks.append(asyncio.create_task(_post(client, pk, word, heard)))
        await asyncio.gather(*tasks)
    return heard


def _plan(pks: list[int]) -> list[tuple[int, str]]:
    """Return (delivery, word): in order for most; a word in three comes twice, early or late."""
    dice = random.Random(5)
    plan = [(pk, word) for pk in pks for word in WORDS]
    for _ in range(int(len(plan) * SHARE_DISTURBED)):
        one, other = dice.randrange(len(plan)), dice.randrange(len(plan))
        if dice.random() < 0.5:
            plan[one], plan[other] = plan[other], plan[one]
        else:
            plan.insert(other, plan[one])
    return plan[: len(pks) * len(WORDS)]


async def _post(client: ClientSession, pk: int, word: str, heard: Heard) -> None:
    url, form, signature = _signed(pk, word)
    heard.offered += 1
    started = time.perf_counter()
    try:
        async with client.post(url, data=form, headers={"X-Twilio-Signature": signature}) as answer:
            await answer.read()
            good = 200 <= answer.status < 300
    except (ClientError, TimeoutError, OSError):
        good = False
    heard.waits_s.append(time.perf_counter() - started)
    heard.answered += good
    heard.refused += not good
    if good and word == "delivered":
        heard.taken.add(pk)


def _signed(pk: int, word: str) -> tuple[str, dict[str, str], str]:
    from django.conf import settings
    from twilio.request_validator import RequestValidator

    from subscribers import addresses

    token = addresses.link_token("receipt", f"{pk}.1", settings.SECRET_KEY)
    url = f"{settings.SITE_URL}/receipts/twilio/{token}"
    form = {
        "MessageSid": f"SM{pk:032d}",
        "MessageStatus": word,
        "To": "+12125550100",
        "From": "+15005550006",
    }
    return (
        url,
        form,
        RequestValidator(settings.ENVIRON.raw["TWILIO_AUTH_TOKEN"]).compute_signature(url, form),
    )


def _figures(heard: Heard) -> dict[str, Any]:
    from notifications.models import Delivery

    waits = sorted(heard.waits_s)
    right = set(
        Delivery.objects.filter(pk__in=heard.taken, state="delivered").values_list("pk", flat=True)
    )
    return {
        "offered": heard.offered,
        "answered": heard.answered,
        "refused": heard.refused,
        "lost": len(heard.taken - right),
        "p50_ms": round(waits[len(waits) // 2] * 1000, 1),
        "p99_ms": round(waits[int(len(waits) * 0.99) - 1] * 1000, 1),
    }


def _await(port: int) -> None:
    import socket

    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("gunicorn did not start")


def main() -> int:
    print(json.dumps(run()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
