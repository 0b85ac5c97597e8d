"""A prober is a door into its own network: what it must not be led to, and what must not hold it up."""

import asyncio
import gzip
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from probes import kinds
from probes.agent.__main__ import OWN
from probes.agent.selfcheck import SelfCheck
from probes.kinds import CheckSpec, Memory, Observation, Outcome
from tests.probes import test_alert, test_canary
from tests.probes.site import says, serving

METADATA = "169.254.169.254"
PASSWORD = "password-of-the-test"


class NameServer(asyncio.SelectorEventLoop):
    """A loop whose names lead where this test says, one answer after the other."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked = 0

    # Any: the signature is asyncio's own and long.
    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> list[Any]:
        if host != "rebinding.example":
            return await super().getaddrinfo(host, port, **more)
        address = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


async def probe(
    kind: str,
    spec: Mapping[str, Any],
    *,
    timeout_s: float = 5,
    environ: Mapping[str, str] | None = None,
) -> Observation:
    memory = Memory(environ or {"SHARE_PASSWORD": PASSWORD})
    check = CheckSpec("check", kind, 30, timeout_s, 0, spec)
    try:
        return await kinds.load(kind).run(check, memory, datetime.now(UTC), timeout_s)
    finally:
        await memory.close()


def one_step(url: str, **more: Any) -> dict[str, Any]:
    return {
        "component": "follow",
        "allow_private": True,
        "steps": [{"name": "read", "url": url}],
        **more,
    }


def test_the_address_that_was_judged_is_the_one_that_is_asked() -> None:
    loop = NameServer("127.0.0.1", METADATA)

    async def scene() -> Observation:
        async with serving(("GET", "/", says({}))) as url:
            port = url.rpartition(":")[2]
            return await probe("http", one_step(f"http://rebinding.example:{port}/"))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(scene()).outcome is Outcome.OK
    # Asked once: a second answer could lead elsewhere.
    assert loop.asked == 1


def test_a_redirect_to_the_same_name_is_judged_again() -> None:
    loop = NameServer("127.0.0.1", METADATA)

    async def moved(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/latest/meta-data")

    async def scene() -> Observation:
        async with serving(("GET", "/", moved)) as url:
            port = url.rpartition(":")[2]
            return await probe("http", one_step(f"http://rebinding.example:{port}/"))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        found = runner.run(scene())
    assert found.outcome is Outcome.PROBER_FAULT
    assert "never probed" in found.steps[0].reason


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_a_name_that_leads_to_metadata_is_not_connected_to(kind: str) -> None:
    loop = NameServer(METADATA)
    spec = {"component": "c", "host": "rebinding.example", "port": 80, "allow_private": True}

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(probe(kind, spec)).outcome is Outcome.PROBER_FAULT


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        pytest.param("http", one_step("http://127.0.0.1:9/", allow_private=False), id="http"),
        pytest.param(
            "canary", test_canary.spec("http://127.0.0.1:9", allow_private=False), id="canary"
        ),
        pytest.param(
            "alert", test_alert.spec("http://127.0.0.1:9", allow_private=False), id="alert"
        ),
    ],
)
def test_no_kind_reaches_a_private_address_unasked(kind: str, spec: dict[str, Any]) -> None:
    found = asyncio.run(probe(kind, spec))

    assert found.outcome is Outcome.PROBER_FAULT
    assert "allow_private" in found.steps[0].reason


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("//localhost:{port}/", id="another host"),
        pytest.param("http://127.0.0.1:{other}/", id="another port"),
        pytest.param("ftp://127.0.0.1/", id="another protocol"),
    ],
)
def test_a_redirect_elsewhere_is_refused_and_takes_no_secret_along(place: str) -> None:
    heard: list[str] = []

    async def listens(request: web.Request) -> web.StreamResponse:
        heard.append(request.headers["Authorization"])
        return web.json_response({})

    async def scene() -> Observation:
        async with serving(("GET", "/", listens)) as there:
            other = there.rpartition(":")[2]

            async def moved(_: web.Request) -> web.StreamResponse:
                raise web.HTTPFound(place.format(port=other, other=other))

            async with serving(("GET", "/", moved)) as here:
                spec = one_step(f"{here}/")
                spec["steps"][0]["headers"] = {"Authorization": "Bearer ${SHARE_PASSWORD}"}
                return await probe("http", spec)

    found = asyncio.run(scene())
    assert (found.outcome, found.steps[0].shape) == (Outcome.TARGET_FAIL, "redirect")
    assert heard == []


@asynccontextmanager
async def talking(*chunks: bytes, every_s: float = 0) -> AsyncIterator[tuple[str, list[int]]]:
    """Serve raw bytes on and on; the list holds how many were taken."""
    sent = [0]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for chunk in chunks:
                writer.write(chunk)
            while True:
                writer.write(chunks[-1])
                await writer.drain()
                sent[0] += len(chunks[-1])
                await asyncio.sleep(every_s)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/", sent


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n"
EXPECTS = {"expect": {"body": [{"path": "a", "exists": True}]}}


@pytest.mark.parametrize(
    ("head", "chunk"),
    [
        pytest.param(HEAD + b"\r\n", b" " * 65_536, id="a gigabyte of blanks"),
        pytest.param(
            HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 100_000_000),
            b"x" * 65_536,
            id="a bomb, and more behind it",
        ),
    ],
)
def test_an_endless_body_is_read_to_its_bound(head: bytes, chunk: bytes) -> None:
    async def scene() -> tuple[Observation, int]:
        async with talking(head, chunk) as (url, sent):
            spec = one_step(url)
            spec["steps"][0] |= EXPECTS
            return await probe("http", spec), sent[0]

    found, sent = asyncio.run(scene())
    assert found.steps[0].reason == "the body was over 256 KB"
    # What both sides' sockets hold beyond what was read.
    assert sent < 16 * 1024 * 1024


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param((b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), id="headers without end"),
        pytest.param((HEAD + b"\r\n", b"x"), id="a body by the drop"),
    ],
)
def test_a_drip_ends_with_the_timeout(chunks: tuple[bytes, ...]) -> None:
    async def scene() -> Observation:
        async with talking(*chunks, every_s=0.05) as (url, _):
            return await probe("http", one_step(url), timeout_s=0.5)

    found = asyncio.run(scene())
    assert (found.outcome, found.steps[0].shape) == (Outcome.TARGET_FAIL, "timeout")


@pytest.mark.parametrize(
    "reference", [METADATA, "[fe80::1]", "0.0.0.0", "http://[::ffff:a9fe:a9fe]"]
)
def test_a_reference_leads_to_no_metadata_service(reference: str) -> None:
    async def scene() -> str:
        check = SelfCheck()
        check.references = (reference,)
        return await check.fault(interval_s=30, since=0)

    assert asyncio.run(scene()) == "own network: reached 0 of 1 references, 1 needed"


def test_our_own_keys_stand_in_no_check() -> None:
    document = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    table = document.partition("## Environment")[2].partition("## URLs")[0]
    named = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", table))
    secret = {name for name in named if re.search("KEY|SECRET|TOKEN|PASSWORD|DSN|HEADERS", name)}
    opening = {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "EMAIL_URL", "BOUNCE_MAILBOX_URL"}
    assert {"SECRET_KEY", "EMAIL_WEBHOOK_SECRET", "STATUSPAGE_KEY"} < secret
    assert opening < named
    assert [name for name in sorted(secret | opening) if not OWN.fullmatch(name)] == []


@pytest.mark.parametrize("name", ["PROBE_PASSWORD", "SHARE_USER", "FOLLOW_PASSWORD", "X_API_KEY"])
def test_the_operators_own_names_do(name: str) -> None:
    assert not OWN.fullmatch(name)


def test_a_kind_is_told_no_secret_even_where_a_service_repeats_it_in_another_form() -> None:
    secret = 'pass "word" ü/&'

    async def echo(request: web.Request) -> web.StreamResponse:
        said = (await request.json())["password"]
        forms = [said, request.url.query_string, request.url.query["password"]]
        return web.json_response({"said": forms}, status=500)

    async def scene() -> Observation:
        async with serving(("POST", "/", echo)) as url:
            spec = one_step(f"{url}/?password=x")
            spec["steps"][0] |= {
                "method": "POST",
                "json": {"password": "${SHARE_PASSWORD}"},
                "expect": {"status": 200},
            }
            return await probe("http", spec, environ={"SHARE_PASSWORD": secret})

    found = asyncio.run(scene())
    assert found.outcome is Outcome.TARGET_FAIL
    assert "word" not in found.answer.replace("password=", "")
