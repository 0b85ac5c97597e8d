"""What meets a bug of ours each time is told of; what passed, or is asked about no more, is not."""

import pytest
from django.db import OperationalError

from incidents.lifecycle import Refused
from probes import alone
from probes.alone import FAILURES_MIN, failing


@pytest.fixture(autouse=True)
def _anew() -> None:
    alone._failures.clear()
    alone._tried.clear()


def meet(error: Exception | None, times: int = 1) -> None:
    for _ in range(times):
        with alone.alone("check login"):
            if error:
                raise error


def test_what_fails_each_time_is_told_of_until_it_is_well() -> None:
    meet(ValueError("a bug"), FAILURES_MIN - 1)
    assert failing() == {}
    meet(ValueError("a bug"))
    assert failing() == {"check login": FAILURES_MIN}
    meet(None)
    assert failing() == {}


def test_what_is_tried_no_more_is_forgotten() -> None:
    meet(ValueError("a bug"), FAILURES_MIN)
    assert failing() == {"check login": FAILURES_MIN}
    assert failing() == {}, "it was switched off, or its results are back"


def test_a_person_who_was_quicker_is_no_bug() -> None:
    meet(Refused("over"), FAILURES_MIN)
    assert failing() == {}


def test_a_database_that_is_away_is_everybodys() -> None:
    with pytest.raises(OperationalError):
        meet(OperationalError("gone"))
