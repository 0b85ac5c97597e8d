"""Kind `dns`: does a name resolve, and to the addresses that were expected."""

import asyncio
import ipaddress
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

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
from probes.kinds.tcp import Clock, Host, addresses_of, one_step, why

STEP: Final = "resolve"
ADDRESSES_MAX: Final = 50
SHOWN_MAX: Final = 4


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


class Options(Strict):
    """All of a check of this kind. It connects nowhere, so that every address may be seen."""

    component: Annotated[str, Field(min_length=1)]
    host: Host
    # Empty: any. Else the name may lead to these only, and to one of them at least.
    addresses: Annotated[
        tuple[Annotated[str, AfterValidator(_address)], ...], Field(max_length=ADDRESSES_MAX)
    ] = ()
    allow_private: bool = False


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the one step with its component; raise BadSpec when the check is wrong."""
    return (Watch(STEP, read_options(Options, spec).component),)


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Resolve once, with the resolver of this machine."""
    try:
        options = read_options(Options, check.spec)
    except BadSpec as error:
        return Observation(Outcome.PROBER_FAULT, (), f"the check cannot be run: {error}")
    clock = Clock()
    try:
        async with asyncio.timeout(timeout_s):
            places = await addresses_of(options.host)
        clock.lap("dns")
    except TimeoutError:
        words = f"the name did not resolve within {timeout_s:g} s"
        return one_step(STEP, options.component, Outcome.TARGET_FAIL, words, "timeout", clock)
    except OSError as error:
        shape, words = why(error, timeout_s)
        return one_step(STEP, options.component, Outcome.TARGET_FAIL, words, shape, clock)
    words = _unexpected({_address(each.address) for each in places}, set(options.addresses))
    outcome = Outcome.TARGET_FAIL if words else Outcome.OK
    failed = ("addresses",) if words else ()
    return one_step(STEP, options.component, outcome, words, "dns" if words else "", clock, failed)


def _unexpected(found: set[str], expected: set[str]) -> str:
    """Say which addresses were not expected, empty when all were."""
    strange = sorted(found - expected)
    if not expected or (found and not strange):
        return ""
    shown = ", ".join(strange[:SHOWN_MAX]) or "no address"
    more = f" and {len(strange) - SHOWN_MAX} more" if len(strange) > SHOWN_MAX else ""
    return f"the name led to {shown}{more}, expected only {', '.join(sorted(expected))}"
