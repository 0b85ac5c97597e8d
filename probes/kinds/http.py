"""Kind `http`: a journey of requests, each with what its answer has to be."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from probes.kinds import (
    BadSpec,
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    Strict,
    Watch,
    read_options,
    worst,
)
from probes.steps import Steps, problems_of
from probes.values import Values
from probes.walk import Walk
from probes.web import Client


class Journey(Strict):
    """All of a check of this kind."""

    steps: Steps
    component: str | None = None
    allow_private: bool = False


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the steps with their components; raise BadSpec when the check is wrong."""
    journey = read_options(Journey, spec)
    if problems := problems_of(journey.steps, journey.component):
        raise BadSpec(tuple(problems))
    return tuple(
        Watch(step=step.name, component=step.component or journey.component or "")
        for step in journey.steps
    )


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Walk the journey once; the first failing step is the last."""
    try:
        client, journey = _client(check, memory)
    except BadSpec as error:
        return Observation(Outcome.PROBER_FAULT, (), f"the check cannot be run: {error}")
    walk = Walk(client, Values(memory.environ), memory, now, timeout_s)
    await walk.along(journey.steps, journey.component)
    return seen_on(walk)


def seen_on(walk: Walk) -> Observation:
    """Return what a walk saw."""
    return Observation(
        outcome=worst(tuple(step.outcome for step in walk.steps)),
        steps=tuple(walk.steps),
        warnings=tuple(walk.warnings),
        answer=walk.answer,
    )


def _client(check: CheckSpec, memory: Memory) -> tuple[Client, Journey]:
    if "journey" not in memory.kept:
        journey = read_options(Journey, check.spec)
        client = Client(allow_private=journey.allow_private)
        memory.keep("client", client, client.session.close)
        memory.kept["journey"] = journey
    return memory.kept["client"], memory.kept["journey"]
