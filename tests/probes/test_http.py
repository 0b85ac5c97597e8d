"""Kind http against a real server: what each way to fail is called."""

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession, web

from demo.follow import Follow, FollowOptions, running
from probes import kinds
from probes.kinds import BadSpec, CheckSpec, Memory, Observation, Outcome
from tests.probes.site import Answer, hangs, says, sends, serving

DEMO_SITE = Path(__file__).parents[2] / "demo" / "site.yaml"
PASSWORD = "password-of-the-test"
NOW = datetime.now(UTC)
FRESH = (NOW - timedelta(seconds=60)).isoformat()
OLD = (NOW - timedelta(seconds=3612)).isoformat()
READING = {"value": 100, "time": FRESH}
EXPECT: Mapping[str, Any] = {
    "status": 200,
    "content_type": "application/json",
    "body": [
        {"path": "[0].value", "between": [20, 600]},
        {"path": "[0].time", "max_age_s": 660, "max_future_s": 60},
    ],
}


def look(
    answer: Answer,
    *,
    expect: Mapping[str, Any] = EXPECT,
    timeout_s: float = 5,
    environ: Mapping[str, str] | None = None,
    **step: Any,
) -> Observation:
    """Probe one step of a journey to a server that gives this answer."""

    async def run() -> Observation:
        async with serving(("*", "/latest", answer)) as url:
            one = {"name": "read", "component": "follow", "url": f"{url}/latest", "expect": expect}
            return await probe({"steps": [one | step]}, timeout_s=timeout_s, environ=environ)

    return asyncio.run(run())


async def probe(
    spec: Mapping[str, Any], *, timeout_s: float = 5, environ: Mapping[str, str] | None = None
) -> Observation:
    kind = kinds.load("http")
    memory = Memory(environ or {})
    check = CheckSpec("journey", "http", 30, timeout_s, 0, {"allow_private": True, **spec})
    try:
        return await kind.run(check, memory, NOW, timeout_s)
    finally:
        await memory.close()


def test_a_good_answer_is_ok_and_its_phases_are_timed() -> None:
    seen = look(says([READING]))

    assert seen.outcome is Outcome.OK
    phases = seen.steps[0].phases_ms
    assert set(phases) == {"dns", "connect", "tls", "first_byte", "total"}
    assert 0 < phases["first_byte"] <= phases["total"]


@pytest.mark.parametrize(
    ("answer", "reason", "failed"),
    [
        pytest.param(
            says({}, 503), "HTTP 503, expected 200", ("status",), id="the status is wrong"
        ),
        pytest.param(
            says([{"value": 100, "time": OLD}]),
            "[0].time was 3,612 s old, allowed 660",
            ("max_age_s",),
            id="the newest reading is old",
        ),
        pytest.param(
            says([]),
            "[0].value was missing, expected between 20 and 600; "
            "[0].time was missing, expected a time",
            ("missing", "missing"),
            id="no reading at all",
        ),
        pytest.param(
            sends(b"<html>checking your browser</html>"),
            "the body was a web page, expected JSON",
            ("json",),
            id="a web page that says it is JSON",
        ),
        pytest.param(
            sends(b"<html></html>", "text/html"),
            "content type was text/html, expected application/json",
            ("content_type",),
            id="a web page",
        ),
        pytest.param(
            sends(b""), "the body was empty, expected JSON", ("json",), id="an empty body"
        ),
        pytest.param(
            sends(b"[" * 100_000),
            "the body was no JSON, expected JSON",
            ("json",),
            id="JSON that nests without end",
        ),
        pytest.param(
            sends(b" " * 300_000), "the body was over 256 KB", ("body",), id="too much of it"
        ),
        pytest.param(
            sends(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"),
            "the body was over 256 KB",
            ("body",),
            id="a bomb that unpacks to 50 MB",
        ),
        pytest.param(
            sends(b"no gzip", Content_Encoding="gzip"),
            "the body was said to be gzip and was not",
            (),
            id="said to be packed",
        ),
    ],
)
def test_a_failure_is_told_in_words(answer: Answer, reason: str, failed: tuple[str, ...]) -> None:
    seen = look(answer)

    assert seen.outcome is Outcome.TARGET_FAIL
    assert seen.steps[0].reason == reason
    assert seen.steps[0].failed == failed


def test_a_packed_body_is_read() -> None:
    packed = gzip.compress(json.dumps([READING]).encode())

    assert look(sends(packed, Content_Encoding="gzip")).outcome is Outcome.OK


def test_a_hang_ends_with_the_timeout() -> None:
    seen = look(hangs, timeout_s=0.2)

    assert seen.steps[0].reason == "no answer within 0.2 s"
    assert seen.steps[0].shape == "timeout"


def test_a_refused_connection_is_told() -> None:
    async def run() -> Observation:
        async with serving() as url:
            pass
        return await probe({"component": "follow", "steps": [{"name": "read", "url": url}]})

    seen = asyncio.run(run())

    assert seen.steps[0].reason == "the connection was refused"
    assert seen.outcome is Outcome.TARGET_FAIL


def test_a_slow_answer_is_slow_and_nothing_worse() -> None:
    async def late(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return web.json_response([READING])

    seen = look(late, expect={**EXPECT, "degraded_over_s": 0.05})

    assert seen.outcome is Outcome.SLOW
    assert seen.steps[0].failed == ("degraded_over_s",)


def test_a_quick_answer_is_not_slow() -> None:
    assert look(says([READING]), expect={**EXPECT, "degraded_over_s": 4}).outcome is Outcome.OK


def test_a_secret_missing_from_the_environment_is_the_probers_fault() -> None:
    seen = look(says([READING]), headers={"X-Password": "${PROBE_PASSWORD}"})

    assert seen.outcome is Outcome.PROBER_FAULT
    assert seen.steps[0].reason == "${PROBE_PASSWORD} is not set in the prober's environment"


def test_a_secret_of_the_environment_is_sent_and_never_told() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({"you_said": request.headers["X-Password"]})

    seen = look(
        echo,
        expect={"body": [{"path": "you_said", "equals": "other"}]},
        headers={"X-Password": "${PROBE_PASSWORD}"},
        environ={"PROBE_PASSWORD": "correct horse"},
    )

    assert seen.steps[0].reason == 'you_said was "•••", expected "other"'
    assert "correct horse" not in repr(seen)


def journey(url: str, **login: Any) -> dict[str, Any]:
    first = {
        "name": "log in",
        "component": "login",
        "method": "POST",
        "url": f"{url}/login",
        "json": {"user": "probe", "note": "{{braces}}"},
        "expect": {"status": 200, "body": [{"path": "token", "type": "string", "min_length": 8}]},
        "save": {"token": "token"},
    }
    second = {
        "name": "newest reading",
        "component": "follow",
        "url": f"{url}/latest",
        "headers": {"Authorization": "Bearer {token}"},
        "expect": EXPECT,
    }
    return {"steps": [first | login, second]}


def walk(login: Answer, latest: Answer) -> Observation:
    async def run() -> Observation:
        async with serving(("POST", "/login", login), ("GET", "/latest", latest)) as url:
            return await probe(journey(url))

    return asyncio.run(run())


def test_what_one_step_saves_the_next_one_sends() -> None:
    heard: list[Any] = []

    async def login(request: web.Request) -> web.StreamResponse:
        heard.append(await request.json())
        return web.json_response({"token": "abcdefgh"})

    async def latest(request: web.Request) -> web.StreamResponse:
        heard.append(request.headers["Authorization"])
        return web.json_response([READING])

    assert walk(login, latest).outcome is Outcome.OK
    assert heard == [{"user": "probe", "note": "{braces}"}, "Bearer abcdefgh"]


def test_the_first_failing_step_is_blamed_and_the_next_does_not_run() -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        raise AssertionError("it was asked")

    seen = walk(says({"token": "short"}), never)

    assert [(step.name, step.component) for step in seen.steps] == [("log in", "login")]
    assert seen.steps[0].reason == "token was 5 long, expected 8 or more"


def test_a_redirect_on_the_same_host_is_followed() -> None:
    async def moved(request: web.Request) -> web.StreamResponse:
        if "there" in request.query:
            return web.json_response([READING])
        raise web.HTTPFound("/latest?there=1")

    assert look(moved).outcome is Outcome.OK


def test_a_redirect_to_another_host_is_not_followed() -> None:
    async def moved(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://169.254.169.254/latest")

    seen = look(moved)

    assert seen.steps[0].reason == "HTTP 302 to another host, not followed"
    assert seen.outcome is Outcome.TARGET_FAIL


def test_redirects_in_a_ring_end() -> None:
    async def moved(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/latest")

    assert look(moved).steps[0].reason == "redirected more than 5 times"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://127.0.0.1:9/", id="loopback"),
        pytest.param("http://localhost:9/", id="a name that leads to loopback"),
        pytest.param("http://0x7f.1:9/", id="loopback in hexadecimal"),
        pytest.param("http://[::ffff:127.0.0.1]:9/", id="loopback inside IPv6"),
        pytest.param("http://10.0.0.1:9/", id="a private net"),
        pytest.param("http://100.64.0.1:9/", id="a carrier's net"),
    ],
)
def test_a_private_address_is_not_probed_unless_allowed(url: str) -> None:
    spec = {"component": "follow", "steps": [{"name": "read", "url": url}]}

    seen = asyncio.run(probe(spec | {"allow_private": False}))

    assert seen.outcome is Outcome.PROBER_FAULT
    assert "allow_private" in seen.steps[0].reason


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0:9/",
        "http://2130706433:9/",
        "ftp://127.0.0.1/",
    ],
)
def test_link_local_metadata_and_disguises_are_never_probed(url: str) -> None:
    seen = asyncio.run(probe({"component": "c", "steps": [{"name": "read", "url": url}]}))

    assert seen.outcome is Outcome.PROBER_FAULT


def test_a_saved_value_cannot_lead_to_another_host() -> None:
    async def run() -> Observation:
        async with serving(("POST", "/login", says({"token": "@169.254.169.254/"}))) as url:
            spec = journey(url)
            spec["steps"][1]["url"] = url + "{token}"
            return await probe(spec)

    seen = asyncio.run(run())

    assert seen.outcome is not Outcome.OK
    assert "link-local" not in seen.steps[-1].reason


@pytest.fixture(scope="module")
def follow() -> Iterator[Follow]:
    with running(FollowOptions(password=PASSWORD)) as service:
        yield service


def night_of(follow: Follow, faults: Mapping[str, str]) -> Observation:
    """Walk the demo's own journey while its Follow service is broken like this."""
    site = yaml.safe_load(DEMO_SITE.read_text().replace("FOLLOW_URL", follow.url))
    spec = {key: site["checks"][0][key] for key in ("steps", "allow_private")}

    async def run() -> Observation:
        async with ClientSession() as session:
            await session.put(f"{follow.url}/faults", json=dict(faults))
        kind, memory = kinds.load("http"), Memory({"PROBE_PASSWORD": PASSWORD})
        check = CheckSpec("journey", "http", 1, 5, 0, spec)
        try:
            return await kind.run(check, memory, datetime.now(UTC), 5)
        finally:
            await memory.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("faults", "component", "failed"),
    [
        pytest.param({"login": "F1"}, "login", (), id="the connection is closed"),
        pytest.param({"login": "F2"}, "login", ("status",), id="overload"),
        pytest.param({"login": "F3"}, "login", ("status",), id="a general fault"),
        pytest.param({"login": "F10"}, "login", ("json",), id="200 with nothing in it"),
        pytest.param({"login": "F7"}, "follow", ("json",), id="a session of zeros reads nothing"),
        pytest.param({"read": "F8"}, "follow", ("missing", "missing"), id="200 and no readings"),
        pytest.param({"read": "F9"}, "follow", ("max_age_s",), id="200 and the same old reading"),
        pytest.param({"read": "F11"}, "follow", ("content_type",), id="200 and a web page"),
        pytest.param({"read": "F12"}, "follow", ("missing",), id="200 and another shape"),
        pytest.param({"read": "F19"}, "follow", ("max_future_s",), id="200 from the future"),
    ],
)
def test_a_broken_follow_service_is_seen(
    follow: Follow, faults: Mapping[str, str], component: str, failed: tuple[str, ...]
) -> None:
    seen = night_of(follow, faults)

    assert seen.outcome is Outcome.TARGET_FAIL
    assert (seen.steps[-1].component, seen.steps[-1].failed) == (component, failed)


def test_a_healthy_follow_service_is_well(follow: Follow) -> None:
    assert night_of(follow, {}).outcome is Outcome.OK


def test_a_limit_on_our_probes_is_no_outage(follow: Follow) -> None:
    seen = night_of(follow, {"read": "F22"})

    assert seen.outcome is Outcome.BLOCKED_US
    assert seen.steps[-1].reason == "HTTP 429: the target limits this prober"


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        pytest.param({"steps": []}, "steps", id="no step"),
        pytest.param({"steps": [{"name": "a", "url": "http://x"}]}, "component", id="no component"),
        pytest.param(
            {"component": "c", "steps": [{"name": "a", "url": "http://x", "metod": "GET"}]},
            "steps[0].metod",
            id="a misspelt key",
        ),
        pytest.param(
            {
                "component": "c",
                "steps": [{"name": "a", "url": "http://x", "expect": {"body": [{"path": "[0"}]}}],
            },
            "steps[0].expect.body[0].path",
            id="a broken path",
        ),
        pytest.param(
            {
                "component": "c",
                "steps": [
                    {
                        "name": "a",
                        "url": "http://x",
                        "expect": {"body": [{"path": "a", "matches": "(a+)+"}]},
                    }
                ],
            },
            "steps[0].expect.body[0].matches",
            id="a pattern without end",
        ),
        pytest.param(
            {"component": "c", "steps": [{"name": "a", "url": "http://x/{token}"}]},
            "steps[0]",
            id="a value that nothing saves",
        ),
    ],
)
def test_a_wrong_check_names_its_key(spec: dict[str, Any], key: str) -> None:
    with pytest.raises(BadSpec) as caught:
        kinds.load("http").watches(spec)

    assert any(key in problem.key for problem in caught.value.problems)


def test_a_journey_tells_which_component_each_step_speaks_for() -> None:
    watches = kinds.load("http").watches(journey("http://x"))

    assert [(each.step, each.component) for each in watches] == [
        ("log in", "login"),
        ("newest reading", "follow"),
    ]


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(BadSpec, match="http"):
        kinds.load("telnet")
