"""R16, R17, R21: poisonous and dead addresses, and people who leave and come during the fan-out."""

import random
import time
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from django.db import connection

from demo.pages import ask
from subscribers import services
from subscribers.models import Subscription
from subscribers.services import Incoming
from tests import world
from tests.faults import history
from tests.faults.checker import Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
POISON = {
    "line break": "a\r\nBcc: victim@evil.example\r\n@family.example",
    "envelope": "a@family.example>\r\nRCPT TO:<victim@evil.example",
    "NUL": "a\x00b@family.example",
    "10 kB": "a" * 10_000 + "@family.example",
    "right to left": "\u202eparent\u202c@family.example",
    "emoji": "😀@family.example",
    "no address": "@",
}
NAME = "Login is down\r\nBcc: victim@evil.example"
DEAD = 0.1
SLOW_S = 0.02  # a fan-out to 800 over two connections lasts eight seconds
LEAVING = 200
JOINING = 100


def poisoned(house: House) -> Verdict:
    """Addresses and a name that no form takes, as an old import may have left them."""
    for address in POISON.values():
        world.person(address=address)
    house.start_line("clock", "worker-email")
    house.declare(name=NAME, body="Dear {reader},\r\n.\r\nQUIT %s {{ secret }} \u202etxet")
    house.await_settled()
    seen = history.of(house)
    verdict = judge(seen)
    ends = {one.address: one.state for one in seen.intents if one.address in POISON.values()}
    if set(ends.values()) != {"refused"} or len(ends) != len(POISON):
        verdict.broken.append(f"R16 poison ended as {sorted(set(ends.values()))}")
    for light in house.mailbox.store.newest_first(5_000):
        whole = house.mailbox.store.whole(light.number)
        head = whole.raw.partition(b"\r\n\r\n")[0].lower() if whole else b""
        if b"\nbcc:" in head or len(light.to) != 1 or "evil" in light.to[0]:
            verdict.broken.append("R16 an address or a name made a header of its own")
            break
    return verdict


def a_tenth_dead(house: House) -> Verdict:
    """A mail server knows none of every tenth address; a second update does not go there again."""
    number = int(house.cast["email"] * DEAD)
    house.start_line("clock", "worker-email")
    house.mailbox.put_faults({"shape": "550", "address": "p*0@family.example"})
    house.declare()
    house.await_settled()
    # Past the 5 s in which I4 forgives a send that was under way.
    time.sleep(5.5)
    house.declare(name="Again")
    house.await_settled()
    verdict = judge(history.of(house))
    answer = ask("GET", f"{house.mailbox.url}/faults").json
    assert isinstance(answer, dict)
    asked = answer["struck"]["smtp"]
    if asked != number:
        verdict.broken.append(f"R17 {number} dead addresses were tried {asked} times")
    return verdict


def leaving_and_joining(house: House, *, seed: int = 7) -> Verdict:
    """People unsubscribe and subscribe while the fan-out runs: who leaves hears nothing, who joins the next update."""
    house.slow_mail(SLOW_S)
    house.start_line("clock", "worker-email")
    house.declare()
    until(lambda: house.mails > 0, "mail on its way")
    storm = Thread(target=_storm, args=(random.Random(seed),))
    storm.start()
    house.await_settled()
    storm.join()
    house.mailbox.put_faults({})
    house.declare(name="For those who joined as well")
    house.await_settled()
    return judge(history.of(house))


def _storm(dice: random.Random) -> None:
    try:
        rows = list(Subscription.objects.order_by("pk"))
        now = datetime.now(UTC)
        joining = [
            Incoming(
                "email",
                f"new{n}@family.example",
                consent_source="list",
                consent_at=now - timedelta(days=1),
            )
            for n in range(JOINING)
        ]
        for number, row in enumerate(dice.sample(rows, LEAVING)):
            services.leave(row, now=datetime.now(UTC))
            if number % 2 == 0:
                services.bring_in([joining[number // 2]], source="test", now=datetime.now(UTC))
    finally:
        connection.close()


def test_poison_hurts_only_itself(open_house: Open, report: Report) -> None:
    report(poisoned(open_house({"email": 500})))


def test_a_dead_address_is_tried_once(open_house: Open, report: Report) -> None:
    report(a_tenth_dead(open_house({"email": 500})))


def test_whoever_leaves_hears_nothing_more(open_house: Open, report: Report) -> None:
    report(leaving_and_joining(open_house({"email": 800})))
