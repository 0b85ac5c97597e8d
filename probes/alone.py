"""A check or page that fails by a fault of ours stops no other: it is said once, and counted."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError

log = logging.getLogger(__name__)

# How often in a row each failed in this process: no more names than there are checks and pages.
_failures: dict[str, int] = {}


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Do what belongs to one of many; its failure ends here, but that of the database does not."""
    try:
        yield
    except (OperationalError, InterfaceError):
        # The database is away for all of them: the clock says so, and tries again.
        raise
    except Exception:
        _failures[name] = _failures.get(name, 0) + 1
        if _failures[name] == 1:
            log.exception("%s failed; the others go on", name)
    else:
        if times := _failures.pop(name, 0):
            log.warning("%s is well again, after %s failures", name, times)


def failing() -> Mapping[str, int]:
    """Return what fails now, and how often in a row."""
    return dict(_failures)
