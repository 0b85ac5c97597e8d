"""A snapshot as badges: name and state in words, shape and colour."""

from collections.abc import Iterator
from html import escape

from public import words
from public.snapshot import Snapshot
from public.words import State

# Ground colours with at least 4.5:1 against white letters.
_COLOURS = {
    State.OPERATIONAL: "#1a7f37",
    State.DEGRADED: "#8a5a00",
    State.PARTIAL: "#b34700",
    State.OUTAGE: "#b42318",
    State.MAINTENANCE: "#1d5fbf",
    State.UNKNOWN: "#59636e",
}
_SIGNS = {
    State.OPERATIONAL: "●",
    State.DEGRADED: "◆",
    State.PARTIAL: "▲",
    State.OUTAGE: "■",
    State.MAINTENANCE: "◐",
    State.UNKNOWN: "○",
}
_NAME_CHARS_MAX = 60
_CHAR_PX = 7.2  # width of a letter of 12 px Verdana, a little generous


def badges(snapshot: Snapshot, *, silent: bool = False) -> Iterator[tuple[str, bytes]]:
    """Yield /badge.svg and one for each component; all unknown when the publisher is `silent`."""
    state = words.page_state(snapshot.components, snapshot.unresolved, snapshot.running)
    yield "badge.svg", badge(snapshot.page.name, State.UNKNOWN if silent else state)
    for component in snapshot.components:
        own = State.UNKNOWN if silent else words.component_state(component)
        yield f"badge/{component.slug}.svg", badge(component.name, own)


def badge(name: str, state: State) -> bytes:
    """Return a badge that says name and state, in words and shape as well as colour."""
    name = words.for_xml(name)
    label = name if len(name) <= _NAME_CHARS_MAX else f"{name[: _NAME_CHARS_MAX - 1]}…"
    word = words.COMPONENT_WORDS["en"][state]
    left, right = _width(label), _width(f"{_SIGNS[state]} {word}")
    label, title = escape(label), escape(f"{name}: {word}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{title}"><title>{title}</title>'
        f'<path fill="#24292f" d="M3 0h{left - 3}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z"/>'
        f'<path fill="{_COLOURS[state]}" d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="12" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="14">{label}</text>'
        f'<text x="{left + right / 2:g}" y="14">{_SIGNS[state]} {word}</text></g></svg>'
    ).encode()


_SHAPES = {
    State.OPERATIONAL: '<circle cx="10" cy="10" r="8"/>',
    State.DEGRADED: '<path d="M10 1l9 9-9 9-9-9z"/>',
    State.PARTIAL: '<path d="M10 1.5l9.5 17H.5z"/>',
    State.OUTAGE: '<path d="M2 2h16v16H2z"/>',
    State.MAINTENANCE: '<path d="M10 2a8 8 0 0 0 0 16zm0-1a9 9 0 0 1 0 18v-2a7 7 0 0 0 0-14z"/>',
    State.UNKNOWN: '<path d="M10 1a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 3a6 6 0 1 1 0 12 6 6 0 0 1 0-12z"/>',
}


def sign(state: State) -> bytes:
    """Return the state's shape alone, for the tab of a browser."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20" fill="{_COLOURS[state]}">'
        f"{_SHAPES[state]}</svg>"
    ).encode()


def _width(text: str) -> int:
    return int(len(text) * _CHAR_PX) + 14
