"""E-mail, over SMTP or a provider's API, with a second way when the first is down."""

import time
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parseaddr
from itertools import islice
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from notifications.channels import (
    AddressKind,
    Misconfigured,
    Outcome,
    Recipient,
    Result,
    _esp,
    _http,
    _mail,
    _smtp,
)
from notifications.messages import Notice

NAME = "email"
LABEL = "E-mail"
ADDRESS_KIND = AddressKind.EMAIL

# After so many failures on end the first way counts as down, and is tried again a minute later (reliability.md R8).
FAILURES_MAX = 5
DOWN_S = 60.0
_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


class Line(Protocol):
    """A way to hand over mail: `chunk` recipients at a time."""

    provider: str
    chunk: int
    group: int

    def send(self, notice: Notice, batch: Iterable[Recipient]) -> Iterator[tuple[str, Outcome]]: ...

    def close(self) -> None: ...


class Email:
    name = NAME
    label = LABEL
    address_kind = ADDRESS_KIND
    per_s: float | None = None

    def __init__(self, line: Line, fallback: Line | None = None) -> None:
        self._line = line
        self._fallback = fallback
        self._failures = 0
        self._down_until = 0.0
        self.provider = line.provider
        self.group = min(line.group, fallback.group) if fallback else line.group
        self._chunk = min(line.chunk, fallback.chunk) if fallback else line.chunk

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        while chunk := list(islice(batch, self._chunk)):
            yield from self._send_chunk(notice, chunk)

    def preview(self, notice: Notice) -> str:
        text, _ = _mail.bodies(notice, _mail.Foot(), _mail.Foot())
        return f"{notice.subject}\n\n{text}"

    def close(self) -> None:
        self._line.close()
        if self._fallback:
            self._fallback.close()

    def _send_chunk(self, notice: Notice, chunk: list[Recipient]) -> Iterator[tuple[str, Outcome]]:
        if self._fallback is None:
            yield from self._line.send(notice, chunk)
        elif time.monotonic() < self._down_until:
            yield from self._fallback.send(notice, chunk)
        else:
            yield from self._first_or_fallback(self._fallback, notice, chunk)

    def _first_or_fallback(
        self, fallback: Line, notice: Notice, chunk: list[Recipient]
    ) -> Iterator[tuple[str, Outcome]]:
        """Hand to the second way what the first surely did not take; what it may have taken stays unknown."""
        by_delivery = {recipient.delivery: recipient for recipient in chunk}
        left: list[Recipient] = []
        for delivery, outcome in self._line.send(notice, chunk):
            self._note(outcome)
            if outcome.result is Result.RETRY:
                left.append(by_delivery[delivery])
            else:
                yield delivery, outcome
        yield from fallback.send(notice, left)

    def _note(self, outcome: Outcome) -> None:
        if outcome.result in (Result.ACCEPTED, Result.REFUSED):
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            self._down_until = time.monotonic() + DOWN_S


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
    sender = _sender(environ)
    line = _line("EMAIL_URL", url, sender, timeouts)
    if not fallback_url:
        return Email(line)
    return Email(line, _line("EMAIL_FALLBACK_URL", fallback_url, sender, timeouts))


def _sender(environ: Mapping[str, str]) -> str:
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
        return _smtp.SmtpLine(_server(variable, url, scheme), sender, timeouts)
    if scheme.startswith("anymail+"):
        name, options = _provider(variable, url, scheme)
        return _esp.EspLine(name, options, sender, timeouts)
    raise Misconfigured(
        f"{variable} must begin with smtp://, smtp+tls://, smtps:// or anymail+PROVIDER://, not {scheme!r}."
    )


def _server(variable: str, url: str, scheme: str) -> _smtp.Server:
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
    return _smtp.Server(
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
