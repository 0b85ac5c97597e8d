"""One id that every log line of one fault carries: from the results that showed it to the last batch of messages.

It is derived, never stored apart: an incident's own, or that of the verdict which opened it and left it in its `source`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

# As long as a trace id of W3C Trace Context, so that OpenTelemetry takes it.
HEX_CHARS = 32
KEY = "trace"
_current: ContextVar[str] = ContextVar("trace", default="")


def current() -> str:
    """Return the id that is being worked on, or nothing."""
    return _current.get()


Watcher = Callable[[str, str], AbstractContextManager[None]]
_watchers: list[Watcher] = []


def watch(watcher: Watcher | None) -> None:
    """Let `watcher` stand around every block from now on, with its id and what is done in it; None ends that."""
    _watchers[:] = [watcher] if watcher else []


@contextmanager
def on(trace: str, work: str) -> Iterator[None]:
    """Let every log line of the block carry this id; `work` says in a word what is done."""
    before = _current.set(trace)
    try:
        with _watchers[0](trace, work) if _watchers and trace else nullcontext():
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
