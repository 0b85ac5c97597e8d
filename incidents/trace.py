"""One id that every log line of one fault carries: from the results that showed it to the last batch of messages.

It is derived, never stored apart: an incident's own, or that of the verdict which opened it and left it in its `source`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# As long as a trace id of W3C Trace Context, so that OpenTelemetry takes it.
HEX_CHARS = 32
KEY = "trace"
_current: ContextVar[str] = ContextVar("trace", default="")


def current() -> str:
    """Return the id that is being worked on, or nothing."""
    return _current.get()


@contextmanager
def on(trace: str) -> Iterator[None]:
    """Let every log line of the block carry this id."""
    before = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(before)


def made_of(*words: object) -> str:
    """Return the id that belongs to these words, the same in every process."""
    text = "\n".join(str(word) for word in words)
    return hashlib.sha256(text.encode()).hexdigest()[:HEX_CHARS]


def of_incident(uid: str, source: Mapping[str, Any]) -> str:  # Any: Incident.source is JSON
    """Return the id of an incident: its verdict's when a verdict opened it."""
    return str(source.get(KEY) or made_of("incident", uid))
