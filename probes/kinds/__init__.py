"""The kinds of check, one file each; what every one of them takes and gives."""

import importlib
import pkgutil
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final, Protocol, cast

from probes.facts import (
    BadSpec,
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    Problem,
    StepObservation,
    Watch,
    worst,
)
from probes.options import Strict, read_options

__all__ = [
    "BadSpec",
    "CheckSpec",
    "Kind",
    "Memory",
    "Observation",
    "Outcome",
    "Problem",
    "StepObservation",
    "Strict",
    "Watch",
    "is_run_by_agents",
    "load",
    "names",
    "patience_s",
    "read_options",
    "rule_of",
    "worst",
    "wrong_interval",
]


class Kind(Protocol):
    """What a file in this folder offers; beside it RULE, patience_s and wrong_interval, if it needs them."""

    def watches(self, spec: Mapping[str, Any]) -> tuple[Watch, ...]:
        """Return the steps with their components, in order; raise BadSpec."""

    async def run(
        self, check: CheckSpec, memory: Memory, now: datetime, timeout_s: float
    ) -> Observation:
        """Try once, from `now` on; `timeout_s` bounds each step. Raises nothing."""


@cache
def names() -> tuple[str, ...]:
    """Return the kinds there are: the files of this folder."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def load(name: str) -> Kind:
    """Return a kind by its name; raise BadSpec when there is none."""
    if name not in names():
        raise BadSpec((Problem("kind", f"expected one of {', '.join(names())}, not {name!r}"),))
    return cast(Kind, importlib.import_module(f"{__name__}.{name}"))


def rule_of(name: str) -> Mapping[str, Any]:  # Any: numbers or null, as in `verdict:`.
    """Return the verdict keys that a kind needs otherwise than usual; none for an unknown kind."""
    return getattr(load(name), "RULE", {}) if name in names() else {}


# Any in both: each kind reads its own keys.
def patience_s(name: str, spec: Mapping[str, Any]) -> float:
    """Return how old a run's word may be when it arrives, beyond the usual; raise BadSpec."""
    own = getattr(load(name), "patience_s", None)
    return float(own(spec)) if own else 0.0


def wrong_interval(name: str, spec: Mapping[str, Any], interval_s: float) -> str:
    """Return what was expected of an interval with which a check could never work, else nothing."""
    own = getattr(load(name), "wrong_interval", None)
    return str(own(spec, interval_s)) if own else ""


def is_run_by_agents(name: str) -> bool:
    """Say whether agents run a kind; a heartbeat is only listened for, by the server."""
    return name not in _LISTENED_FOR


_LISTENED_FOR: Final = frozenset({"heartbeat"})
