"""The agent beyond its daily round: asked-for runs, what it remembers, doubts, its own alarm."""

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from demo.follow import FollowOptions
from demo.follow import running as follow_running
from demo.share import SHARE
from probes.agent.alarm import ALARM_AFTER_S, ALARM_AGAIN_S, Plight
from probes.agent.buffer import Buffer
from probes.agent.selfcheck import SelfCheck
from tests.probes.site import says, sends, serving
from tests.probes.test_agent import StandIn, check, running, until

PASSWORD = "password-of-the-test"


# ---- runs that somebody asks for ----------------------------------------------------------


def test_a_run_that_is_asked_for_is_made_at_once_and_once(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with serving(("GET", "/", says({}))) as site, stand_in.serving() as url:
            rare = check(site + "/", interval_s=3600)
            stand_in.checks = [rare, check(site + "/", slug="often")]
            async with running(url, tmp_path):
                await until(lambda: {slug for slug, _ in stand_in.results} == {"journey", "often"})
                stand_in.tries = [{"check": "journey", "id": "first"}]
                # Far before its hour, and before FETCH_EVERY_S: the other result told of it.
                await until(lambda: tries_of(stand_in) == ["", "first"])
            # A restart runs every check once, and nobody asked for that.
            async with running(url, tmp_path):
                await until(lambda: len(tries_of(stand_in)) == 3)
        assert tries_of(stand_in) == ["", "first", ""]

    asyncio.run(scene())


def tries_of(stand_in: StandIn) -> list[str]:
    return [
        each["try"] for (slug, _), each in sorted(stand_in.results.items()) if slug == "journey"
    ]


# ---- what travels beside the outcome ------------------------------------------------------


def test_a_failing_answer_travels_without_secrets_and_with_its_first_step(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        said = b'<p>hunter22 &amp; x?sessionId=0123-4567&n=1</p>{"access_token": "abcdef"}\x00' * 99
        async with (
            serving(("GET", "/", sends(said, "text/html"))) as site,
            stand_in.serving() as url,
        ):
            asked = check(site + "/", interval_s=60)
            step = asked["spec"]["steps"][0]
            step |= {"headers": {"X-Key": "${KEY}"}, "expect": {"content_type": "text/plain"}}
            stand_in.checks = [asked]
            async with running(url, tmp_path, environ={"KEY": "hunter22"}):
                await until(lambda: len(stand_in.results) == 1)
        (result,) = stand_in.results.values()
        assert (result["first_step"], result["outcome"]) == ("read", "target_fail")
        assert len(result["answer"]) == 2048
        expected = '<p>••• &amp; x?sessionId=•••&n=1</p>{"access_token": "•••"}·'
        assert result["answer"].startswith(expected)
        for secret in ("hunter22", "0123-4567", "abcdef", "\x00"):
            assert secret not in result["answer"]

    asyncio.run(scene())


def test_what_is_strange_and_no_failure_is_a_warning(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with serving(("GET", "/", says({"trend": 4}))) as site, stand_in.serving() as url:
            asked = check(site + "/", interval_s=60)
            warn = [{"path": "trend", "type": "string"}, {"path": "trend", "exists": True}]
            asked["spec"]["steps"][0]["expect"] = {"warn": warn}
            stand_in.checks = [asked]
            async with running(url, tmp_path):
                await until(lambda: len(stand_in.results) == 1)
        (result,) = stand_in.results.values()
        assert result["outcome"] == "ok"
        assert result["warnings"] == ["read: trend was number, expected string"]

    asyncio.run(scene())


def test_half_a_character_or_a_nul_of_the_targets_does_not_travel(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        said = sends(rb'{"state": "down \ud83d", "\u0000": 1, "mood": "\ud83d\ude00 \u0000"}')
        async with serving(("GET", "/", said)) as site, stand_in.serving() as url:
            asked = check(site + "/", interval_s=60)
            asked["spec"]["steps"][0]["expect"] = {"body": [{"path": "state", "equals": "up"}]}
            warned = check(site + "/", slug="warned", interval_s=60)
            warn = [{"path": "mood", "equals": "good"}]
            warned["spec"]["steps"][0]["expect"] = {"warn": warn}
            stand_in.checks = [asked, warned]
            async with running(url, tmp_path):
                await until(lambda: len(stand_in.results) == 2)
        seen = {slug: result for (slug, _), result in stand_in.results.items()}
        assert seen["journey"]["steps"][0]["reason"] == 'state was "down ·", expected "up"'
        assert seen["warned"]["warnings"] == ['read: mood was "😀 ·", expected "good"']

    asyncio.run(scene())


# ---- what it remembers --------------------------------------------------------------------


def share_check(url: str) -> dict[str, Any]:
    return {
        "slug": "share",
        "kind": "share",
        "interval_s": 1,
        "timeout_s": 2,
        "retry_after_s": 0,
        "spec": {
            "component": "follow",
            "url": url + SHARE,
            "allow_private": True,
            "accounts": [{"name": "${SHARE_USER}", "password": "${SHARE_PASSWORD}"}],
        },
    }


@pytest.mark.slow
def test_a_frozen_account_stays_frozen_over_a_restart_and_no_secret_is_on_disk(
    tmp_path: Path,
) -> None:
    environ = {"SHARE_USER": "ana.maria+share", "SHARE_PASSWORD": PASSWORD + "-wrong"}

    async def scene() -> None:
        stand_in = StandIn()
        with follow_running(FollowOptions(password=PASSWORD)) as follow:
            async with stand_in.serving() as url:
                stand_in.checks = [share_check(follow.url)]
                async with running(url, tmp_path, environ=environ):
                    await until(lambda: len(stand_in.results) >= 2)
                async with running(url, tmp_path, environ=environ):
                    await until(lambda: len(stand_in.results) >= 4)
            assert follow.service.board.requests["login"] == 1
        outcomes = [each["outcome"] for each in stand_in.results.values()]
        assert set(outcomes) <= {"auth_suspect", "prober_fault"}
        assert outcomes[0] == "auth_suspect"

    asyncio.run(scene())
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"tried_at" in written
    for secret in environ.values():
        assert secret.encode() not in written


def test_the_file_is_for_nobody_else(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "buffer.sqlite3")
    buffer.close()

    assert (tmp_path / "buffer.sqlite3").stat().st_mode & 0o077 == 0


def test_a_full_disk_ends_no_probing(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "buffer.sqlite3")
    pages = buffer._database.execute("PRAGMA page_count").fetchone()[0]
    buffer._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        buffer._database.execute("INSERT INTO results (body) VALUES (?)", ("x" * 100_000,))

    buffer.put({"reason": "x" * 100_000})
    buffer.keep("checks", "x" * 100_000)

    assert (len(buffer), buffer.dropped, buffer.kept("checks")) == (0, 1, None)
    buffer.close()


# ---- when it may not be believed ----------------------------------------------------------


def outcome_of(tmp_path: Path, stand_in: StandIn) -> dict[str, Any]:
    async def scene() -> None:
        async with serving(("GET", "/", says({}, 503))) as site, stand_in.serving() as url:
            stand_in.checks = [check(site + "/", interval_s=60)]
            stand_in.references = [site if each == "here" else each for each in stand_in.references]
            async with running(url, tmp_path) as agent:
                await until(lambda: len(stand_in.results) >= 1)
                # The first run begins before the first answer has told the time.
                stand_in.tries = [{"check": "journey", "id": "again"}]
                agent._has_changed.set()
                await until(lambda: len(stand_in.results) >= 2)

    asyncio.run(scene())
    return [each for _, each in sorted(stand_in.results.items())][-1]


@pytest.mark.parametrize(
    ("clock_off_s", "words"),
    [
        pytest.param(-600, "own clock: 600 s ahead of the server's", id="10 minutes ahead"),
        pytest.param(600, "own clock: 600 s behind the server's", id="10 minutes behind"),
    ],
)
def test_a_clock_that_is_off_is_our_own_fault(
    tmp_path: Path, clock_off_s: float, words: str
) -> None:
    found = outcome_of(tmp_path, StandIn(clock_off_s=clock_off_s))

    assert found["outcome"] == "prober_fault"
    assert found["reason"].split(":")[0] == words.split(":")[0]
    assert found["reason"].split(" s ")[1] == words.split(" s ")[1]


def test_a_clock_that_is_right_blames_the_target(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, StandIn())["outcome"] == "target_fail"


@pytest.mark.parametrize(
    ("references", "fault"),
    [
        pytest.param(["here", "here", "nobody.invalid"], "", id="two of three"),
        pytest.param(
            ["here", "nobody.invalid", "127.0.0.1:1"],
            "own network: reached 1 of 3 references, 2 needed; 1 did not resolve",
            id="one of three",
        ),
    ],
)
def test_two_of_three_references_prove_our_network(references: list[str], fault: str) -> None:
    async def scene() -> str:
        async with serving(("GET", "/", says({}))) as site:
            check = SelfCheck()
            check.references = tuple(site if each == "here" else each for each in references)
            return await check.fault(interval_s=30, since=time.monotonic())

    assert asyncio.run(scene()) == fault


@pytest.mark.parametrize(
    ("interval_s", "lag_s", "is_fault"),
    [
        pytest.param(30, 16, True, id="more than half an interval"),
        pytest.param(30, 14, False, id="less than half an interval"),
        pytest.param(1, 0.9, False, id="an ordinary pause"),
    ],
)
def test_a_machine_that_was_too_busy_is_our_own_fault(
    interval_s: float, lag_s: float, is_fault: bool
) -> None:
    check = SelfCheck()
    since = time.monotonic()
    check.note_lag(lag_s)

    fault = asyncio.run(check.fault(interval_s=interval_s, since=since))

    assert fault.startswith("own pace: late by") is is_fault


def test_a_pause_before_the_run_is_not_held_against_it() -> None:
    check = SelfCheck()
    check.note_lag(100)

    assert asyncio.run(check.fault(interval_s=30, since=time.monotonic())) == ""


@pytest.mark.slow
def test_the_lag_of_this_process_is_measured() -> None:
    async def scene() -> float:
        check = SelfCheck()
        since = time.monotonic()
        watching = asyncio.create_task(check.watching_lag())
        await asyncio.sleep(0)
        time.sleep(1.2)  # noqa: ASYNC251  # holding up the loop is what is measured
        await asyncio.sleep(0.1)
        watching.cancel()
        return check.lag_s(since)

    assert asyncio.run(scene()) > 0.5


# ---- its own alarm ------------------------------------------------------------------------


def a_plight() -> Plight:
    plight = Plight("fra")
    plight.saw("journey", "log in: HTTP 503, expected 200")
    plight.not_heard(0)
    return plight


def test_nothing_is_told_while_the_server_hears_or_nothing_fails() -> None:
    heard, well = a_plight(), a_plight()
    heard.heard()
    well.saw("journey", "")

    assert (heard.sentence(10_000), well.sentence(10_000)) == ("", "")


def test_the_alarm_names_what_fails_after_two_minutes() -> None:
    plight = a_plight()
    plight.not_heard(60)

    assert plight.sentence(ALARM_AFTER_S - 1) == ""
    assert plight.sentence(ALARM_AFTER_S) == (
        "Prober fra: checks fail and the status page has not taken results for 2 min. "
        "journey: log in: HTTP 503, expected 200."
    )


def test_the_alarm_is_told_again_only_after_a_while() -> None:
    plight = a_plight()
    plight.told(ALARM_AFTER_S)

    assert plight.sentence(ALARM_AFTER_S + ALARM_AGAIN_S - 1) == ""
    assert plight.sentence(ALARM_AFTER_S + ALARM_AGAIN_S) != ""


@pytest.mark.parametrize(
    ("is_heard", "words"),
    [
        pytest.param(True, "takes results again", id="the server is back"),
        pytest.param(False, "no check fails", id="the service is back"),
    ],
)
def test_the_end_is_told_once(is_heard: bool, words: str) -> None:
    plight = a_plight()
    plight.told(ALARM_AFTER_S)
    if is_heard:
        plight.heard()
    else:
        plight.saw("journey", "")

    assert words in plight.sentence(300)
    plight.told(300)
    assert plight.sentence(10_000) == ""


def test_a_long_list_is_cut_and_checks_that_are_gone_are_forgotten() -> None:
    plight = a_plight()
    for number in range(100):
        plight.saw(f"check-{number:02}", "x" * 5000)
    assert len(plight.sentence(600)) < 1100

    plight.keep_only({"journey"})
    assert plight.sentence(600).endswith("min. journey: log in: HTTP 503, expected 200.")


@pytest.mark.slow
def test_the_agent_posts_its_alarm_until_it_is_taken_and_the_end(tmp_path: Path) -> None:
    async def scene() -> None:
        stand_in, told = StandIn(), list[str]()

        async def take(request: web.Request) -> web.StreamResponse:
            told.append(await request.text())
            return web.Response()

        async with (
            serving(("GET", "/", says({}, 503)), ("POST", "/alarm", take)) as site,
            stand_in.serving() as url,
        ):
            stand_in.checks = [check(site + "/")]
            alarm_url = f"{site}/alarm"
            async with running(url, tmp_path, alarm_url=alarm_url) as agent:
                agent.plight.after_s = 1
                await until(lambda: len(stand_in.results) >= 1)
                stand_in.is_away = True
                await until(lambda: len(told) == 1)
                await asyncio.sleep(2.5)
                stand_in.is_away = False
                await until(lambda: len(told) == 2)
        assert told[0].startswith("Prober local: checks fail and the status page has not taken")
        assert "journey: read: HTTP 503" in told[0]
        assert told[1] == "Prober local: over, the status page takes results again."

    asyncio.run(scene())


def test_a_kind_that_breaks_neither_ends_the_check_nor_blames_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        stand_in = StandIn()
        async with stand_in.serving() as url:
            broken = check("http://127.0.0.1:9/", kind="alert")
            # No server sends this: `site.yaml` refuses it.
            broken["spec"] = {"component": 1, "match": [], "steps": {}}
            worse = check("http://127.0.0.1:9/", slug="worse", timeout_s="soon")
            stand_in.checks = [broken, {**worse, "timeout_s": -1}]
            async with running(url, tmp_path):
                await until(lambda: len(stand_in.results) >= 4)
        outcomes = {slug: each["outcome"] for (slug, _), each in stand_in.results.items()}
        assert outcomes["journey"] == "prober_fault"

    asyncio.run(scene())
    assert json.dumps(capsys.readouterr().err).count("Traceback") == 0
