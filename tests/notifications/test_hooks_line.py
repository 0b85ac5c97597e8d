"""Webhooks and pushes on the whole line: from an entry to what arrived, and back by the challenge."""

import base64
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from demo import hooks
from demo.hooks import Hooks
from incidents.lifecycle import Status
from notifications import channels, outbox, pacing, sending
from notifications.breaker import FAILURES_MAX
from notifications.channels import _abreast, _guard
from notifications.models import Delivery
from subscribers import services as people
from subscribers.models import LetterKind, State
from tests import world
from tests.notifications.test_hooks import TIMEOUT_S, silent
from tests.notifications.test_outbox import SOON, queue, say

pytestmark = pytest.mark.django_db


@pytest.fixture
def stand_in() -> Iterator[Hooks]:
    environ = settings.ENVIRON.raw | {"WEBHOOK_ALLOW_PRIVATE": "1"}
    opened = {
        name: module.configure(environ)
        for name, module in channels.modules().items()
        if name in ("webhook", "slack")
    }
    sending._local.channels = opened
    sending._courses.clear()  # what earlier tests' providers did is no fault of these
    with hooks.running() as running:
        yield running
    for channel in opened.values():
        assert channel is not None
        channel.close()
    del sending._local.channels


def body_of(entry: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(entry["body"]))
    return found


def test_a_webhook_tells_the_update_in_statuspages_words_as_of_then(stand_in: Hooks) -> None:
    follow = world.component()
    world.person("webhook", f"{stand_in.url}/hook/one")
    incident = world.incident(follow)
    queue(incident)
    sending.drain("webhook", seconds=5)
    say(incident, Status.IDENTIFIED)
    queue(incident)
    sending.drain("webhook", seconds=5)

    first, second = (body_of(entry) for entry in stand_in.arrived())

    assert [row["status"] for row in first["incident"]["incident_updates"]] == ["investigating"]
    assert len(second["incident"]["incident_updates"]) == 2
    assert first["page"]["status_indicator"] == "critical"
    assert first["incident"]["id"] == first["data"]["incident_id"] == incident.uid
    assert "/unsubscribe/" in first["meta"]["unsubscribe"]


@pytest.mark.parametrize(
    ("path", "state"),
    [
        pytest.param("/hook/one?echo=1", State.ACTIVE, id="it sends the challenge back"),
        pytest.param("/hook/one", State.PENDING, id="it answers and says nothing"),
    ],
)
def test_a_webhook_is_subscribed_once_it_answers_the_challenge(
    path: str, state: State, stand_in: Hooks
) -> None:
    row = world.person("webhook", stand_in.url + path, state=State.PENDING)
    people.write_letter(row, kind=LetterKind.CONFIRM, now=world.NOW)
    outbox.open_entries(SOON)
    outbox.fan_out(SOON)

    sending.drain("webhook", seconds=5)

    row.refresh_from_db()
    assert row.state == state


def test_a_slack_channel_confirms_by_its_link(stand_in: Hooks) -> None:
    row = world.person("slack", f"{stand_in.url}/services/T/B/x", state=State.PENDING)
    people.write_letter(row, kind=LetterKind.CONFIRM, now=world.NOW)
    outbox.open_entries(SOON)
    outbox.fan_out(SOON)

    sending.drain("slack", seconds=5)

    said = json.dumps(body_of(stand_in.arrived()[-1]))
    assert f"{settings.SITE_URL}/confirm/" in said
    row.refresh_from_db()
    assert row.state == State.PENDING


def test_a_webhook_that_is_gone_is_written_to_no_more(stand_in: Hooks) -> None:
    follow = world.component()
    row = world.person("webhook", f"{stand_in.url}/hook/one")
    stand_in.put_faults({"webhook": "410"})
    incident = world.incident(follow)
    queue(incident)
    sending.drain("webhook", seconds=5)
    stand_in.put_faults({})
    say(incident, Status.RESOLVED)
    queue(incident)
    sending.drain("webhook", seconds=5)

    assert stand_in.arrived() == []
    assert set(Delivery.objects.values_list("state", flat=True)) == {"refused", "suppressed"}
    assert people.suppressions([row])


def test_a_strangers_server_that_asks_for_a_day_is_left_alone_by_itself(stand_in: Hooks) -> None:
    row = world.person("webhook", f"{stand_in.url}/hook/stranger", state=State.PENDING)
    people.write_letter(row, kind=LetterKind.CONFIRM, now=world.NOW)
    outbox.open_entries(SOON)
    stand_in.put_faults({"webhook": {"shape": "429", "retry_after_s": 86_400}})
    sending.drain("webhook", seconds=5)
    stand_in.put_faults({})
    letter = Delivery.objects.get()
    assert (letter.state, letter.due_at > SOON + timedelta(hours=23)) == ("pending", True)
    assert pacing.held_s("webhook") == 0

    world.person("webhook", f"{stand_in.url}/hook/one")
    queue(world.incident(world.component()))
    sending.drain("webhook", seconds=5)

    assert [entry["path"] for entry in stand_in.arrived()] == ["/hook/one"]


def test_strangers_servers_that_are_down_stop_nobody_elses_webhook(stand_in: Hooks) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        closed = sock.getsockname()[1]
    for number in range(FAILURES_MAX):
        world.person("webhook", f"http://127.0.0.1:{closed}/hook/{number}")
    world.person("webhook", f"{stand_in.url}/hook/one")
    queue(world.incident(world.component()))

    sending.drain("webhook", seconds=1)

    assert [entry["path"] for entry in stand_in.arrived()] == ["/hook/one"]


@pytest.mark.slow
def test_a_stop_waits_for_the_webhooks_under_way_and_begins_no_other(
    stand_in: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_stop", bytearray(1))
    opened = sending._local.channels["webhook"]
    opened = replace(opened, poster=_guard.Poster(allow_private=True, post_s=TIMEOUT_S))
    sending._local.channels["webhook"] = opened
    timer = threading.Timer(1, sending.stop)
    with silent(_abreast.ABREAST) as hanging:
        for url in hanging:
            world.person("webhook", f"{url}/hook/one")
        world.person("webhook", f"{stand_in.url}/hook/one")
        queue(world.incident(world.component()))
        timer.start()
        sending.drain("webhook", seconds=30)
        timer.join()

    assert stand_in.arrived() == []
    assert Delivery.objects.filter(maybe_sent=True).count() == _abreast.ABREAST
    assert Delivery.objects.filter(state="pending", attempts=0).count() == 1
