"""Asking over HTTP as a probe does: pinned addresses, timed phases, bodies read to a bound."""

import asyncio
import ipaddress
import json
import os
import socket
import ssl
import time
import zlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from probes.conditions import Unmet

# A reading is under 1 KB, a page under 100 KB; the cap is also that of the unpacked body.
BODY_BYTES_MAX: Final = 256 * 1024
CHUNK_BYTES: Final = 16 * 1024
USER_AGENT: Final = "statuspage-probe/1"
# Addresses that lead to a machine's own credentials, on every cloud.
METADATA: Final = frozenset(
    ipaddress.ip_address(each)
    for each in ("169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Broken(Exception):
    """The target failed; says how."""

    def __init__(self, shape: str, words: str) -> None:
        super().__init__(words)
        self.shape = shape


class Refused(Exception):
    """The address may not be reached from here: the prober's fault, never an outage."""


# ---- the answer ---------------------------------------------------------------------------


@dataclass(slots=True)
class Answer:
    status: int
    content_type: str
    encoding: str
    body: bytes
    # False when the body went beyond BODY_BYTES_MAX.
    whole: bool


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
