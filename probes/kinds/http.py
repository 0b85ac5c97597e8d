"""Kind `http`: a journey of requests, each with what its answer has to be."""

import asyncio
import ipaddress
import json
import os
import re
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Annotated, Any, Final
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from yarl import URL

from probes.conditions import (
    TYPES,
    BadCondition,
    Unmet,
    amount,
    compile_path,
    compile_pattern,
    find,
    unmet,
)
from probes.kinds import (
    BadSpec,
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    Problem,
    StepObservation,
    Watch,
    worst,
)

# A reading is under 1 KB, a page under 100 KB; the cap is also that of the unpacked body.
BODY_BYTES_MAX: Final = 256 * 1024
CHUNK_BYTES: Final = 16 * 1024
REDIRECTS_MAX: Final = 5
STEPS_MAX: Final = 20
EXPECTATIONS_MAX: Final = 50
# Session ids and JWTs stay under 4 KB, as cookies do (RFC 6265, 6.1).
SAVED_CHARS_MAX: Final = 4096
# Under three characters nothing can be hidden without eating the sentence around it.
SECRET_CHARS_MIN: Final = 3
HIDDEN: Final = "•••"
USER_AGENT: Final = "statuspage-probe/1"
TOO_MANY: Final = 429
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Addresses that lead to a machine's own credentials, on every cloud.
METADATA: Final = frozenset(
    ipaddress.ip_address(each)
    for each in ("169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)

_MARK = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


# ---- what site.yaml says ------------------------------------------------------------------


def _a_path(path: str) -> str:
    compile_path(path)
    return path


def _a_pattern(pattern: str) -> str:
    compile_pattern(pattern)
    return pattern


def _a_type(name: str) -> str:
    if name not in TYPES:
        raise BadCondition(f"expected one of {', '.join(TYPES)}, not {name!r}")
    return name


Path = Annotated[str, AfterValidator(_a_path)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expectation(Strict):
    """What one value of the body has to be; without a path, the body as text."""

    path: Path | None = None
    equals: Any = None  # Any: whatever JSON can hold.
    not_equals: Any = None
    type: Annotated[str, AfterValidator(_a_type)] | None = None
    min_length: Annotated[int, Field(ge=0)] | None = None
    between: tuple[float, float] | None = None
    matches: Annotated[str, AfterValidator(_a_pattern)] | None = None
    contains: Any = None
    exists: bool | None = None
    max_age_s: Annotated[float, Field(ge=0)] | None = None
    max_future_s: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> "Expectation":
        if not self.model_fields_set - {"path"}:
            raise ValueError("expected a condition next to the path, such as `exists: true`")
        return self

    def asked(self) -> dict[str, Any]:
        """Return the conditions that were written, `equals: null` too."""
        return self.model_dump(exclude_unset=True, exclude={"path"})


class Expect(Strict):
    """What an answer has to be."""

    status: int | tuple[int, ...] | None = None
    content_type: str | None = None
    body: Annotated[tuple[Expectation, ...], Field(max_length=EXPECTATIONS_MAX)] = ()
    degraded_over_s: Annotated[float, Field(gt=0)] | None = None

    def statuses(self) -> tuple[int, ...]:
        """Return the status codes that are right; empty means any of 200 to 299."""
        if self.status is None:
            return ()
        return (self.status,) if isinstance(self.status, int) else self.status


class Step(Strict):
    """One request of the journey."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    component: str | None = None
    method: Annotated[str, Field(pattern=r"^[A-Z]{3,10}$")] = "GET"
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    headers: dict[str, str] = {}
    json_: Annotated[Any, Field(alias="json")] = None  # Any: whatever JSON can hold.
    form: dict[str, str] | None = None
    body: str | None = None
    expect: Expect = Expect()
    save: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Path] = {}


class Journey(Strict):
    """All of a check of this kind."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=STEPS_MAX)]
    component: str | None = None
    allow_private: bool = False


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the steps with their components; raise BadSpec when the check is wrong."""
    journey = parse(spec)
    problems = _unlabelled(journey) + _unknown_names(journey)
    if problems:
        raise BadSpec(tuple(problems))
    return tuple(
        Watch(step=step.name, component=step.component or journey.component or "")
        for step in journey.steps
    )


def parse(spec: Mapping[str, Any]) -> Journey:
    """Read a check's own keys; raise BadSpec naming each wrong one."""
    try:
        return Journey.model_validate(dict(spec))
    except ValidationError as error:
        raise BadSpec(tuple(problem_of(each) for each in error.errors())) from None


def problem_of(error: Mapping[str, Any]) -> Problem:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(key.lstrip(".") or "check", message[:1].lower() + message[1:])


def _unlabelled(journey: Journey) -> list[Problem]:
    named: set[str] = set()
    problems: list[Problem] = []
    for index, step in enumerate(journey.steps):
        if not (step.component or journey.component):
            problems.append(
                Problem(
                    f"steps[{index}].component",
                    "expected a component here or on the check",
                )
            )
        if step.name in named:
            problems.append(Problem(f"steps[{index}].name", "expected each name only once"))
        named.add(step.name)
    return problems


def _unknown_names(journey: Journey) -> list[Problem]:
    saved: set[str] = set()
    problems: list[Problem] = []
    for index, step in enumerate(journey.steps):
        texts = [
            step.url,
            step.body or "",
            json.dumps(step.json_),
            *(step.form or {}).values(),
        ]
        for text in (*texts, *step.headers.values()):
            for found in _MARK.finditer(text):
                if found[2] and found[2] not in saved:
                    words = f"{{{found[2]}}} was saved by no earlier step"
                    problems.append(Problem(f"steps[{index}]", words))
        saved |= set(step.save)
    return problems


# ---- one run ------------------------------------------------------------------------------


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Walk the journey once; the first failing step is the last."""
    try:
        client, journey = _client(check, memory)
    except BadSpec as error:
        return Observation(Outcome.PROBER_FAULT, (), f"the check cannot be run: {error}")
    values = Values(environ=memory.environ)
    steps: list[StepObservation] = []
    began = time.monotonic()
    for step in journey.steps:
        step_now = now + timedelta(seconds=time.monotonic() - began)
        component = step.component or journey.component or ""
        steps.append(await _Attempt(step, component, client, values).run(step_now, timeout_s))
        if steps[-1].outcome not in (Outcome.OK, Outcome.SLOW):
            break
    return Observation(worst(tuple(step.outcome for step in steps)), tuple(steps))


def _client(check: CheckSpec, memory: Memory) -> tuple["Client", Journey]:
    if "journey" not in memory.kept:
        journey = parse(check.spec)
        client = Client(allow_private=journey.allow_private)
        memory.keep("client", client, client.session.close)
        memory.kept["journey"] = journey
    return memory.kept["client"], memory.kept["journey"]


class NotFilled(Exception):
    """A step needs a value that the prober does not have: the prober's fault."""


class Broken(Exception):
    """The target failed; says how."""

    def __init__(self, shape: str, words: str) -> None:
        super().__init__(words)
        self.shape = shape


class Refused(Exception):
    """The address may not be reached from here: the prober's fault, never an outage."""


@dataclass(slots=True)
class Values:
    """What marks in a step stand for, and what must not be told."""

    environ: Mapping[str, str]
    saved: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)

    def fill(self, text: str, *, url: bool = False) -> str:
        """Put values in place of `{name}` and `${NAME}`; `{{` and `}}` are braces."""

        def value(found: re.Match[str]) -> str:
            if found[1]:
                return self._from_environ(found[1])
            if found[2]:
                # A saved value may not lead the request to another host.
                return quote(self._saved(found[2]), safe="/") if url else self._saved(found[2])
            return found[0][0]

        return _MARK.sub(value, text)

    def fill_json(self, value: Any) -> Any:  # Any: whatever JSON can hold.
        """Fill every text inside a JSON value."""
        match value:
            case str():
                return self.fill(value)
            case list() | tuple():
                return [self.fill_json(each) for each in value]
            case dict():
                return {key: self.fill_json(each) for key, each in value.items()}
            case _:
                return value

    def hide(self, text: str) -> str:
        """Take every secret out of a text, the longest first."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text

    def save(self, name: str, value: str) -> None:
        """Keep what an answer gave for later steps."""
        self.saved[name] = value
        self._is_secret(value)

    def _from_environ(self, name: str) -> str:
        if name not in self.environ:
            raise NotFilled(f"${{{name}}} is not set in the prober's environment")
        self._is_secret(self.environ[name])
        return self.environ[name]

    def _saved(self, name: str) -> str:
        if name not in self.saved:
            raise NotFilled(f"{{{name}}} was saved by no earlier step")
        return self.saved[name]

    def _is_secret(self, value: str) -> None:
        self.secrets |= {
            each
            for each in (value, quote(value, safe=""), json.dumps(value)[1:-1])
            if len(each) >= SECRET_CHARS_MIN
        }


@dataclass(slots=True)
class Answer:
    status: int
    content_type: str
    encoding: str
    body: bytes
    # False when the body went beyond BODY_BYTES_MAX.
    whole: bool


class _Attempt:
    """One step, tried once."""

    def __init__(self, step: Step, component: str, client: "Client", values: Values) -> None:
        self.step = step
        self.component = component
        self.client = client
        self.values = values

    async def run(self, now: datetime, timeout_s: float) -> StepObservation:
        """Ask and look; never raises."""
        self.client.marks = Marks()
        MARKS.set(self.client.marks)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ask()
        except (NotFilled, Refused) as error:
            return self._seen(Outcome.PROBER_FAULT, str(error), shape="private")
        except Broken as error:
            return self._seen(Outcome.TARGET_FAIL, str(error), shape=error.shape)
        except TimeoutError:
            words = f"{self.client.marks.waited_for()} within {amount(timeout_s)} s"
            return self._seen(Outcome.TARGET_FAIL, words, shape="timeout")
        except (aiohttp.InvalidURL, ValueError, TypeError):
            # A header with a line break, a port out of range: what was filled in is no request.
            return self._seen(Outcome.PROBER_FAULT, "the filled-in request is not valid")
        except (aiohttp.ClientError, OSError) as error:
            shape, words = in_words(error)
            return self._seen(Outcome.TARGET_FAIL, words, shape=shape)
        return self._judge(answer, now + timedelta(seconds=self.client.marks.total_s()))

    def _judge(self, answer: Answer, now: datetime) -> StepObservation:
        if answer.status == TOO_MANY and TOO_MANY not in self.step.expect.statuses():
            # Said to us, not to people: detection.md, F22.
            words = f"HTTP {TOO_MANY}: the target limits this prober"
            return self._seen(Outcome.BLOCKED_US, words, "limited", status=answer.status)
        failures = self._failures(answer, now)
        if not failures:
            failures = self._save(answer)
        if failures:
            words = "; ".join(each.words for each in failures)
            shape = "http" if failures[0].condition == "status" else "body"
            failed = tuple(each.condition for each in failures)
            return self._seen(Outcome.TARGET_FAIL, words, shape, failed, answer.status)
        slow_s = self.step.expect.degraded_over_s
        total_s = self.client.marks.total_s()
        if slow_s is not None and total_s > slow_s:
            words = f"took {amount(total_s)} s, allowed {amount(slow_s)}"
            return self._seen(Outcome.SLOW, words, "slow", ("degraded_over_s",), answer.status)
        return self._seen(Outcome.OK, "", status=answer.status)

    def _seen(
        self,
        outcome: Outcome,
        reason: str,
        shape: str = "",
        failed: tuple[str, ...] = (),
        status: int | None = None,
    ) -> StepObservation:
        return StepObservation(
            name=self.step.name,
            component=self.component,
            outcome=outcome,
            reason=self.values.hide(reason),
            failed=failed,
            shape=shape,
            status=status,
            phases_ms=self.client.marks.phases_ms(),
        )

    # -- asking --

    async def _ask(self) -> Answer:
        step, values = self.step, self.values
        try:
            url = URL(values.fill(step.url, url=True))
        except ValueError:
            raise NotFilled("the filled-in url is not valid") from None
        method = step.method
        headers = {name: values.fill(text) for name, text in step.headers.items()}
        payload: dict[str, Any] = {}  # Any: aiohttp's own keyword arguments.
        if step.json_ is not None:
            payload["json"] = values.fill_json(step.json_)
        elif step.form is not None:
            payload["data"] = values.fill_json(step.form)
        elif step.body is not None:
            payload["data"] = values.fill(step.body)
        for _ in range(REDIRECTS_MAX + 1):
            self.client.check(url)
            async with self.client.session.request(
                method, url, headers=headers, allow_redirects=False, **payload
            ) as response:
                onward = self._onward(response, url)
                if onward is None:
                    return await read_answer(response)
                if response.status not in (307, 308) and method != "HEAD":
                    method, payload = "GET", {}
                url = onward
        raise Broken("redirect", f"redirected more than {REDIRECTS_MAX} times")

    def _onward(self, response: aiohttp.ClientResponse, url: URL) -> URL | None:
        """Return where a redirect leads, None when it is an answer; other hosts are refused."""
        place = response.headers.get("Location")
        expected = response.status in self.step.expect.statuses()
        if response.status not in REDIRECTS or place is None or expected:
            return None
        try:
            onward = url.join(URL(place))
        except ValueError:
            raise Broken("redirect", f"HTTP {response.status} to no valid address") from None
        # Plain http may lead to https, never back: headers hold secrets.
        weaker = url.scheme == "https" and onward.scheme != "https"
        if onward.host != url.host or weaker or (onward.port != url.port and _own_port(onward)):
            raise Broken("redirect", f"HTTP {response.status} to another host, not followed")
        return onward

    # -- looking --

    def _failures(self, answer: Answer, now: datetime) -> list[Unmet]:
        expect = self.step.expect
        failure = _wrong_status(answer, expect)
        if failure:
            return [failure]
        if expect.content_type and answer.content_type != expect.content_type.lower():
            words = f"content type was {answer.content_type or 'missing'}, "
            return [Unmet("content_type", words + f"expected {expect.content_type}")]
        if not expect.body:
            return []
        if not answer.whole:
            return [Unmet("body", f"the body was over {BODY_BYTES_MAX // 1024} KB")]
        return self._body_failures(answer, now)

    def _body_failures(self, answer: Answer, now: datetime) -> list[Unmet]:
        text = text_of(answer)
        document: Any = None  # Any: whatever JSON can hold.
        if any(each.path is not None for each in self.step.expect.body):
            document = document_of(text)
            if isinstance(document, Unmet):
                return [document]
        failures: list[Unmet] = []
        for each in self.step.expect.body:
            value = text if each.path is None else find(each.path, document)
            subject = "the body" if each.path is None else each.path
            asked = each.asked()
            failures += unmet(asked, value, now, subject=subject, hide=self.values.hide)
        return failures

    def _save(self, answer: Answer) -> list[Unmet]:
        if not self.step.save:
            return []
        document = (
            document_of(text_of(answer)) if answer.whole else Unmet("body", "the body was cut")
        )
        if isinstance(document, Unmet):
            return [document]
        for name, path in self.step.save.items():
            value = find(path, document)
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                return [Unmet("save", f"{path}, to be saved as {name}, was missing")]
            if len(str(value)) > SAVED_CHARS_MAX:
                return [Unmet("save", f"{path} was over {amount(SAVED_CHARS_MAX)} characters")]
            self.values.save(name, str(value))
        return []


def _own_port(url: URL) -> bool:
    return url.explicit_port is not None


def _wrong_status(answer: Answer, expect: Expect) -> Unmet | None:
    right = expect.statuses()
    if answer.status in right or (not right and 200 <= answer.status < 300):
        return None
    expected = " or ".join(str(each) for each in right) or "200 to 299"
    return Unmet("status", f"HTTP {answer.status}, expected {expected}")


async def read_answer(response: aiohttp.ClientResponse) -> Answer:
    """Read at most BODY_BYTES_MAX, unpacked."""
    packed = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packed not in ("identity", "", "gzip"):
        raise Broken("body", "the body was packed in a way that was not asked for")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if packed == "gzip" else None
    body = bytearray()
    whole = True
    while whole and (chunk := await response.content.read(CHUNK_BYTES)):
        body += _unpacked(unpacker, chunk, BODY_BYTES_MAX + 1 - len(body))
        whole = len(body) <= BODY_BYTES_MAX
    return Answer(
        status=response.status,
        content_type=response.headers.get("Content-Type", "").split(";")[0].strip().lower(),
        encoding=response.charset or "utf-8",
        body=bytes(body[:BODY_BYTES_MAX]),
        whole=whole,
    )


# Any: zlib gives the class of its objects no public name.
def _unpacked(unpacker: Any, chunk: bytes, room: int) -> bytes:
    if unpacker is None:
        return chunk[:room]
    try:
        return bytes(unpacker.decompress(chunk, room))
    except zlib.error:
        raise Broken("body", "the body was said to be gzip and was not") from None


def text_of(answer: Answer) -> str:
    try:
        return answer.body.decode(answer.encoding, errors="replace")
    except LookupError:
        return answer.body.decode(errors="replace")


def document_of(text: str) -> Any:  # Any: whatever JSON can hold, or Unmet.
    if not text.strip():
        return Unmet("json", "the body was empty, expected JSON")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        page = text.lstrip()[:1] == "<"
        return Unmet("json", f"the body was {'a web page' if page else 'no JSON'}, expected JSON")


def in_words(error: Exception) -> tuple[str, str]:
    """Say what went wrong on the way; never the library's text, which holds the URL."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "dns", "the name did not resolve"
        case aiohttp.ClientConnectorCertificateError():
            return (
                "tls",
                f"the certificate was not accepted: {_why(error.certificate_error)}",
            )
        case aiohttp.ClientSSLError():
            return "tls", "the TLS handshake failed"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return "refused", "the connection was refused"
        case aiohttp.ClientConnectorError():
            return (
                "connect",
                f"could not connect: {os.strerror(error.os_error.errno or 0)}",
            )
        case aiohttp.ServerDisconnectedError() | ConnectionResetError():
            return "reset", "the connection was closed before an answer came"
        case aiohttp.ClientPayloadError():
            return "body", "the answer broke off"
        case aiohttp.ClientResponseError():
            return "http", "the answer was no HTTP"
        case aiohttp.ClientOSError():
            return "reset", "the connection broke"
        case _:
            return "unknown", f"the request failed ({type(error).__name__})"


def _why(error: Exception) -> str:
    return str(getattr(error, "verify_message", "")) or type(error).__name__


# ---- the connection -----------------------------------------------------------------------


@dataclass(slots=True)
class Marks:
    """When the phases of one step began and ended, on the monotonic clock."""

    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    dns_s: float = 0.0
    dns_started: float | None = None
    connect_started: float | None = None
    tls_started: float | None = None
    connected: float | None = None
    first_byte: float | None = None

    def total_s(self) -> float:
        """Return how long the step took, or takes so far."""
        self.ended = self.ended or time.monotonic()
        return self.ended - self.started

    def waited_for(self) -> str:
        """Say what did not come in time."""
        if self.connected is None:
            return "no connection"
        return "no answer" if self.first_byte is None else "the answer was not whole"

    def phases_ms(self) -> dict[str, float]:
        """Return what is known of the phases; one that was not reached is absent."""
        phases: dict[str, float] = {}
        if self.dns_started is not None or self.connected is not None:
            phases["dns"] = self.dns_s
        if self.connected is not None and self.connect_started is not None:
            tls_started = self.tls_started or self.connected
            phases["connect"] = tls_started - self.connect_started - self.dns_s
            phases["tls"] = self.connected - tls_started
            if self.first_byte is not None:
                phases["first_byte"] = self.first_byte - self.connected
        phases["total"] = self.total_s()
        return {name: round(max(seconds, 0) * 1000, 1) for name, seconds in phases.items()}


# The step that runs in this task: the TLS context is shared by all of them.
MARKS: ContextVar[Marks] = ContextVar("marks")


class Client:
    """A session that makes a fresh connection each time and knows where it may go."""

    def __init__(self, *, allow_private: bool) -> None:
        self.allow_private = allow_private
        self.marks = Marks()
        connector = aiohttp.TCPConnector(
            force_close=True,
            use_dns_cache=False,
            resolver=_Resolver(self),
            ssl=tls_context(),
        )
        self.session = aiohttp.ClientSession(
            connector=connector,
            # Unpacked by read_answer, which knows where to stop.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
            # asyncio.timeout bounds the step as a whole.
            timeout=aiohttp.ClientTimeout(total=None),
            trace_configs=[_trace(self)],
        )

    def check(self, url: URL) -> None:
        """Raise unless the URL may be asked; names are judged again once they resolved."""
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused("expected an http or https url with a host")
        try:
            self.admit(url.host)
        except ValueError:
            return

    def admit(self, address: str) -> None:
        """Raise Refused for an address that may not be reached, ValueError for a name."""
        admit(address, allow_private=self.allow_private)


@lru_cache(maxsize=1024)
def admit(address: str, *, allow_private: bool) -> None:
    """Raise Refused for an address that may not be reached, ValueError for a name."""
    host = _inner(ipaddress.ip_address(address.split("%")[0]))
    if host.is_link_local or host in METADATA or host.is_multicast or host.is_unspecified:
        raise Refused("the address is link-local or a metadata service, never probed")
    if not host.is_global and not allow_private:
        raise Refused("the address is private; allow_private: true would permit it")


def _inner(host: Address) -> Address:
    """Return the IPv4 address inside an IPv6 one: mapped, 6to4, Teredo or NAT64."""
    if isinstance(host, ipaddress.IPv4Address):
        return host
    if host in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(host) & 0xFFFFFFFF)
    return host.ipv4_mapped or host.sixtofour or (host.teredo or (None, None))[1] or host


class _Resolver(AbstractResolver):
    """Resolves, judges every address and hands on just those: what was judged is connected."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family
        )
        results: list[ResolveResult] = []
        for kind, _, protocol, _, place in found:
            address = str(place[0])
            self.client.admit(address)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is kept."""


class _TimedTls(ssl.SSLContext):
    """Notes when the handshake begins, which aiohttp's tracing does not tell."""

    # Any: the signature is ssl's own and long.
    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        MARKS.get().tls_started = time.monotonic()
        return super().wrap_bio(*args, **kwargs)


@lru_cache(maxsize=1)
def tls_context() -> _TimedTls:
    """Return the one context of all checks: reading the authorities takes 10 ms and 1 MB."""
    context = _TimedTls(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def _trace(client: Client) -> aiohttp.TraceConfig:
    trace: aiohttp.TraceConfig = aiohttp.TraceConfig()

    async def connecting(*_: object) -> None:
        client.marks.connect_started = time.monotonic()
        client.marks.dns_s = 0.0
        client.marks.tls_started = None

    async def connected(*_: object) -> None:
        client.marks.connected = time.monotonic()

    async def resolving(*_: object) -> None:
        client.marks.dns_started = time.monotonic()

    async def resolved(*_: object) -> None:
        client.marks.dns_s = time.monotonic() - (client.marks.dns_started or time.monotonic())

    async def answered(_: aiohttp.ClientSession, __: SimpleNamespace, ___: object) -> None:
        client.marks.first_byte = time.monotonic()

    trace.on_connection_create_start.append(connecting)
    trace.on_connection_create_end.append(connected)
    trace.on_dns_resolvehost_start.append(resolving)
    trace.on_dns_resolvehost_end.append(resolved)
    trace.on_request_end.append(answered)
    return trace
