"""Kind `canary`: a synthetic reading goes in as a wearer's would, and has to come out again.

Every prober of a check writes with one account, and each knows a canary of the others: a
reading's value follows from its time, so that nobody has to remember what was written.
"""

import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from probes.conditions import amount, find, instant
from probes.facts import StepObservation
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
from probes.kinds.http import seen_on
from probes.options import JmesPath
from probes.steps import Steps, problems_of
from probes.values import Values
from probes.walk import Walk
from probes.web import Client, document_of

STEP: Final = "canary arrives"
# detection.md 2.3, rule D: three intervals of a canary each minute.
MAX_AGE_S: Final = 180.0
# follow-service.md, F19.
FUTURE_S_MAX: Final = 60.0
# mg/dL that raise no alarm anywhere; 61 different ones.
VALUE_MIN: Final = 90
VALUE_MAX: Final = 150
GIVEN: Final = ("canary_value", "canary_time", "canary_ms")


class Options(Strict):
    """All of a check of this kind."""

    component: Annotated[str, Field(min_length=1)]
    # In these steps {canary_value}, {canary_time} and {canary_ms} stand for the new reading.
    write: Steps
    # The answer of the last one holds the newest reading.
    read: Steps
    value: JmesPath = "[0].value"
    time: JmesPath = "[0].time"
    value_min: int = VALUE_MIN
    value_max: int = VALUE_MAX
    max_age_s: Annotated[float, Field(gt=0)] = MAX_AGE_S
    allow_private: bool = False

    @model_validator(mode="after")
    def _has_values(self) -> "Options":
        if self.value_max <= self.value_min:
            raise ValueError("expected a value_max above value_min")
        return self


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the steps with their components; raise BadSpec when the check is wrong."""
    options = read_options(Options, spec)
    problems = problems_of(options.write, options.component, key="write", known=GIVEN)
    saved = [name for step in options.write for name in step.save]
    problems += problems_of(
        options.read,
        options.component,
        key="read",
        known=(*GIVEN, *saved),
        named={step.name for step in options.write} | {STEP},
    )
    if problems:
        raise BadSpec(tuple(problems))
    steps = [*options.write, *options.read]
    own = [Watch(step.name, step.component or options.component) for step in steps]
    return (*own, Watch(STEP, options.component))


def wrong_interval(spec: Mapping[str, Any], interval_s: float) -> str:
    """Refuse canaries so seldom that the one before is too old whenever the next goes in."""
    max_age_s = read_options(Options, spec).max_age_s
    if interval_s < max_age_s:
        return ""
    rest = "a canary must still be young enough when the next one is written"
    return f"less than max_age_s, {amount(max_age_s)}: {rest}"


def value_at(slug: str, at_ms: int, low: int, high: int) -> int:
    """Return what a canary of a check measures at a moment: nobody else's reading fits."""
    return low + zlib.crc32(f"{slug} {at_ms}".encode()) % (high - low + 1)


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Write a reading, read the newest one, and weigh how old it is."""
    try:
        client, options = _client(check, memory)
    except BadSpec as error:
        return Observation(Outcome.PROBER_FAULT, (), f"the check cannot be run: {error}")
    at_ms = int(now.timestamp() * 1000)
    given: dict[str, str | int] = {
        "canary_value": value_at(check.slug, at_ms, options.value_min, options.value_max),
        "canary_time": _iso(at_ms),
        "canary_ms": at_ms,
    }
    walk = Walk(client, Values(memory.environ, given), memory, now, timeout_s)
    if not await walk.along(options.write, options.component):
        return seen_on(walk)
    since = _writing_since(memory, now, options.max_age_s)
    if await walk.along(options.read, options.component):
        found = _weighed(check.slug, options, walk)
        if found.failed == ("max_age_s",) and (now - since).total_seconds() < options.max_age_s:
            # Nothing was written before: that nothing came out says nothing yet.
            walk.warnings.append("no canary has had the time to come out yet")
        else:
            walk.steps.append(found)
            walk.answer = "" if found.outcome is Outcome.OK else walk.values.excerpt(walk.text)
    return seen_on(walk)


def _client(check: CheckSpec, memory: Memory) -> tuple[Client, Options]:
    if "options" not in memory.kept:
        options = read_options(Options, check.spec)
        client = Client(allow_private=options.allow_private)
        memory.keep("client", client, client.session.close)
        memory.kept["options"] = options
    return memory.kept["client"], memory.kept["options"]


def _writing_since(memory: Memory, now: datetime, max_age_s: float) -> datetime:
    """Return since when canaries went in without a break longer than one may be old."""
    written_at: datetime | None = memory.kept.get("written_at")
    if written_at is None or not 0 <= (now - written_at).total_seconds() <= max_age_s:
        memory.kept["writing_since"] = now
    memory.kept["written_at"] = now
    since: datetime = memory.kept["writing_since"]
    return since


def _weighed(slug: str, options: Options, walk: Walk) -> StepObservation:
    """Return what the newest reading says of the way from wearer to follower."""
    document = document_of(walk.text)
    at, value = instant(find(options.time, document)), find(options.value, document)
    age_s = None if at is None else (walk.moment() - at).total_seconds()
    if at is None or age_s is None:
        if document == []:
            return _step(options, "no canary came out", "F8", "max_age_s")
        return _step(options, f"{options.time} was missing, expected a time", "F12", "missing")
    if age_s > options.max_age_s:
        words = f"the newest canary was {amount(round(age_s))} s old"
        return _step(options, f"{words}, allowed {amount(options.max_age_s)}", "F18", "max_age_s")
    if -age_s > FUTURE_S_MAX:
        words = f"the newest canary was {amount(round(-age_s))} s in the future"
        return _step(options, f"{words}, allowed {amount(FUTURE_S_MAX)}", "F19", "max_future_s")
    at_ms = round(at.timestamp() * 1000)
    if value != value_at(slug, at_ms, options.value_min, options.value_max):
        words = "the newest reading is no canary of ours: another's data, or a changed value"
        return _step(options, words, "F19", "equals")
    return StepObservation(STEP, options.component, Outcome.OK, phases_ms={"age": age_s * 1000})


def _step(options: Options, words: str, shape: str, failed: str) -> StepObservation:
    return StepObservation(
        STEP, options.component, Outcome.TARGET_FAIL, words, failed=(failed,), shape=shape
    )


def _iso(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
