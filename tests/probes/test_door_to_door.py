"""The real agent, the real server and the demo's Follow service between them."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from demo.follow import Follow, FollowOptions, running
from demo.share import SHARE
from incidents.models import Component, Incident, Page
from probes import clock, restraint, services
from probes.agent import prober
from probes.agent.buffer import Buffer
from probes.agent.prober import Agent
from probes.agent.server import Server
from probes.models import Check, CurrentVerdict, Policy, Proof, Result

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.probes.routes"),
    pytest.mark.slow,
]

PASSWORD = "password-of-the-test"
PATIENCE_S = 30.0


@pytest.fixture
def follow() -> Iterator[Follow]:
    with running(FollowOptions(password=PASSWORD)) as service:
        yield service


def make_check(follow: Follow, *, accounts: int = 1, **more: Any) -> Check:
    page = Page.objects.create(name="Follow status")
    component = Component.objects.create(page=page, slug="follow", name="Follow")
    Policy.objects.create(page=page, component=component, verdicts=["outage"], publish="auto")
    passwords = ("${FIRST_PASSWORD}", "${SECOND_PASSWORD}")
    names = ("probe", "probe2")
    spec = {
        "component": "follow",
        "url": follow.url + SHARE,
        "allow_private": True,
        "accounts": [
            {"name": name, "password": password}
            for name, password in list(zip(names, passwords, strict=True))[:accounts]
        ],
    }
    rule = {"retry_after_s": 0.1}
    kept = {"interval_s": 1, "locations": ["local"], "rule": rule, **more}
    return Check.objects.create(page=page, slug="share", kind="share", spec=spec, **kept)


@contextmanager
def agent(
    server: LiveServer, folder: Path, *, location: str = "local", **environ: str
) -> Iterator[None]:
    """Run an agent in a thread of its own while the block runs."""
    token = services.issue_token(name=location, now=datetime.now(UTC))
    ready: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def scene() -> None:
        stop = asyncio.Event()
        ready.append((asyncio.get_running_loop(), stop))
        door, buffer = Server(server.url, location, token), Buffer(folder / f"{location}.sqlite3")
        try:
            await Agent(server=door, location=location, buffer=buffer, environ=environ).run(stop)
        finally:
            await door.close()
            buffer.close()

    thread = Thread(target=lambda: asyncio.run(scene()))
    thread.start()
    try:
        yield
    finally:
        loop, stop = ready[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def until_results(count: int) -> None:
    until(lambda: Result.objects.count() >= count)


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def test_a_wrong_password_of_ours_is_tried_twice_and_tells_the_public_nothing(
    follow: Follow, live_server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A bound of ours, made small: the minute between two log-ins.
    monkeypatch.setattr(restraint, "LOGIN_EVERY", timedelta(seconds=1))
    make_check(follow)

    for runs in (5, 8):
        with agent(live_server, tmp_path, FIRST_PASSWORD="rotated away"):
            until_results(runs)

    assert follow.service.board.requests["login"] == 2
    assert set(Result.objects.values_list("outcome", flat=True)) <= {
        "auth_suspect",
        "prober_fault",
    }
    assert {step["shape"] for row in Result.objects.all() for step in row.steps} == {"F4"}
    clock.tick(datetime.now(UTC) + timedelta(seconds=100))
    assert CurrentVerdict.objects.get().word == "unknown"
    assert not Incident.objects.filter(updates__published_at__isnull=False).exists()
    kept = str(list(Result.objects.values()))
    assert "rotated away" not in kept


@pytest.mark.parametrize("kind", ["share", "http"])
def test_accounts_of_two_locations_that_got_in_and_are_rejected_are_an_outage(
    kind: str,
    follow: Follow,
    live_server: LiveServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A bound of ours, made small: the minute between two log-ins.
    monkeypatch.setattr(restraint, "LOGIN_EVERY", timedelta(seconds=1))
    check = make_check(follow, locations=["fra", "nyc"], rule={"retry_after_s": 0, "shadow_s": 0})
    check.kind = kind
    if kind == "share":
        check.spec["accounts"] = [{"name": "${FOLLOW_USER}", "password": "${FIRST_PASSWORD}"}]
    else:
        step: dict[str, Any] = {
            "name": "log in",
            "method": "POST",
            "url": f"{follow.url}/auth/login",
        }
        step["json"] = {"user": "${FOLLOW_USER}", "password": "${FIRST_PASSWORD}"}
        check.spec = {"component": "follow", "allow_private": True, "steps": [step]}
    check.save()

    def word() -> str:
        return CurrentVerdict.objects.values_list("word", flat=True).first() or ""

    secret = {"FIRST_PASSWORD": PASSWORD}
    with (
        agent(live_server, tmp_path, location="fra", FOLLOW_USER="probe", **secret),
        agent(live_server, tmp_path, location="nyc", FOLLOW_USER="probe2", **secret),
    ):
        until(lambda: word() == "up" and Proof.objects.count() == 2)
        follow.put_faults({"login": "F5"})
        until(lambda: word() == "outage")

    proofs = dict(Proof.objects.values_list("location__name", "account"))
    assert len(proofs) == len(set(proofs.values())) == 2
    kept = str([*Result.objects.values(), proofs])
    for private in (PASSWORD, "probe2"):
        assert private not in kept


def test_one_bad_account_of_two_is_a_warning_that_reaches_the_server(
    follow: Follow, live_server: LiveServer, tmp_path: Path
) -> None:
    make_check(follow, accounts=2)

    with agent(live_server, tmp_path, FIRST_PASSWORD="wrong", SECOND_PASSWORD=PASSWORD):
        until_results(2)

    row = Result.objects.order_by("sequence").first()
    assert row is not None
    assert row.outcome == "ok"
    assert row.warnings == [
        "prober_fault: account 1: HTTP 500 with the fault AccountPasswordInvalid"
    ]


def test_a_run_that_an_operator_asks_for_comes_back_with_its_id(
    follow: Follow, live_server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A bound of ours, made small: how often an agent asks.
    monkeypatch.setattr(prober, "FETCH_EVERY_S", 0.2)
    check = make_check(follow, interval_s=3600)

    with agent(live_server, tmp_path, FIRST_PASSWORD=PASSWORD):
        until_results(1)
        services.ask_to_try(check, now=datetime.now(UTC))
        until_results(2)

    newest = Result.objects.latest("sequence")
    assert newest.try_id == Check.objects.get().try_id != ""


def test_what_fails_comes_with_its_first_step_and_its_answer(
    follow: Follow, live_server: LiveServer, tmp_path: Path
) -> None:
    make_check(follow, interval_s=60)
    follow.put_faults({"login": {"shape": "F11"}})

    with agent(live_server, tmp_path, FIRST_PASSWORD=PASSWORD):
        until_results(1)

    row = Result.objects.get()
    assert (row.outcome, row.attempts, row.first_step) == ("target_fail", 2, "log in")
    assert "Checking your browser" in row.answer
