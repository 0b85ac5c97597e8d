"""Two operators publish at the same moment: one update, one fan-out, the other sees the difference."""

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from desk.roles import Role
from incidents.models import Component, Incident
from notifications import outbox
from notifications.models import Broadcast, Delivery
from tests import world
from tests.desk import staff

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
SEEDS = 100
WAIT_S = 60.0


def test_of_two_who_publish_at_once_one_speaks_and_the_other_sees_the_difference(
    settings: Any,
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("two writers at once are PostgreSQL's; SQLite lets one in at a time")
    settings.CHANNELS = {"email": settings.CHANNELS["email"]}
    world.person()
    follow = world.component()
    people = [
        staff.sign_in(Client(), staff.person(name, Role.PUBLISHER)) for name in ("ann", "bob")
    ]
    for seed in range(SEEDS):
        _once(seed, ("update", "declare", "draft")[seed % 3], follow, people)


def _once(seed: int, kind: str, follow: Component, people: list[Client]) -> None:
    Incident.objects.update(resolved_at=timezone.now(), status="resolved")
    before = Incident.objects.count()
    path, incident = "/desk/declare", None
    if kind != "declare":
        incident = world.incident(follow, published=kind == "update", now=timezone.now())
        path = f"/desk/incidents/{incident.uid}/{'update' if kind == 'update' else 'publish'}"
    words = [
        _typed(client, path, follow.pk, f"Words of {number} in {seed}.")
        for number, client in enumerate(people)
    ]
    answers = _at_once(people, path, words, random.Random(seed))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [302, 409], f"seed {seed}: {codes}"
    loser = next(number for number, answer in enumerate(answers) if answer.status_code == 409)
    lost = answers[loser].content.decode()
    assert "Meanwhile" in lost
    assert f"Words of {1 - loser} in {seed}." in lost, "the other's words are not shown"
    assert f"Words of {loser} in {seed}." in lost, "the own words are lost"
    assert Incident.objects.count() == before + 1
    newest = Incident.objects.order_by("-pk")[0]
    assert newest.updates.filter(number__isnull=False).count() == (2 if kind == "update" else 1)
    _fan_out_twice()
    said = newest.updates.order_by("-number")[0]
    assert Broadcast.objects.filter(update_entry=said).count() == 1
    assert Delivery.objects.filter(broadcast__update_entry=said).count() == 1


def _typed(
    client: Client, path: str, component: int, body: str
) -> dict[str, Any]:  # Any: form values
    form = client.get(path).context["form"]
    values = {
        f.html_name: f.value() for f in form if f.value() is not None and f.value() is not False
    }
    status = {"status": "identified"} if path.endswith("update") else {}
    name = {"name": "Followers may not receive readings"} if "name" in form.fields else {}
    return (
        values
        | {"_form": "1", "_publish": "1", "body": body, f"component_{component}": "major_outage"}
        | status
        | name
    )


def _at_once(
    people: list[Client], path: str, words: list[dict[str, Any]], chance: random.Random
) -> list[Any]:
    barrier = threading.Barrier(len(people))
    answers: list[Any] = [None] * len(people)

    def press(number: int, late_s: float) -> None:
        barrier.wait(WAIT_S)
        time.sleep(late_s)
        answers[number] = people[number].post(path, words[number])
        connections.close_all()

    run: Callable[..., threading.Thread] = threading.Thread
    threads = [
        run(target=press, args=(number, chance.choice([0, 0, chance.random() * 0.02])))
        for number in range(len(people))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return answers


def _fan_out_twice() -> None:
    later = timezone.now() + timedelta(seconds=6)
    for _ in range(2):
        outbox.open_entries(later)
        outbox.fan_out(later)
