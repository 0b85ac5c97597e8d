"""Kind `tcp`: does a port take a connection."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field

from probes.conditions import amount
from probes.kinds import (
    BadSpec,
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    StepObservation,
    Strict,
    Watch,
    read_options,
)
from probes.web import Refused, admit

STEP: Final = "connect"
# RFC 1035, 2.3.4.
HOST_CHARS_MAX: Final = 253
# A name with more is no host that people mean; each may take its share of the time.
ADDRESSES_MAX: Final = 8

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]+$", max_length=HOST_CHARS_MAX)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Options(Strict):
    """All of a check of this kind."""

    component: Annotated[str, Field(min_length=1)]
    host: Host
    port: Port
    degraded_over_s: Annotated[float, Field(gt=0)] | None = None
    allow_private: bool = False


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the one step with its component; raise BadSpec when the check is wrong."""
    return (Watch(STEP, read_options(Options, spec).component),)


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Connect once and hang up."""
    try:
        options = read_options(Options, check.spec)
    except BadSpec as error:
        return Observation(Outcome.PROBER_FAULT, (), f"the check cannot be run: {error}")
    clock = Clock()
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await resolved(options.host, allow_private=options.allow_private)
            clock.lap("dns")
            _, writer = await connected(addresses, options.port)
            clock.lap("connect")
        writer.close()
    except Refused as error:
        return one_step(STEP, options.component, Outcome.PROBER_FAULT, str(error), "private", clock)
    except (TimeoutError, OSError) as error:
        shape, words = why(error, timeout_s)
        return one_step(STEP, options.component, Outcome.TARGET_FAIL, words, shape, clock)
    slow_s = options.degraded_over_s
    if slow_s is not None and clock.total_s() > slow_s:
        words = f"took {amount(clock.total_s())} s, allowed {amount(slow_s)}"
        return one_step(
            STEP, options.component, Outcome.SLOW, words, "slow", clock, ("degraded_over_s",)
        )
    return one_step(STEP, options.component, Outcome.OK, "", "", clock)


# ---- what tls and dns share with it -------------------------------------------------------


class Clock:
    """How long each phase of one step took."""

    def __init__(self) -> None:
        self._began = self._lap_began = time.monotonic()
        self._laps_ms: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """End a phase; the next begins."""
        now = time.monotonic()
        self._laps_ms[name] = round((now - self._lap_began) * 1000, 1)
        self._lap_began = now

    def total_s(self) -> float:
        """Return how long it takes so far."""
        return time.monotonic() - self._began

    def phases_ms(self) -> dict[str, float]:
        """Return the phases that were reached, and the total."""
        return self._laps_ms | {"total": round(self.total_s() * 1000, 1)}


@dataclass(frozen=True, slots=True)
class Place:
    """One address that a name led to and that may be reached."""

    family: int
    address: str


async def addresses_of(host: str) -> list[Place]:
    """Return what a name resolves to, each once."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    places = (Place(family, str(place[0])) for family, _, _, _, place in found)
    return list(dict.fromkeys(places))


async def resolved(host: str, *, allow_private: bool) -> list[Place]:
    """Return the addresses of a host; raise Refused when one of them may not be reached."""
    places = await addresses_of(host)
    for place in places:
        admit(place.address, allow_private=allow_private)
    return places[:ADDRESSES_MAX]


async def connected(
    places: Sequence[Place],
    port: int,
    **tls: Any,  # Any: asyncio's own keyword arguments.
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers: what was judged is what is connected."""
    last: OSError = OSError("the name has no address")
    for place in places:
        try:
            return await asyncio.open_connection(
                place.address, port, family=place.family, flags=socket.AI_NUMERICHOST, **tls
            )
        except OSError as error:
            last = error
    raise last


def why(error: Exception, timeout_s: float) -> tuple[str, str]:
    """Return the shape and the words of what went wrong on the way."""
    match error:
        case TimeoutError() if error.args == ():
            return "timeout", f"no connection within {amount(timeout_s)} s"
        case socket.gaierror():
            return "dns", "the name did not resolve"
        case ConnectionRefusedError():
            return "refused", "the connection was refused"
        case ConnectionResetError():
            return "reset", "the connection was closed"
        case OSError():
            return "connect", f"could not connect: {os.strerror(error.errno or 0)}"
        case _:
            return "unknown", f"could not connect ({type(error).__name__})"


def one_step(
    name: str,
    component: str,
    outcome: Outcome,
    words: str,
    shape: str,
    clock: Clock,
    failed: tuple[str, ...] = (),
) -> Observation:
    """Return what a check of a single step saw."""
    step = StepObservation(
        name=name,
        component=component,
        outcome=outcome,
        reason=words,
        failed=failed,
        shape=shape,
        phases_ms=clock.phases_ms(),
    )
    return Observation(outcome, (step,))
