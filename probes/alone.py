"""A check or page that fails by a fault of ours stops no other: it is said once, and counted."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError

from incidents.lifecycle import IllegalMove, Refused

log = logging.getLogger(__name__)

# Fewer in a row are a hiccup, and no reason to wake anybody.
FAILURES_MIN = 3
# How often in a row each failed in this process: no more names than there are checks and pages.
_failures: dict[str, int] = {}
_tried: set[str] = set()  # since failing() was last asked


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Do what belongs to one of many; its failure ends here, but that of the database does not."""
    _tried.add(name)
    try:
        yield
    except (OperationalError, InterfaceError):
        # The database is away for all of them: the clock says so, and tries again.
        raise
    except (Refused, IllegalMove) as error:
        log.info("%s waits a second: %s", name, error)  # a person moved the incident meanwhile
    except Exception:
        _failures[name] = _failures.get(name, 0) + 1
        if _failures[name] == 1:
            log.exception("%s failed; the others go on", name)
    else:
        if times := _failures.pop(name, 0):
            log.warning("%s is well again, after %s failures", name, times)


def failing() -> Mapping[str, int]:
    """Return what fails each time, and how often in a row. What was not tried since the last call is well, or gone."""
    for name in set(_failures) - _tried:
        del _failures[name]
    _tried.clear()
    return {name: times for name, times in _failures.items() if times >= FAILURES_MIN}
