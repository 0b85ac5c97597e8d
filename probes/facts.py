"""What a check asks and what a probe of it saw: the values that kinds, agent and verdict share."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

# What of a raw answer travels to the server: enough for a fault or the head of a web page.
ANSWER_CHARS_MAX: Final = 2048
WARNINGS_MAX: Final = 10
WARNING_CHARS_MAX: Final = 300


class Outcome(StrEnum):
    """What one attempt says. Only `target_fail` counts against the target."""

    OK = "ok"
    SLOW = "slow"
    TARGET_FAIL = "target_fail"
    AUTH_SUSPECT = "auth_suspect"
    BLOCKED_US = "blocked_us"
    PROBER_FAULT = "prober_fault"


GOOD: Final = (Outcome.OK, Outcome.SLOW)


class BadSpec(ValueError):
    """A check that cannot be run: one problem per line, as `key: what was expected`."""

    def __init__(self, problems: tuple["Problem", ...]) -> None:
        super().__init__("; ".join(f"{each.key}: {each.words}" for each in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one key of a check; `key` as in `steps[0].expect.status`."""

    key: str
    words: str


@dataclass(frozen=True, slots=True)
class Watch:
    """One step of a check and the component that it speaks for."""

    step: str
    component: str


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """What a prober is asked to watch; `spec` is the kind's own, with `${NAME}` unfilled."""

    slug: str
    kind: str
    interval_s: float
    timeout_s: float
    retry_after_s: float
    spec: Mapping[str, Any]  # Any: each kind reads its own keys.


@dataclass(frozen=True, slots=True)
class StepObservation:
    """What one step saw. `reason` is empty when nothing was wrong; it holds no secret."""

    name: str
    component: str
    outcome: Outcome
    reason: str = ""
    # Names of the conditions that failed, as in `expect`.
    failed: tuple[str, ...] = ()
    # The shape of a failure: refused, dns, tls, timeout, http, body, redirect, private; F1 to F22.
    shape: str = ""
    status: int | None = None
    # dns, connect, tls, first_byte, total.
    phases_ms: Mapping[str, float] = field(default_factory=dict)
    # Which account got in or was rejected, as a digest that tells them apart and names nobody.
    account: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one attempt of a check saw; steps that did not run are not in it."""

    outcome: Outcome
    steps: tuple[StepObservation, ...]
    # Said when no step could run: a prober's own fault.
    reason: str = ""
    # Sentences about what is strange and no failure: a changed form, one account of several.
    warnings: tuple[str, ...] = ()
    # The beginning of what a failing step was answered, without secrets.
    answer: str = ""


class Memory:
    """What a kind keeps between the runs of one check, closed when the check goes."""

    # Any: what JSON can hold.
    def __init__(self, environ: Mapping[str, str], facts: dict[str, Any] | None = None) -> None:
        self.environ = environ
        self.kept: dict[str, Any] = {}  # Any: each kind keeps its own things.
        # Outlives the process on the agent's disk: plain JSON, and never a secret.
        self.facts: dict[str, Any] = {} if facts is None else facts
        self._closing = AsyncExitStack()

    def keep(self, name: str, thing: object, close: Callable[[], Awaitable[None]]) -> None:
        """Keep a thing that has to be closed."""
        self.kept[name] = thing
        self._closing.push_async_callback(close)

    async def close(self) -> None:
        """Close what is kept, last first."""
        await self._closing.aclose()
        self.kept.clear()


def worst(outcomes: tuple[Outcome, ...]) -> Outcome:
    """Return what a run says whose steps said `outcomes`."""
    for outcome in _WORST_FIRST:
        if outcome in outcomes:
            return outcome
    return Outcome.OK


# A fault of the prober says nothing of the target, whatever the earlier steps saw.
_WORST_FIRST: Final = (
    Outcome.PROBER_FAULT,
    Outcome.TARGET_FAIL,
    Outcome.AUTH_SUSPECT,
    Outcome.BLOCKED_US,
    Outcome.SLOW,
)
