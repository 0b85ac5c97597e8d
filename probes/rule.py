"""When results become a verdict: the parameters of all rules, `verdict:` of site.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

# contract.md, "Detection": no accepted result for max(90 s, 3 x interval_s) is unknown.
BLIND_AFTER_S: Final = 90.0
BLIND_AFTER_INTERVALS: Final = 3
# No rule looks at more runs of one location: a judgement stays small.
RUNS_MAX: Final = 100
# Nagios and Naemon score the flapping of the last 21 results.
FLAP_RUNS: Final = 21
# The windows of rule E in detection.md: p95 over 10 minutes, against the same hour of 28 days.
LATENCY_OVER_S: Final = 600.0
BASELINE_DAYS: Final = 28
# The longest window that minutes are counted for.
BURN_OVER_S_MAX: Final = 7200


@dataclass(frozen=True, slots=True)
class Rule:
    """When results become a verdict, and how long the way back is.

    Defaults are contract.md's; those it does not name are from the research on detection:
    rules A to E, their windows measured on a simulated clock.
    """

    # A: so many runs in a row that failed in the end, at a quorum of locations.
    consecutive: int = 2
    retry_after_s: float = 2
    recover_after_s: float = 300
    # None: only an operator resolves.
    resolve_after_s: float | None = 1800
    reopen_within_s: float = 21_600
    # B: so many first attempts that failed, before any retry, make it partial; a burst that is
    # over counts no longer: one of the newest few failed. Or fewer, at one location more than a
    # quorum: a path of its own is seldom bad at so many (measured, docs/decisions.md).
    min_failures: int = 3
    of_last: int = 10
    of_newest: int = 3
    wide_failures: int = 2
    # C: a share of first attempts of all locations, in both windows.
    burn_ratio: float = 0.05
    burn_over_s: float = 3600
    burn_newest_s: float = 600
    burn_failures: int = 10
    # E: so many slow runs of the last ones, or p95 above the usual for so long.
    min_slow: int = 3
    slow_of_last: int = 5
    slow_times: float = 3
    slow_over_s: float = 5
    slow_for_s: float = 300
    # Rejected log-ins count once so many accounts at as many locations saw them.
    auth_accounts: int = 2
    auth_within_s: float = 120
    # From this share of changes on it flaps, and stays in trouble until half of it.
    flap_percent: float = 50
    # A new or changed check that was not up since says nothing in public for so long.
    shadow_s: float = 600
    # After the end of a maintenance, trouble waits so long before it is said.
    maintenance_grace_s: float = 300
    # Operators are called when a location could not tell for so long.
    fault_after_s: float = 300

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "Rule":  # Any: numbers or null, as JSON has them.
        """Read a rule; keys that are missing keep their defaults, unknown ones raise ValueError."""
        for key, value in raw.items():
            if key not in cls.__slots__:
                expected = ", ".join(cls.__slots__)
                raise ValueError(f"verdict.{key}: expected one of {expected}")
            if value is None and key == "resolve_after_s":
                continue
            _check(key, value)
        rule = cls(**raw)
        for some, of in (
            ("min_failures", "of_last"),
            ("wide_failures", "of_last"),
            ("of_newest", "of_last"),
            ("min_slow", "slow_of_last"),
        ):
            if getattr(rule, some) > getattr(rule, of):
                raise ValueError(
                    f"verdict.{some}: expected at most {of}, which is {getattr(rule, of)}"
                )
        return rule


_COUNTS: Final = frozenset(each.name for each in fields(Rule) if each.type is int)
_MOST: Final = {"burn_ratio": 1, "flap_percent": 100, "burn_over_s": BURN_OVER_S_MAX} | {
    "burn_newest_s": BURN_OVER_S_MAX
}


def _check(key: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _COUNTS:
        if not is_number or value != int(value) or not 1 <= value <= RUNS_MAX:  # type: ignore[call-overload,operator]  # a number, as was asked first
            raise ValueError(
                f"verdict.{key}: expected a number from 1 to {RUNS_MAX}, a whole one, not {value!r}"
            )
        return
    most = _MOST.get(key)
    if not is_number or value < 0 or (most is not None and value > most):  # type: ignore[operator]  # a number, as was asked first
        to = "up" if most is None else f"to {most}"
        raise ValueError(f"verdict.{key}: expected a number from 0 {to}, not {value!r}")


def blind_after_s(interval_s: float, patience_s: float = 0) -> float:
    """Return after how long without a result nobody can tell; `patience_s` is the kind's own."""
    return max(BLIND_AFTER_S, BLIND_AFTER_INTERVALS * interval_s) + patience_s


def window_s(
    rule: Rule, interval_s: float, *, patience_s: float = 0, is_troubled: bool = True
) -> float:
    """Return how far back the results that judge() needs reach; flapping matters in trouble only."""
    runs = max(
        rule.consecutive,
        BLIND_AFTER_INTERVALS,
        rule.of_last,
        rule.slow_of_last,
        FLAP_RUNS if is_troubled else 0,
    )
    return max(
        blind_after_s(interval_s, patience_s),
        (runs + 1) * interval_s + patience_s,
        # Runs that wait are so far apart.
        (rule.consecutive + 1) * (interval_s + patience_s),
        rule.auth_within_s,
    )


def quorum(locations: int) -> int:
    """Return how many of the configured locations have to agree."""
    return locations // 2 + 1
