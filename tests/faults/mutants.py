"""The protections of the voice, each with the way to take it out of a running process.

A mutant is installed by tests/faults/entry.py before its process begins, or as SQL in the database of its house.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One protection less: `remove` takes it out of a process, `sql` out of the database."""

    remove: Callable[[], None] = lambda: None
    sql: str = ""


ALL: dict[str, Mutant] = {}
