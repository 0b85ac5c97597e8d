"""What a channel is: one file in this folder, found by itself, which never touches the database."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from notifications.messages import Notice as Notice


class AddressKind(StrEnum):
    """What an address of a channel is; subscribers/addresses.py knows how to clean each."""

    EMAIL = "email"
    PHONE = "phone"
    ACCOUNT = "account"
    URL = "url"
    PUSH = "push"


class Misconfigured(ValueError):
    """A channel is half configured or wrongly so; the text is one sentence naming the variable."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One delivery as a channel sees it. `delivery` is its opaque id; links are absolute and personal ("" where none applies)."""

    delivery: str
    address: str = field(repr=False)
    manage_url: str = field(default="", repr=False)
    unsubscribe_url: str = field(default="", repr=False)
    receipt_url: str = ""  # where the provider calls back, without a query
    heard_url: str = field(default="", repr=False)  # where the person says so, by POST
    return_path: str = ""  # where a mail comes back to, if bounces are read
    attempt: int = 1
    maybe_sent: bool = False  # an earlier attempt ended unknown: the provider may have it
    previous_id: str = (
        ""  # the provider's id of this address's newest earlier message in the same thread
    )
    first_id: str = ""  # and of the first one


class Result(StrEnum):
    ACCEPTED = "accepted"
    RETRY = "retry"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a provider answered for one address; an answer is an outcome, not an exception.

    `accepted` only on the provider's own word. `retry` may wait `retry_after_s`. `refused` is for good; `dead` says that the
    address itself does not exist (it is then suppressed). `unknown` means that the provider may or may not have it.
    """

    result: Result
    why: str = ""
    provider_id: str = ""
    retry_after_s: float | None = None
    dead: bool = False
    confirms: bool = (
        False  # the receiver has answered our challenge: the subscription is its own wish
    )
    provider: str = ""  # who answered, where a channel has more than one


def accepted(provider_id: str = "") -> Outcome:
    return Outcome(Result.ACCEPTED, provider_id=provider_id)


def retry(why: str, *, after_s: float | None = None) -> Outcome:
    return Outcome(Result.RETRY, why=why, retry_after_s=after_s)


def refused(why: str, *, dead: bool = False) -> Outcome:
    return Outcome(Result.REFUSED, why=why, dead=dead)


def unknown(why: str) -> Outcome:
    return Outcome(Result.UNKNOWN, why=why)


@dataclass(frozen=True, slots=True)
class Checked:
    """What an account said when it was asked whether it would take a message. `why` is one sentence when it would not."""

    good: bool
    why: str = ""
    expires_at: datetime | None = None


class Channel(Protocol):
    """One way to push.

    `send` pulls recipients one at a time from `batch` and yields `(recipient.delivery, outcome)` as soon as it knows. Pulling
    is the permission to send: the outbox checks the lease, supersession and the subscription between two pulls, so a channel
    must not read ahead further than `group` recipients. It never raises for what a provider does.
    `per_s` is how many messages a second the account may send (None: no limit known); the outbox keeps to it.
    """

    name: str
    label: str
    address_kind: AddressKind
    provider: str
    group: int
    per_s: float | None

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]: ...

    def preview(self, notice: Notice) -> str:
        """Return the text as it will look, for the operator; with its length where the channel has a limit."""
        ...

    def close(self) -> None: ...


class ChannelModule(Protocol):
    """What each file offers. `NAME`, `LABEL`, `ADDRESS_KIND`; `configure` returns None when nothing is set for it."""

    NAME: str
    LABEL: str
    ADDRESS_KIND: AddressKind

    def configure(self, environ: Mapping[str, str]) -> Channel | None: ...


def modules() -> dict[str, ChannelModule]:
    """Return every channel file of this folder by name."""
    found = (
        importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)
    )
    return {module.NAME: module for module in found if hasattr(module, "NAME")}


def configured(environ: Mapping[str, str]) -> dict[str, Channel]:
    """Return the channels that `environ` configures. Raises Misconfigured for a half-configured one."""
    opened = {name: module.configure(environ) for name, module in sorted(modules().items())}
    return {name: channel for name, channel in opened.items() if channel is not None}
