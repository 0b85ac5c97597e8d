"""POST to an address that a stranger gave us: checked, pinned, bounded, and never redirected."""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import SplitResult, quote, urlsplit

import certifi

from notifications.channels import Outcome, _http, accepted, refused, retry, unknown

# Nobody waits longer for a stranger's server: connect, TLS and the whole answer together.
# Standard Webhooks advises 15 to 30 s; the lease of a batch leaves DELIVERY_S.
POST_S = _http.DELIVERY_S
# Of an answer only its first bytes matter: a challenge, or a provider's word for a failure.
ANSWER_BYTES_MAX = 16 * 1024
# Idle connections kept by one channel, and how long: a push service takes thousands a minute.
KEPT_MAX = 32
KEPT_S = 20.0

_PORTS = {"http": 80, "https": 443}


class Unsafe(ValueError):
    """The address leads to a place that we do not write to; the text says which, in one sentence."""


class NotSent(OSError):
    """The request never left: it may be sent again freely."""


class NoAnswer(OSError):
    """The request left and no readable answer came: the receiver may or may not have it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stranger's server said; `body` is its first ANSWER_BYTES_MAX bytes, undecoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Kept:
    connection: http.client.HTTPConnection
    since: float


# security.md, "SSRF": the usual port of the web and its usual second; no other service is knocked at.
PORTS = (443, 8443)


@cache
def _trusting() -> ssl.SSLContext:
    """Return what every poster verifies by, made once: reading the authorities takes 40 ms."""
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=certifi.where())
    return context


class Poster:
    """Sends POSTs over connections of its own; may be used by several threads at once.

    Every name is resolved anew for each connection, every address it has must be a public one
    (`ipaddress.is_global`: loopback, private, link-local, shared and mapped ranges are not), and the
    connection goes to the very address that was checked, so that a second answer of the DNS cannot
    move it. A resolver's error refuses: fail closed.
    """

    def __init__(
        self, *, allow_private: bool = False, keep: bool = False, post_s: float = POST_S
    ) -> None:
        self._allow_private = allow_private
        # A request on a kept connection may have to go out twice: only where a copy does no harm.
        self._kept_max = KEPT_MAX if keep else 0
        self._post_s = post_s
        self._kept: OrderedDict[tuple[str, str, int], list[_Kept]] = OrderedDict()
        self._lock = threading.Lock()
        self._tls = _trusting()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer. Raises Unsafe, NotSent, NoAnswer."""
        parts = self._checked(url)
        place = (parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])
        ends = time.monotonic() + self._post_s
        connection = self._idle(place)
        if connection is not None:
            try:
                return self._exchange(connection, place, parts, body, headers, ends)
            except _Stale:
                # It had closed meanwhile, before it took anything: a fresh one decides.
                pass
        return self._exchange(self._open(place, ends), place, parts, body, headers, ends)

    def close(self) -> None:
        with self._lock:
            kept = [each for row in self._kept.values() for each in row]
            self._kept.clear()
        for each in kept:
            each.connection.close()

    def _checked(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            parts = parts._replace(path=_named(parts.path), query=_named(parts.query))
            host, port = parts.hostname, parts.port
        except ValueError:  # UnicodeError is one: half a character
            raise Unsafe("The address cannot be read.") from None
        allowed = ("https", "http") if self._allow_private else ("https",)
        if parts.scheme not in allowed or not host:
            raise Unsafe("The address must begin with https://.")
        if not self._allow_private and port not in (None, *PORTS):
            raise Unsafe(f"The address names port {port}; allowed are 443 and 8443.")
        if parts.username or parts.password:
            raise Unsafe("The address holds a user name or password.")
        return parts

    def _open(self, place: tuple[str, str, int], ends: float) -> http.client.HTTPConnection:
        scheme, host, port = place
        address = self._pinned(host, port)
        left_s = max(0.1, min(_http.CONNECT_TIMEOUT_S, ends - time.monotonic()))
        connection = http.client.HTTPConnection(host, port, timeout=left_s)
        try:
            plain = socket.create_connection((address, port), timeout=left_s)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            is_tls = scheme == "https"
            connection.sock = self._wrapped(plain, host) if is_tls else plain
        except ssl.SSLCertVerificationError as error:
            raise NotSent(f"its certificate is not valid: {error.verify_message}") from error
        except OSError as error:
            raise NotSent("could not connect") from error
        return connection

    def _wrapped(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        try:
            return self._tls.wrap_socket(plain, server_hostname=host)
        except OSError:
            plain.close()
            raise

    def _pinned(self, host: str, port: int) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotSent("its name could not be resolved") from error
        addresses = [str(row[4][0]) for row in found]
        if not self._allow_private:
            for address in addresses:
                if not _is_public(address):
                    raise Unsafe("The address leads into a private network.")
        return addresses[0]

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        place: tuple[str, str, int],
        parts: SplitResult,
        body: bytes,
        headers: Mapping[str, str],
        ends: float,
    ) -> Answer:
        """Send and read within the time left: a timer cuts a server that drips its answer."""
        raw = connection.sock
        assert raw is not None, "an exchange has an open connection"
        left_s = max(0.1, ends - time.monotonic())
        raw.settimeout(left_s)
        timer = threading.Timer(left_s, _cut, args=(raw,))
        timer.daemon = True
        timer.start()
        try:
            answer, reusable = _spoken(connection, parts, body, headers)
        except BaseException:
            connection.close()
            raise
        finally:
            timer.cancel()
        if reusable:
            self._keep(place, connection)
        else:
            connection.close()
        return answer

    def _idle(self, place: tuple[str, str, int]) -> http.client.HTTPConnection | None:
        now = time.monotonic()
        stale: list[_Kept] = []
        found: _Kept | None = None
        with self._lock:
            row = self._kept.get(place, [])
            while row and found is None:
                one = row.pop()
                if now - one.since < KEPT_S:
                    found = one
                else:
                    stale.append(one)
        for one in stale:
            one.connection.close()
        return found.connection if found else None

    def _keep(self, place: tuple[str, str, int], connection: http.client.HTTPConnection) -> None:
        dropped: list[_Kept] = []
        with self._lock:
            self._kept.setdefault(place, []).append(_Kept(connection, time.monotonic()))
            self._kept.move_to_end(place)
            while sum(map(len, self._kept.values())) > self._kept_max:
                oldest = next(iter(self._kept))
                row = self._kept[oldest]
                dropped.append(row.pop(0))
                if not row:
                    del self._kept[oldest]
        for each in dropped:
            each.connection.close()


class _Stale(OSError):
    """A kept connection had been closed by the other side."""


def _is_public(address: str) -> bool:
    """Say whether an address is a public one; NAT64 and mapped IPv4 are judged by what they hold."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or _nat64(ip)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None


def _named(text: str) -> str:
    """Return a path or query as a request can name it: RFC 3987 §3.1 has what is no visible ASCII percent-encoded."""
    return "".join(char if "!" <= char <= "~" else quote(char) for char in text)


def _cut(raw: socket.socket) -> None:
    try:
        raw.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The exchange ended at the same moment.
        return


def _spoken(
    connection: http.client.HTTPConnection,
    parts: SplitResult,
    body: bytes,
    headers: Mapping[str, str],
) -> tuple[Answer, bool]:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body=body, headers=dict(headers))
    except (OSError, http.client.HTTPException) as error:
        raise _Stale("the connection was closed") from error
    try:
        response = connection.getresponse()
        said = response.read(ANSWER_BYTES_MAX)
    except http.client.RemoteDisconnected as error:
        raise _Stale("closed without an answer") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer("no readable answer in time") from error
    is_read_out = response.isclosed() and not response.will_close
    return Answer(response.status, dict(response.headers.items()), said), is_read_out


def attempt(poster: Poster, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | Outcome:
    """Return the answer, or the outcome of a request that got none."""
    try:
        return poster.post(url, body, headers)
    except Unsafe as error:
        return refused(str(error))
    except _Stale:
        return unknown("the connection broke before an answer came")
    except NotSent as error:
        return retry(str(error))
    except NoAnswer as error:
        return unknown(str(error))


def outcome_of(answer: Answer, *, provider_id: str = "") -> Outcome:
    """Return what an answer means where the same message may be sent again without harm.

    2xx alone is success, a redirect is a failure that nobody follows, 410 ends it for good
    (Standard Webhooks, "Operational considerations").
    """
    if 200 <= answer.status < 300:
        return accepted(provider_id)
    if answer.status == 410:
        return refused("it answered 410: gone for good", dead=True)
    after_s = _http.retry_after_s(_Caseless(answer.headers))
    return retry(f"it answered {answer.status}", after_s=after_s)


class _Caseless(dict[str, str]):
    """Headers by any capitals."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in headers.items()})

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]  # header values are never None
        return super().get(name.lower(), default)


def allows_private(environ: Mapping[str, str]) -> bool:
    """Say whether loopback and private addresses are allowed, over http too (tests, small nets)."""
    return environ.get("WEBHOOK_ALLOW_PRIVATE", "").strip().lower() in ("1", "on", "true")
