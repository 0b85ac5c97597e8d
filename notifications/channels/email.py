"""E-mail, over SMTP or a provider's API, with a second way when the first is down."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from email.utils import parseaddr
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from notifications.breaker import Breaker
from notifications.channels import (
    AddressKind,
    Misconfigured,
    Outcome,
    Recipient,
    Result,
    _esp,
    _http,
    _lane,
    _mail,
    _smtp,
)
from notifications.messages import Notice

NAME = "email"
LABEL = "E-mail"
ADDRESS_KIND = AddressKind.EMAIL

# What the first way did not take goes by the second: so many at a time, and not much later, for they were asked about
# when they were pulled.
NOT_TAKEN_MAX = 20
NOT_TAKEN_S = 1.0
CONNECTIONS_LIMIT = 50  # of one sending thread; more is an attack on the relay
_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


class Line(Protocol):
    """A way to hand over mail; it reads ahead `group` recipients at most."""

    provider: str
    group: int

    def send(self, notice: Notice, batch: Iterable[Recipient]) -> Iterator[tuple[str, Outcome]]: ...

    def check(self) -> str: ...

    def close(self) -> None: ...


class Email:
    name = NAME
    label = LABEL
    address_kind = ADDRESS_KIND

    def __init__(
        self, line: Line, fallback: Line | None = None, *, per_s: float | None = None
    ) -> None:
        self._line = line
        self._fallback = fallback
        self._breaker = Breaker()
        self.per_s = per_s
        self.provider = line.provider
        self.group = max(line.group, fallback.group) if fallback else line.group

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        if self._fallback is None:
            yield from self._line.send(notice, batch)
            return
        left = _Left(batch)
        while not left.is_over:
            if self._breaker.allowance(time.monotonic()) == 0:
                yield from _named(self._fallback, notice, self._while_down(left))
            else:
                yield from self._first_or_fallback(self._fallback, notice, left)

    def preview(self, notice: Notice) -> str:
        text, _ = _mail.bodies(notice, _mail.Foot(), _mail.Foot())
        return f"{notice.subject}\n\n{text}"

    def check(self) -> str:
        """Return "" when the ways that can be tried without sending let us in, else a sentence for each that does not."""
        ways = {"EMAIL_URL": self._line, "EMAIL_FALLBACK_URL": self._fallback}
        found = ((name, way.check()) for name, way in ways.items() if way is not None)
        return " ".join(f"{name}: {why}" for name, why in found if why)

    def close(self) -> None:
        self._line.close()
        if self._fallback:
            self._fallback.close()

    def _while_down(self, left: "_Left") -> Iterator[Recipient]:
        while self._breaker.allowance(time.monotonic()) == 0 and (next_one := left.take()):
            yield next_one

    def _while_up(self, left: "_Left", pulled: dict[str, Recipient]) -> Iterator[Recipient]:
        allowance = self._breaker.allowance(time.monotonic())
        while allowance != 0 and (next_one := left.take()):
            pulled[next_one.delivery] = next_one
            yield next_one
            # Half open, one mail tells; closed, the next one may go unless the last answers opened it.
            allowance = 0 if allowance == 1 else self._breaker.allowance(time.monotonic())

    def _first_or_fallback(
        self, fallback: Line, notice: Notice, left: "_Left"
    ) -> Iterator[tuple[str, Outcome]]:
        """Hand to the second way what the first surely did not take; what it may have taken stays unknown."""
        pulled: dict[str, Recipient] = {}
        not_taken: list[Recipient] = []
        since = 0.0
        for delivery, outcome in _named(self._line, notice, self._while_up(left, pulled)):
            self._note(outcome)
            recipient = pulled.pop(delivery)
            if outcome.result is Result.RETRY:
                since = since if not_taken else time.monotonic()
                not_taken.append(recipient)
            else:
                yield delivery, outcome
            is_old = bool(not_taken) and time.monotonic() - since > NOT_TAKEN_S
            if len(not_taken) >= min(fallback.group, NOT_TAKEN_MAX) or is_old:
                yield from _named(fallback, notice, not_taken)
                not_taken = []
        yield from _named(fallback, notice, not_taken)

    def _note(self, outcome: Outcome) -> None:
        if outcome.result in (Result.ACCEPTED, Result.REFUSED):
            self._breaker.worked()
        else:
            self._breaker.failed(time.monotonic(), wait_s=outcome.retry_after_s)


class _Left:
    """What is still to be pulled of a batch, and whether that is nothing."""

    def __init__(self, batch: Iterator[Recipient]) -> None:
        self._batch = batch
        self.is_over = False

    def take(self) -> Recipient | None:
        found = next(self._batch, None)
        self.is_over = found is None
        return found


def _named(line: Line, notice: Notice, batch: Iterable[Recipient]) -> Iterator[tuple[str, Outcome]]:
    """Send by `line` and let each outcome say so: the ledger names the provider of each delivery."""
    for delivery, outcome in line.send(notice, batch):
        yield delivery, replace(outcome, provider=line.provider)


def configure(
    environ: Mapping[str, str], *, timeouts: _http.Timeouts = _http.TIMEOUTS
) -> Email | None:
    url = environ.get("EMAIL_URL", "").strip()
    fallback_url = environ.get("EMAIL_FALLBACK_URL", "").strip()
    if not url:
        if fallback_url:
            raise Misconfigured(
                "EMAIL_FALLBACK_URL is set without EMAIL_URL, which must be set too."
            )
        return None
    sender = sender_of(environ)
    line = _line("EMAIL_URL", url, sender, timeouts)
    per_s = _http.rate(environ, "EMAIL_PER_S", 0.0) if environ.get("EMAIL_PER_S") else None
    if not fallback_url:
        return Email(line, per_s=per_s)
    second = _line("EMAIL_FALLBACK_URL", fallback_url, sender, timeouts)
    return Email(line, second, per_s=per_s)


def sender_of(environ: Mapping[str, str]) -> str:
    """Return the sender of our mails, with or without a name. Raises Misconfigured."""
    sender = environ.get("EMAIL_FROM", "").strip()
    if not sender:
        host = urlsplit(environ.get("SITE_URL", "")).hostname or "localhost"
        # An address in digits is no mail domain.
        return f"status@{'localhost' if host.replace('.', '').isdecimal() or ':' in host else host}"
    try:
        _mail.clean_address(parseaddr(sender)[1])
    except ValueError:
        raise Misconfigured(
            f"EMAIL_FROM must be an e-mail address, with or without a name, not {sender!r}."
        ) from None
    return sender


def _line(variable: str, url: str, sender: str, timeouts: _http.Timeouts) -> Line:
    # Nothing of the address is repeated in an error: it holds the password.
    scheme = url.partition("://")[0]
    if scheme in _PORTS:
        server = _server(variable, url, scheme)
        return _smtp.SmtpLine(server, sender, timeouts, connections=_connections(variable, url))
    if scheme.startswith("anymail+"):
        name, options = _provider(variable, url, scheme)
        return _esp.EspLine(name, options, sender, timeouts)
    raise Misconfigured(
        f"{variable} must begin with smtp://, smtp+tls://, smtps:// or anymail+PROVIDER://, not {scheme!r}."
    )


def _connections(variable: str, url: str) -> int:
    """Return how many connections one sending thread may open: `?connections=N` where a relay allows more, or fewer."""
    asked = dict(parse_qsl(urlsplit(url).query)).get("connections", str(_smtp.CONNECTIONS_MAX))
    if not asked.isdecimal() or not 1 <= int(asked) <= CONNECTIONS_LIMIT:
        raise Misconfigured(f"{variable}: connections is a number from 1 to {CONNECTIONS_LIMIT}.")
    return int(asked)


def _server(variable: str, url: str, scheme: str) -> _lane.Server:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or _PORTS[scheme]
    except ValueError:
        raise Misconfigured(f"{variable} has a port that is no number up to 65535.") from None
    if not host:
        raise Misconfigured(f"{variable} names no host: smtp://user:password@host:port.")
    if bool(parts.username) != bool(parts.password):
        raise Misconfigured(
            f"{variable} has a user without a password, or a password without a user."
        )
    if not unquote(f"{parts.username}{parts.password}").isascii():
        raise Misconfigured(
            f"{variable}: user and password are ASCII; SMTP's login knows nothing else."
        )
    return _lane.Server(
        host=host,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starttls=scheme == "smtp+tls",
        tls=scheme == "smtps",
    )


def _provider(variable: str, url: str, scheme: str) -> tuple[str, dict[str, str]]:
    name = scheme.removeprefix("anymail+").replace("-", "_")
    provider = _esp.PROVIDERS.get(name)
    if provider is None:
        known = ", ".join(sorted(_esp.PROVIDERS))
        raise Misconfigured(f"{variable} names the provider {name!r}; known are {known}.")
    parts = urlsplit(url)
    keys = [unquote(key) for key in parts.netloc.rstrip("@").split(":") if key]
    if len(keys) != len(provider.keys):
        form = ":".join(key.upper() for key in provider.keys)
        raise Misconfigured(f"{variable} must be like {scheme}://{form}.")
    return name, {**dict(parse_qsl(parts.query)), **dict(zip(provider.keys, keys, strict=True))}
