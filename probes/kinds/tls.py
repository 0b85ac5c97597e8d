"""Kind `tls`: is a certificate valid, for this name, and for long enough."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from probes.conditions import amount
from probes.kinds import (
    BadSpec,
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    Strict,
    Watch,
    read_options,
)
from probes.kinds.tcp import Clock, Host, Port, connected, one_step, resolved, why
from probes.web import Refused

STEP: Final = "certificate"
# follow-service.md, F21: fewer than 14 days left are to be seen before they are gone.
DAYS_LEFT_MIN: Final = 14
AUTHORITIES_CHARS_MAX: Final = 100_000
SHAPE: Final = "F21"


def _authorities(pem: str) -> str:
    try:
        ssl.create_default_context(cadata=pem)
    except ssl.SSLError:
        raise ValueError("expected certificates as PEM text") from None
    return pem


class Options(Strict):
    """All of a check of this kind."""

    component: Annotated[str, Field(min_length=1)]
    host: Host
    port: Port = 443
    # The name that the certificate has to hold; the host when none is given.
    name: Host | None = None
    days_left_min: Annotated[float, Field(ge=0, le=3650)] = DAYS_LEFT_MIN
    # Authorities of one's own instead of the system's.
    authorities: (
        Annotated[
            str,
            Field(min_length=1, max_length=AUTHORITIES_CHARS_MAX),
            AfterValidator(_authorities),
        ]
        | None
    ) = None
    allow_private: bool = False


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the one step with its component; raise BadSpec when the check is wrong."""
    return (Watch(STEP, read_options(Options, spec).component),)


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Shake hands once and look at the certificate."""
    try:
        options, context = _made(check, memory)
    except BadSpec as error:
        return Observation(Outcome.PROBER_FAULT, (), f"the check cannot be run: {error}")
    component = options.component
    clock = Clock()
    try:
        async with asyncio.timeout(timeout_s):
            until = await _valid_until(options, context, clock)
    except Refused as error:
        return one_step(STEP, component, Outcome.PROBER_FAULT, str(error), "private", clock)
    except ssl.SSLCertVerificationError as error:
        words = f"the certificate was not accepted: {error.verify_message}"
        return one_step(STEP, component, Outcome.TARGET_FAIL, words, SHAPE, clock)
    except ssl.SSLError:
        words = "the TLS handshake failed"
        return one_step(STEP, component, Outcome.TARGET_FAIL, words, "tls", clock)
    except (TimeoutError, OSError) as error:
        shape, words = why(error, timeout_s)
        return one_step(STEP, component, Outcome.TARGET_FAIL, words, shape, clock)
    days_left = (until - now).total_seconds() / 86_400
    if days_left >= options.days_left_min:
        return one_step(STEP, component, Outcome.OK, "", "", clock)
    # Nobody is hurt yet: people are told to renew, the public is told nothing of an outage.
    words = (
        f"the certificate ends on {until:%Y-%m-%d}, in {amount(int(days_left))} days, "
        f"expected {amount(options.days_left_min)} or more"
    )
    return one_step(STEP, component, Outcome.SLOW, words, SHAPE, clock, ("days_left_min",))


def _made(check: CheckSpec, memory: Memory) -> tuple[Options, ssl.SSLContext]:
    """Return the options and a context: reading the authorities takes 10 ms, so once."""
    if "context" not in memory.kept:
        options = read_options(Options, check.spec)
        memory.kept["context"] = ssl.create_default_context(cadata=options.authorities)
        memory.kept["options"] = options
    return memory.kept["options"], memory.kept["context"]


async def _valid_until(options: Options, context: ssl.SSLContext, clock: Clock) -> datetime:
    places = await resolved(options.host, allow_private=options.allow_private)
    clock.lap("dns")
    name = options.name or options.host
    _, writer = await connected(places, options.port, ssl=context, server_hostname=name)
    clock.lap("tls")
    try:
        certificate = writer.get_extra_info("peercert") or {}
    finally:
        writer.transport.abort()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
