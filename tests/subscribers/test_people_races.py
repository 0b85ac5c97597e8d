"""Several at once for one address: one row, and no more letters than one alone would get."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import pytest
from django.db import connection

from incidents.models import Component
from subscribers import services
from subscribers.models import Letter, Role, State, Subscription
from subscribers.services import BroughtIn, Incoming
from tests.subscribers.conftest import FOLLOWER, NOW, PHONE, Pending

CROWD = 6
START_S = 10.0
ROWS = [
    Incoming("email", f"p{n}@example.org", consent_source="f", consent_at=NOW) for n in range(50)
]

Result = TypeVar("Result")

pytestmark = pytest.mark.django_db(transaction=True)


def together(work: Callable[[], Result]) -> list[Result]:
    """Run `work` in several threads that begin at one moment."""
    gate = Barrier(CROWD)

    def run() -> Result:
        try:
            gate.wait(START_S)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(CROWD) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(CROWD)]]


def test_many_clicks_at_once_make_one_subscription_and_three_letters(
    components: dict[str, Component],
) -> None:
    together(lambda: services.subscribe(channel="email", address=FOLLOWER, now=NOW))
    assert Subscription.objects.count() == 1
    assert Letter.objects.count() == services.LETTERS_MAX


def test_the_pages_account_is_made_once_by_many(db: None) -> None:
    made = together(lambda: services.ensure_social(channel="x", label="X", now=NOW))
    assert len({row.pk for row in made}) == 1
    assert Subscription.objects.filter(role=Role.SOCIAL).count() == 1


def test_the_same_file_taken_by_many_comes_in_once(components: dict[str, Component]) -> None:
    done: list[BroughtIn] = together(lambda: services.bring_in(ROWS, source="test", now=NOW))
    assert sum(one.added for one in done) == len(ROWS)
    assert sum(one.unchanged for one in done) == len(ROWS) * (CROWD - 1)
    assert Subscription.objects.filter(state=State.ACTIVE).count() == len(ROWS)


def test_guessing_in_parallel_gets_no_further_tries(pending: Pending) -> None:
    _, letter = pending("sms", PHONE)
    code = services.letter_code(letter)
    wrong = "000000" if code != "000000" else "000001"
    together(lambda: services.confirm_code(phone=PHONE, code=wrong, now=NOW))
    letter.refresh_from_db()
    assert letter.tries == services.CODE_TRIES_MAX
    assert services.confirm_code(phone=PHONE, code=code, now=NOW) is None
