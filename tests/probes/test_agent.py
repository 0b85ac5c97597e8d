"""The agent against a small server of its own: schedule, buffer, resending, stopping."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from probes.agent.__main__ import main
from probes.agent.buffer import Buffer
from probes.agent.prober import Agent
from probes.agent.schedule import retry_wait_s, until_next_s
from probes.agent.server import Server
from probes.kinds import CheckSpec
from tests.probes.site import says, serving

TOKEN = "token-of-the-test"
# Far above what a pass takes, so that a busy machine does not decide the outcome.
PATIENCE_S = 15.0


@dataclass
class StandIn:
    """A server that keeps what agents hand in, and can be away."""

    checks: list[dict[str, Any]] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    tries: list[dict[str, str]] = field(default_factory=list)
    # How far this server's clock is from the true one.
    clock_off_s: float = 0
    results: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    is_away: bool = False
    forgets_to_answer: int = 0
    posts: int = 0
    fetched: int = 0
    not_modified: int = 0
    duplicates: int = 0

    @property
    def etag(self) -> str:
        return f'"{hash(json.dumps([self.checks, self.references, self.tries]))}"'

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        if self.is_away:
            return web.json_response({"error": "away"}, status=503)
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        if request.headers.get("If-None-Match") == self.etag:
            self.not_modified += 1
            return web.Response(status=304)
        self.fetched += 1
        document = {"checks": self.checks, "references": self.references, "try": self.tries}
        date = formatdate(time.time() + self.clock_off_s, usegmt=True)
        return web.json_response(document, headers={"ETag": self.etag, "Date": date})

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.posts += 1
        if self.is_away:
            return web.json_response({"error": "away"}, status=503)
        for each in (await request.json())["results"]:
            if each.get("reason") == "poison":
                return web.json_response({"error": "results[0].reason: poison"}, status=400)
            key = (each["check"], each["sequence"])
            self.duplicates += key in self.results
            self.results[key] = each
        if self.forgets_to_answer:
            self.forgets_to_answer -= 1
            return web.json_response({"error": "it was kept, and nobody heard"}, status=502)
        return web.json_response({"accepted": 1, "etag": self.etag})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        routes = (("GET", "/probes/checks", self.fetch), ("POST", "/probes/results", self.take))
        async with serving(*routes) as url:
            yield url


def check(url: str, *, slug: str = "journey", **more: Any) -> dict[str, Any]:
    spec = {"component": "follow", "allow_private": True, "steps": [{"name": "read", "url": url}]}
    return {
        "slug": slug,
        "kind": "http",
        "interval_s": 1,
        "timeout_s": 2,
        "retry_after_s": 0,
        "spec": spec,
        **more,
    }


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    url: str, folder: Path, *, environ: Mapping[str, str] | None = None, alarm_url: str = ""
) -> AsyncIterator[Agent]:
    """Run an agent until the block ends."""
    server, buffer = Server(url, "local", TOKEN), Buffer(folder / "buffer.sqlite3")
    agent = Agent(
        server=server,
        location="local",
        buffer=buffer,
        environ=environ or {},
        alarm_url=alarm_url,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        yield agent
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)
    finally:
        task.cancel()
        await server.close()
        buffer.close()


def test_a_result_is_handed_in_as_soon_as_its_run_ends(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with serving(("GET", "/", says({}))) as site, stand_in.serving() as url:
            stand_in.checks = [check(site + "/")]
            async with running(url, tmp_path) as agent:
                await until(lambda: len(stand_in.results) >= 2)
                assert len(agent.buffer) <= 1
        first, second = list(stand_in.results.values())[:2]
        assert (first["outcome"], first["attempts"]) == ("ok", 1)
        assert second["sequence"] > first["sequence"]

    asyncio.run(scene())


def test_a_failure_is_tried_again_and_counts_once(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with serving(("GET", "/", says({}, 503))) as site, stand_in.serving() as url:
            stand_in.checks = [check(site + "/", retry_after_s=0.05, interval_s=60)]
            async with running(url, tmp_path):
                await until(lambda: len(stand_in.results) >= 1)
        (result,) = stand_in.results.values()
        assert result["attempts"] == 2
        assert result["steps"][0]["reason"] == "HTTP 503, expected 200 to 299"

    asyncio.run(scene())


@pytest.mark.slow
def test_what_it_saw_while_the_server_was_away_comes_later(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with serving(("GET", "/", says({}))) as site, stand_in.serving() as url:
            stand_in.checks = [check(site + "/")]
            async with running(url, tmp_path) as agent:
                await until(lambda: len(stand_in.results) >= 1)
                stand_in.is_away = True
                await until(lambda: len(agent.buffer) >= 2)
                before = len(stand_in.results)
                stand_in.is_away = False
                await until(lambda: len(stand_in.results) >= before + 2)

    asyncio.run(scene())


def test_the_checks_of_last_time_run_while_the_server_is_away(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with serving(("GET", "/", says({}))) as site, stand_in.serving() as url:
            stand_in.checks = [check(site + "/")]
            async with running(url, tmp_path):
                await until(lambda: len(stand_in.results) >= 1)
            stand_in.is_away = True
            async with running(url, tmp_path) as agent:
                await until(lambda: len(agent.buffer) >= 1)

    asyncio.run(scene())


def test_a_batch_whose_answer_was_lost_is_sent_again_under_its_old_numbers(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn(forgets_to_answer=1)
        async with serving(("GET", "/", says({}))) as site, stand_in.serving() as url:
            stand_in.checks = [check(site + "/", interval_s=60)]
            async with running(url, tmp_path) as agent:
                await until(lambda: stand_in.duplicates == 1 and len(agent.buffer) == 0)
        assert len(stand_in.results) == 1

    asyncio.run(scene())


def test_a_changed_check_is_fetched_with_the_next_result(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with serving(("GET", "/", says({}))) as site, stand_in.serving() as url:
            stand_in.checks = [check(site + "/")]
            async with running(url, tmp_path):
                await until(lambda: len(stand_in.results) >= 1)
                began = time.monotonic()
                stand_in.checks = [check(site + "/", slug="other")]
                await until(lambda: any(slug == "other" for slug, _ in stand_in.results))
                # Well under FETCH_EVERY_S: the results' answer told of it.
                assert time.monotonic() - began < 5
        assert stand_in.fetched == 2

    asyncio.run(scene())


def test_unchanged_checks_are_not_sent_again(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with stand_in.serving() as url:
            server = Server(url, "local", TOKEN)
            fetched = await server.fetch("")
            assert fetched is not None
            assert await server.fetch(fetched[0]) is None
            await server.close()
        assert (stand_in.fetched, stand_in.not_modified) == (1, 1)

    asyncio.run(scene())


def test_one_poisoned_result_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        buffer = Buffer(tmp_path / "buffer.sqlite3")
        for number in range(9):
            reason = "poison" if number == 4 else ""
            buffer.put({"check": "old", "sequence": number, "reason": reason})
        buffer.close()
        async with stand_in.serving() as url, running(url, tmp_path) as agent:
            await until(lambda: len(agent.buffer) == 0)
        assert sorted(number for _, number in stand_in.results) == [0, 1, 2, 3, 5, 6, 7, 8]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("reachable", "outcome"),
    [
        pytest.param(False, "prober_fault", id="no reference answers: our own network"),
        pytest.param(True, "target_fail", id="the reference answers: the target"),
    ],
)
def test_a_failure_counts_only_when_our_own_network_stands(
    tmp_path: Path, reachable: bool, outcome: str
) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with serving(("GET", "/", says({}, 503))) as site, stand_in.serving() as url:
            async with serving() as closed:
                pass
            stand_in.references = [site if reachable else closed.removeprefix("http://")]
            stand_in.checks = [check(site + "/", interval_s=60)]
            async with running(url, tmp_path):
                await until(lambda: len(stand_in.results) >= 1)
        (result,) = stand_in.results.values()
        assert result["outcome"] == outcome

    asyncio.run(scene())


def test_a_full_buffer_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "buffer.sqlite3", results_max=10)
    for number in range(25):
        buffer.put({"sequence": number})

    assert (len(buffer), buffer.dropped) == (10, 15)
    assert json.loads(buffer.take(1)[0].body)["sequence"] == 15
    buffer.close()


def test_the_buffer_outlives_its_process(tmp_path: Path) -> None:
    first = Buffer(tmp_path / "buffer.sqlite3")
    first.put({"sequence": 1})
    first.close()

    second = Buffer(tmp_path / "buffer.sqlite3")

    assert len(second) == 1
    second.close()


SLOW_CHECK = CheckSpec("journey", "http", 30, 10, 2, {})


def test_a_check_keeps_its_pace_however_long_its_runs_take() -> None:
    due = 1_000_000.0 + until_next_s(1_000_000.0, SLOW_CHECK, "fra")

    for late_s in (0.0, 0.4, 7.0, 29.0):
        assert due + late_s + until_next_s(due + late_s, SLOW_CHECK, "fra") == pytest.approx(
            due + 30
        )


@pytest.mark.parametrize(
    ("interval_s", "wait_s"),
    [
        pytest.param(30, 2, id="the retry comes when the rule says"),
        pytest.param(1, 0.5, id="a retry never makes the next run late"),
    ],
)
def test_the_retry_waits(interval_s: float, wait_s: float) -> None:
    assert retry_wait_s(CheckSpec("journey", "http", interval_s, 10, 2, {})) == wait_s


def test_locations_do_not_probe_at_the_same_moment() -> None:
    waits = {until_next_s(1_000_000.0, SLOW_CHECK, name) for name in ("fra", "nyc", "syd")}

    assert len(waits) == 3


@pytest.mark.parametrize(
    ("arguments", "token", "words"),
    [
        pytest.param(["--server", "http://x", "--location", "a"], "", "PROBE_TOKEN", id="no token"),
        pytest.param(["--server", "x", "--location", "a"], "t", "--server", id="no URL"),
        pytest.param(
            ["--server", "http://x", "--location", "../a"], "t", "--location", id="a path"
        ),
    ],
)
def test_wrong_use_is_one_sentence(
    arguments: list[str],
    token: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROBE_TOKEN", token)

    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_the_process_says_when_it_is_ready_and_stops_within_two_seconds(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()

        async def slow(_: web.Request) -> web.StreamResponse:
            await asyncio.sleep(30)
            raise AssertionError("it was waited for")

        async with serving(("GET", "/", slow)) as site, stand_in.serving() as url:
            stand_in.checks = [check(site + "/", timeout_s=20)]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "probes.agent", "--server", url, "--location", "local"),
                env={**os.environ, "PROBE_TOKEN": TOKEN, "DATA_DIR": str(tmp_path)},
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
            assert line == b"ready local 1 checks\n"
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
            assert time.monotonic() - began < 2

    asyncio.run(scene())
