"""What was expected of an answer, and in words why it was not met."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError

# Long enough for every path of docs/reference.md, short enough to be read.
PATH_CHARS_MAX: Final = 200
# `[@,@]|[@,@]|…` doubles its result every four nodes; 24 keep that under 64 times the body.
PATH_NODES_MAX: Final = 24
PATTERN_CHARS_MAX: Final = 200
# `a?a?a?…` and `(a|b)(a|b)…` double the work each; eight are 256 ways.
PATTERN_CHOICES_MAX: Final = 8
# Backtracking costs at most length ** (open repeats + 1) steps. The lengths keep that near
# 10 million: 0.05 s (measured 2026-11-23 with `.*.*[^a]` on 400 times `a`).
TEXT_CHARS_MAX: Final = {0: 262_144, 1: 4_000, 2: 400, 3: 100}
# Each choice doubles that work: `.*a?a?a?a?a?a?a?a?b` on 4,000 times `a` took 27 s, on 250 of
# them 0.1 s (2026-11-23). Without open repeats there is room for six choices.
FREE_CHOICES: Final = 6
# What of a value is shown in a reason: enough to recognise, too little to hold a record.
SHOWN_CHARS_MAX: Final = 60
# Numbers above this are milliseconds since 1970; as seconds they would lie in the year 5138.
EPOCH_S_MAX: Final = 100_000_000_000

# The kinds of failure that are no condition of site.yaml: the value was not there at all.
MISSING: Final = "missing"

TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}

_WIRE_DATE = re.compile(r"/?Date\((-?\d{1,16})(?:([+-])(\d{2})(\d{2}))?\)/?")

# JSON values are whatever an answer holds.
Json = Any
Hide = Callable[[str], str]


class BadCondition(ValueError):
    """An expectation that cannot be tried: says what was expected instead."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """One condition that an answer did not meet."""

    condition: str
    words: str


def find(path: str, document: Json) -> Json:
    """Return what a JMESPath finds, None when it finds nothing."""
    try:
        return compile_path(path).search(document)
    except JMESPathError:
        # A function met a value of another type: what was asked for is not there.
        return None


def compile_path(path: str) -> jmespath.parser.ParsedResult:
    """Compile a JMESPath; raise BadCondition when it is wrong or could grow without bound."""
    if len(path) > PATH_CHARS_MAX:
        raise BadCondition(f"a path has at most {PATH_CHARS_MAX} characters, this {len(path)}")
    try:
        compiled = jmespath.compile(path)
    except JMESPathError as error:
        raise BadCondition(f"{path!r} is no JMESPath: {_first_line(error)}") from None
    if sum(1 for _ in _nodes(compiled.parsed)) > PATH_NODES_MAX:
        raise BadCondition(f"{path!r} has more than {PATH_NODES_MAX} parts")
    return compiled


def compile_pattern(pattern: str) -> tuple[re.Pattern[str], int]:
    """Compile a regular expression; return it with the longest text it may be tried on.

    Raises BadCondition for one that could take exponential time.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise BadCondition(f"a pattern has at most {PATTERN_CHARS_MAX} characters")
    try:
        compiled = re.compile(pattern)
        tree = re._parser.parse(pattern)  # type: ignore[attr-defined,unused-ignore]  # no public parser
    except (re.error, RecursionError, OverflowError) as error:
        raise BadCondition(f"{pattern!r} is no regular expression: {error}") from None
    choices, repeats = _cost(tree, inside_repeat=False)
    if choices > PATTERN_CHOICES_MAX or repeats not in TEXT_CHARS_MAX:
        raise BadCondition(
            f"{pattern!r} has more than {max(TEXT_CHARS_MAX)} open repeats"
            f" or {PATTERN_CHOICES_MAX} choices"
        )
    doublings = choices / (repeats + 1) if repeats else max(0, choices - FREE_CHOICES)
    return compiled, int(TEXT_CHARS_MAX[repeats] / 2**doublings)


def unmet(
    expectation: Mapping[str, Json],
    value: Json,
    now: datetime,
    *,
    subject: str,
    hide: Hide = str,
) -> list[Unmet]:
    """Return the conditions of one expectation that `value` does not meet, in their order.

    `hide` takes secrets out of what is shown, before it is cut.
    """
    asked = {name: wanted for name, wanted in expectation.items() if name in CONDITIONS}
    if value is None and _needs_value(asked):
        wishes = dict.fromkeys(_wanted(name, wanted) for name, wanted in asked.items())
        expected = ", ".join(wishes)
        return [Unmet(MISSING, f"{subject} was missing, expected {expected}")]
    found: list[Unmet] = []
    for name, wanted in asked.items():
        words = CONDITIONS[name](value, wanted, _Sight(now, hide))
        if words is not None:
            found.append(Unmet(words.instead_of or name, f"{subject} {words.text}"))
    return found


def instant(value: Json) -> datetime | None:
    """Return the moment a value tells: ISO 8601, /Date(ms)/ or seconds or ms since 1970."""
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float):
            return _since_1970(value / 1000 if abs(value) > EPOCH_S_MAX else value)
        if isinstance(value, str):
            return _wire_date(value) or _iso_date(value)
    except (ValueError, OverflowError):
        return None
    return None


def amount(value: float) -> str:
    """Write a number as people read it: 3,612 or 4.25."""
    rounded = round(value, 2)
    return f"{int(rounded):,}" if rounded == int(rounded) else f"{rounded:,}"


@dataclass(frozen=True, slots=True)
class _Sight:
    """How a condition looks at a value."""

    now: datetime
    hide: Hide

    def show(self, value: Json) -> str:
        text = self.hide(value if isinstance(value, str) else json.dumps(value, default=str))
        if len(text) > SHOWN_CHARS_MAX:
            text = text[:SHOWN_CHARS_MAX] + "…"
        return f'"{text}"' if isinstance(value, str) else text


@dataclass(frozen=True, slots=True)
class _Words:
    text: str
    # The condition that really failed, when it is another one than was asked.
    instead_of: str = ""


def _equals(value: Json, wanted: Json, sight: _Sight) -> _Words | None:
    if _same(value, wanted):
        return None
    return _Words(f"was {sight.show(value)}, expected {sight.show(wanted)}")


def _not_equals(value: Json, wanted: Json, sight: _Sight) -> _Words | None:
    if not _same(value, wanted):
        return None
    return _Words(f"was {sight.show(value)}, expected anything else")


def _type(value: Json, wanted: str, sight: _Sight) -> _Words | None:
    if isinstance(value, TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool)):
        return None
    return _Words(f"was {_kind_of(value)}, expected {wanted}")


def _min_length(value: Json, wanted: int, sight: _Sight) -> _Words | None:
    if not isinstance(value, str | list | dict):
        return _Words(f"was {_kind_of(value)}, expected {amount(wanted)} or more long")
    if len(value) >= wanted:
        return None
    return _Words(f"was {amount(len(value))} long, expected {amount(wanted)} or more")


def _between(value: Json, wanted: list[float], sight: _Sight) -> _Words | None:
    low, high = wanted
    expected = f"expected between {amount(low)} and {amount(high)}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _Words(f"was {_kind_of(value)}, {expected}")
    # NaN, which Python's JSON reader admits, is between no two numbers.
    return None if low <= value <= high else _Words(f"was {sight.show(value)}, {expected}")


def _matches(value: Json, wanted: str, sight: _Sight) -> _Words | None:
    if not isinstance(value, str):
        return _Words(f"was {_kind_of(value)}, expected text like {wanted}")
    pattern, chars_max = compile_pattern(wanted)
    if len(value) > chars_max:
        return _Words(
            f"was {amount(len(value))} characters long, too long to try {wanted} (at most"
            f" {amount(chars_max)})"
        )
    return None if pattern.search(value) else _Words(f"was {sight.show(value)}, expected {wanted}")


def _contains(value: Json, wanted: Json, sight: _Sight) -> _Words | None:
    if isinstance(value, list):
        found = any(_same(each, wanted) for each in value)
    elif isinstance(value, str | dict):
        found = isinstance(wanted, str) and wanted in value
    else:
        return _Words(f"was {_kind_of(value)}, expected {sight.show(wanted)} in it")
    return None if found else _Words(f"did not contain {sight.show(wanted)}")


def _exists(value: Json, wanted: bool, sight: _Sight) -> _Words | None:
    if (value is not None) == wanted:
        return None
    return _Words("was missing" if wanted else "was there, expected nothing")


def _max_age_s(value: Json, wanted: float, sight: _Sight) -> _Words | None:
    age_s = _age_s(value, sight.now)
    if age_s is None:
        return _Words(f"was {sight.show(value)}, expected a time", instead_of="type")
    if age_s <= wanted:
        return None
    return _Words(f"was {amount(round(age_s))} s old, allowed {amount(wanted)}")


def _max_future_s(value: Json, wanted: float, sight: _Sight) -> _Words | None:
    age_s = _age_s(value, sight.now)
    if age_s is None:
        return _Words(f"was {sight.show(value)}, expected a time", instead_of="type")
    if -age_s <= wanted:
        return None
    return _Words(f"was {amount(round(-age_s))} s in the future, allowed {amount(wanted)}")


CONDITIONS: Final[Mapping[str, Callable[[Json, Json, _Sight], _Words | None]]] = {
    "equals": _equals,
    "not_equals": _not_equals,
    "type": _type,
    "min_length": _min_length,
    "between": _between,
    "matches": _matches,
    "contains": _contains,
    "exists": _exists,
    "max_age_s": _max_age_s,
    "max_future_s": _max_future_s,
}


def _needs_value(asked: Mapping[str, Json]) -> bool:
    """Say whether an absent value fails the expectation as a whole, in one sentence."""
    allowing = (
        "not_equals" in asked
        or asked.get("exists") is False
        or asked.get("type") == "null"
        or ("equals" in asked and asked["equals"] is None)
    )
    return not allowing


def _wanted(name: str, wanted: Json) -> str:
    match name:
        case "type":
            return str(wanted)
        case "exists":
            return "a value"
        case "max_age_s" | "max_future_s":
            return "a time"
        case "between":
            return f"between {amount(wanted[0])} and {amount(wanted[1])}"
        case "min_length":
            return f"{amount(wanted)} or more long"
        case "matches":
            return str(wanted)
        case _:
            return json.dumps(wanted)[:SHOWN_CHARS_MAX]


def _same(one: Json, other: Json) -> bool:
    """Compare as JSON does: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _kind_of(value: Json) -> str:
    for name in ("null", "boolean", "string", "array", "object", "number"):
        if isinstance(value, TYPES[name]):
            return name
    return type(value).__name__


def _age_s(value: Json, now: datetime) -> float | None:
    told = instant(value)
    return None if told is None else (now - told).total_seconds()


def _since_1970(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def _wire_date(text: str) -> datetime | None:
    """Read /Date(1426292016000-0700)/: the offset tells the writer's zone, not another moment."""
    found = _WIRE_DATE.fullmatch(text.strip())
    return None if found is None else _since_1970(int(found[1]) / 1000)


def _iso_date(text: str) -> datetime:
    told = datetime.fromisoformat(text.strip())
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def _nodes(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield tree
    for child in tree.get("children", ()):
        if isinstance(child, Mapping):
            yield from _nodes(child)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


# The parser's tree is made of Python's own untyped tuples.
def _cost(tree: Any, *, inside_repeat: bool) -> tuple[int, int]:
    """Count choices and open repeats; raise BadCondition for one inside a repeat."""
    choices = repeats = 0
    for operation, argument in tree:
        name = str(operation)
        if name == "GROUPREF" or name == "GROUPREF_EXISTS":
            raise BadCondition("a pattern may not refer back to a group")
        loops = name.endswith("REPEAT") and argument[1] > 1
        varies = name.endswith("REPEAT") and argument[0] != argument[1]
        if inside_repeat and (varies or name == "BRANCH"):
            raise BadCondition("a pattern may not repeat or choose inside a repeat")
        choices += name == "BRANCH" or (varies and not loops)
        repeats += varies and loops
        for part in _parts(argument):
            more = _cost(part, inside_repeat=inside_repeat or loops)
            choices, repeats = choices + more[0], repeats + more[1]
    return choices, repeats


def _parts(argument: Any) -> Iterator[Any]:
    """Yield the sub-patterns inside an operation's argument."""
    if isinstance(argument, re._parser.SubPattern):  # type: ignore[attr-defined,unused-ignore]  # as above
        yield argument
    elif isinstance(argument, tuple | list):
        for each in argument:
            yield from _parts(each)
