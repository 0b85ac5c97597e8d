"""R14, R15: ten presses of publish, and words that change within two seconds."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.db import connection

from desk import keys
from incidents import services
from incidents.lifecycle import Status
from incidents.models import Incident, Update
from notifications import outbox
from notifications.claiming import HELD
from notifications.dbtime import database_now
from notifications.models import Broadcast, Delivery
from tests import world
from tests.faults import history
from tests.faults.checker import Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 500}
PRESSES = 10
HEARD_S = 2.0  # by then a change of words is in every mail that follows
STOPS_S = 5.0
AGAIN = timedelta(minutes=10)
SLOW_S = 0.02  # with one connection a process: a hundred a second, so that the fan-out lasts longer than that


def pressed_ten_times(house: House) -> Verdict:
    """Ten times the same request at once, from two operators' browsers; then ten times "publish" on one draft."""
    house.start_line("web", "clock", "worker-email")
    key = keys.create(name="test", scopes=(), now=datetime.now(UTC))
    with ThreadPoolExecutor(PRESSES) as presses:
        answers = list(presses.map(lambda _: _post(house, key), range(PRESSES)))
    draft = services.declare(
        page=world.page(), name="A draft", body="We are looking.", published=False, actor="probes",
        components={world.component(): world.MAJOR}, now=datetime.now(UTC),
    )  # fmt: skip
    with ThreadPoolExecutor(PRESSES) as presses:
        list(presses.map(lambda n: _press(draft, f"operator {n % 2}"), range(PRESSES)))
    house.await_settled()
    verdict = judge(history.of(house))
    if len(set(answers)) != 1:
        verdict.broken.append(f"R14 ten presses were answered with {set(answers)}")
    if (said := Update.objects.filter(published_at__isnull=False).count()) != 2:
        verdict.broken.append(f"R14 {said} updates of two presses")
    return verdict


def _post(house: House, key: str) -> str:
    path = f"{house.site}/v1/pages/{world.page().uid}/incidents"
    connection.close()
    body = {
        "incident": {"name": "Pressed ten times", "status": "investigating", "body": "We look."}
    }
    request = Request(path, json.dumps(body).encode(), method="POST")
    request.add_header("Authorization", f"OAuth {key}")
    request.add_header("Content-Type", "application/json")
    request.add_header("Idempotency-Key", "one-press")
    try:
        with urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["id"])
    except HTTPError as error:
        return f"{error.code}: {error.read().decode()[:200]}"


def _press(draft: Incident, operator: str) -> None:
    try:
        services.publish_draft(draft, actor=operator, now=datetime.now(UTC), by_person=True)
    finally:
        connection.close()


def edited_at_once(house: House) -> Verdict:
    """A text is corrected in the middle of its fan-out: nobody is told again, and the rest hear the new words."""
    house.slow_mail(SLOW_S)
    house.start_line("clock", "worker-email")
    incident = house.declare(body="We are lokking.")
    until(lambda: house.mails > 0.1 * house.cast["email"], "mail on its way")
    services.edit(
        incident.updates.get(), body="We are looking.", actor="ann", now=datetime.now(UTC)
    )
    edited_at = time.time()
    house.await_settled()
    verdict = judge(history.of(house))
    store = house.mailbox.store
    stale = 0
    after = 0
    for light in store.after(0, store.kept()):
        whole = store.whole(light.number)
        if whole is not None and light.accepted_s > edited_at + HEARD_S:
            after += 1
            stale += b"lokking" in whole.raw
    if not after:
        verdict.broken.append("R15 nobody was told after the edit")
    if stale:
        verdict.broken.append(f"R15 {stale} of {after} later mails still have the old words")
    return verdict


def resolved_at_once(house: House) -> Verdict:
    """Published and resolved within a second or two: people hear the end, and never the beginning after it."""
    house.slow_mail(SLOW_S)
    house.start_line("clock", "worker-email", "worker")
    incident = house.declare()
    until(lambda: house.mails > 0.1 * house.cast["email"], "mail on its way")
    services.publish_update(
        incident, status=Status.RESOLVED, body="It is over.", actor="ann", now=datetime.now(UTC)
    )
    house.await_settled()
    return judge(history.of(house))


def overtaken_while_put_off(house: House) -> Verdict:
    """Some people's mail is put off by their servers; when it is due again, a newer update has been told already."""
    house.start_line("clock", "worker-email")
    house.mailbox.put_faults({"shape": "451", "address": "*5@family.example"})
    incident = house.declare()
    until(lambda: house.mails >= 0.9 * house.cast["email"], "the others are told")
    # They are to come again when everybody has the newer one: sooner, the order would be a matter of luck.
    until(lambda: not Delivery.objects.filter(state__in=HELD).exists(), "nobody is being told")
    Delivery.objects.filter(state="pending").update(due_at=database_now() + AGAIN)
    house.mailbox.put_faults({})
    services.publish_update(
        incident, status=Status.IDENTIFIED, body="We know why.", actor="ann", now=datetime.now(UTC)
    )
    until(lambda: house.mails >= 1.9 * house.cast["email"], "everybody has the newer one")
    Delivery.objects.filter(state="pending").update(due_at=database_now())
    house.await_settled()
    return judge(history.of(house))


def halted(house: House) -> Verdict:
    """An operator stops a broadcast in the middle: what starts later than 5 s afterwards is one too many."""
    house.slow_mail(STOPS_S / 100)  # what a worker has in hand lasts longer than STOPS_S
    house.start_line("clock", "worker-email")
    incident = house.declare()
    until(lambda: house.mails > 0.1 * house.cast["email"], "mail on its way")
    outbox.halt(Broadcast.objects.get(incident=incident), now=datetime.now(UTC))
    stopped = time.time()
    house.await_settled()
    seen = history.of(house)
    late = [one for one in seen.ledger if one.at > stopped + STOPS_S]
    verdict = Verdict(1, len(seen.people), len(seen.ledger))
    verdict.notes.append(
        f"{len(seen.ledger)} of {house.cast['email']} were told before the halt took hold"
    )
    if late:
        verdict.broken.append(f"halt: {len(late)} were told more than {STOPS_S:.0f} s later")
    if not seen.ledger or len(seen.ledger) == house.cast["email"]:
        verdict.broken.append("halt: it came before the first or after the last")
    return verdict


def test_who_was_put_off_hears_the_newest_only(open_house: Open, report: Report) -> None:
    report(overtaken_while_put_off(open_house(PEOPLE)))


def test_ten_presses_publish_once(open_house: Open, report: Report) -> None:
    report(pressed_ten_times(open_house(PEOPLE)))


def test_an_edit_reaches_who_was_not_told_yet(open_house: Open, report: Report) -> None:
    report(edited_at_once(open_house(PEOPLE)))


def test_a_quick_end_overtakes_the_beginning(open_house: Open, report: Report) -> None:
    report(resolved_at_once(open_house({"email": 500, "sms": 40})))


def test_a_halt_stops_what_has_not_begun(open_house: Open, report: Report) -> None:
    report(halted(open_house({"email": 1500})))
