"""How a stand-in is broken and mended: shapes, their options, and when they strike."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

# Enough for many demo nights; older switches are forgotten.
HISTORY_MAX = 100
TEXT_CHARS_MAX = 200


class FaultRefused(ValueError):
    """A fault that cannot be set, told in one sentence."""


@dataclass(frozen=True, slots=True)
class NumberOption:
    """A number that a fault may carry, with its bounds."""

    lowest: float
    highest: float
    whole: bool = False


@dataclass(frozen=True, slots=True)
class TextOption:
    """A word that a fault may carry; no words given means any."""

    words: tuple[str, ...] = ()


Option = NumberOption | TextOption

# A hang of two minutes outlasts every client's patience.
HANG_S = NumberOption(0, 120)
# Options that say when a fault strikes, the same for every stand-in.
STRIKE_OPTIONS: Mapping[str, Option] = {
    "ratio": NumberOption(0, 1),
    "seed": NumberOption(0, 2**31, whole=True),
    "count": NumberOption(1, 1_000_000, whole=True),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which one target is broken."""

    shape: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str, default: float) -> float:
        """Return the option `name`, or `default` when it was not given."""
        return self.numbers.get(name, default)

    def word(self, name: str, default: str) -> str:
        """Return the option `name`, or `default` when it was not given."""
        return self.words.get(name, default)

    def as_json(self) -> dict[str, object]:
        """Return what could be PUT again."""
        return {"shape": self.shape, **self.numbers, **self.words}


@dataclass(frozen=True, slots=True)
class Menu:
    """What one stand-in can show: shapes per target, options, and why it cannot show the rest."""

    shapes: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Option]
    unshowable: Mapping[str, str] = field(default_factory=dict)
    default_ratio: Mapping[str, float] = field(default_factory=dict)


def read_faults(raw: object, menu: Menu) -> dict[str, Fault]:
    """Return the faults that `raw` asks for, or raise FaultRefused with one sentence."""
    if not isinstance(raw, dict):
        raise FaultRefused('Faults must be a JSON object such as {"login": "F2"}, or {} to mend.')
    return {str(target): _read_fault(str(target), value, menu) for target, value in raw.items()}


def _read_fault(target: str, value: object, menu: Menu) -> Fault:
    if target not in menu.shapes:
        raise FaultRefused(f"Unknown target {_quoted(target)}; known: {', '.join(menu.shapes)}.")
    options: dict[str, object] = dict(value) if isinstance(value, dict) else {"shape": value}
    shape = _read_shape(target, options.pop("shape", None), menu)
    numbers: dict[str, float] = {}
    words: dict[str, str] = {}
    for name, given in options.items():
        match _known_option(target, name, menu):
            case NumberOption() as option:
                numbers[name] = _read_number(f"{target}.{name}", given, option)
            case TextOption() as option:
                words[name] = _read_word(f"{target}.{name}", given, option)
    return Fault(shape=shape, numbers=numbers, words=words)


def _read_shape(target: str, shape: object, menu: Menu) -> str:
    if not isinstance(shape, str):
        raise FaultRefused(f'The fault of {target} needs a shape, as "F2" or {{"shape": "F2"}}.')
    if shape in menu.unshowable:
        raise FaultRefused(f"{shape} cannot be shown here: {menu.unshowable[shape]}.")
    if shape not in menu.shapes[target]:
        known = ", ".join(menu.shapes[target])
        raise FaultRefused(f"{target} cannot show {_quoted(shape)}; it can show {known}.")
    return shape


def _known_option(target: str, name: str, menu: Menu) -> Option:
    known = {**STRIKE_OPTIONS, **menu.options}
    if name not in known:
        raise FaultRefused(
            f"{target} has no option {_quoted(name)}; options: {', '.join(sorted(known))}."
        )
    return known[name]


def _read_number(where: str, given: object, option: NumberOption) -> float:
    wanted = "a whole number" if option.whole else "a number"
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or (option.whole and not isinstance(given, int)):
        raise FaultRefused(f"{where} must be {wanted}, not {_quoted(given)}.")
    assert isinstance(given, int | float)
    if not option.lowest <= given <= option.highest:
        raise FaultRefused(
            f"{where} must be from {option.lowest:g} to {option.highest:g}, not {given:g}."
        )
    return given


def _read_word(where: str, given: object, option: TextOption) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= TEXT_CHARS_MAX:
        raise FaultRefused(f"{where} must be a short text, not {_quoted(given)}.")
    if option.words and given not in option.words:
        raise FaultRefused(f"{where} must be one of {', '.join(option.words)}.")
    return given


def _quoted(given: object) -> str:
    return repr(given)[:60]


@dataclass(slots=True)
class _Armed:
    """A fault in force: since when, its dice, and how often it may still strike."""

    fault: Fault
    since: datetime
    dice: Random
    left: int | None


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that hits this very request."""

    fault: Fault
    since: datetime

    @property
    def shape(self) -> str:
        """Return the shape of the fault."""
        return self.fault.shape


class Board:
    """The switchboard of one stand-in: what is broken, since when, and how often it struck."""

    def __init__(self, menu: Menu) -> None:
        self.menu = menu
        self.fault_at: datetime | None = None
        self.mended_at: datetime | None = None
        self.requests: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        # Called after every switch.
        self.listeners: list[Callable[[], None]] = []
        self._armed: dict[str, _Armed] = {}
        self._history: deque[tuple[datetime, dict[str, object]]] = deque(maxlen=HISTORY_MAX)

    @property
    def is_broken(self) -> bool:
        """Tell whether any fault is in force."""
        return bool(self._armed)

    def put(self, raw: object, now: datetime) -> None:
        """Replace all faults; a refused `raw` changes nothing. An unchanged fault goes on."""
        wanted = read_faults(raw, self.menu)
        self._armed = {
            target: self._keep_or_arm(target, fault, now) for target, fault in wanted.items()
        }
        self._stamp(now)
        for listener in self.listeners:
            listener()

    def fault_of(self, target: str) -> Strike | None:
        """Return what is in force for `target`, without rolling dice or counting."""
        armed = self._armed.get(target)
        return Strike(armed.fault, armed.since) if armed else None

    def strike(self, target: str, now: datetime) -> Strike | None:
        """Roll the dice for one request to `target`; a fault that ran out mends itself."""
        armed = self._armed.get(target)
        if armed is None:
            return None
        usual = self.menu.default_ratio.get(armed.fault.shape, 1.0)
        if armed.dice.random() >= armed.fault.number("ratio", usual):
            return None
        self.struck[target] += 1
        if armed.left is not None:
            armed.left -= 1
            if armed.left == 0:
                del self._armed[target]
                self._stamp(now)
        return Strike(armed.fault, armed.since)

    def as_json(self) -> dict[str, object]:
        """Return faults, times and counts for GET /faults."""
        return {
            "faults": self._faults_json(),
            "fault_at": iso(self.fault_at),
            "mended_at": iso(self.mended_at),
            "requests": dict(self.requests),
            "struck": dict(self.struck),
            "history": [{"at": iso(at), "faults": faults} for at, faults in self._history],
        }

    def _keep_or_arm(self, target: str, fault: Fault, now: datetime) -> _Armed:
        standing = self._armed.get(target)
        if standing and standing.fault == fault:
            return standing
        count = fault.numbers.get("count")
        return _Armed(
            fault=fault,
            since=now,
            dice=Random(int(fault.number("seed", 1))),
            left=None if count is None else int(count),
        )

    def _stamp(self, now: datetime) -> None:
        was_broken = self.fault_at is not None and self.mended_at is None
        if self._armed and not was_broken:
            self.fault_at, self.mended_at = now, None
        elif not self._armed and was_broken:
            self.mended_at = now
        self._history.append((now, self._faults_json()))

    def _faults_json(self) -> dict[str, object]:
        return {target: armed.fault.as_json() for target, armed in self._armed.items()}


def iso(at: datetime | None) -> str | None:
    """Write an instant in UTC with milliseconds, as 2019-11-30T06:00:00.000Z."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
