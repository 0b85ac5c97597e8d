"""When a delivery is tried again, and when it is left alone."""

from datetime import UTC, datetime
from itertools import pairwise
from math import inf, nan

import pytest

from notifications import retry

FAILED_AT = datetime(2019, 11, 30, 6, 2, tzinfo=UTC)


def wait_s(
    attempts: int, retry_after_s: float | None = None, *, urgent: bool = False
) -> float | None:
    again_at = retry.next_attempt_at(attempts, FAILED_AT, retry_after_s, urgent=urgent)
    return None if again_at is None else (again_at - FAILED_AT).total_seconds()


@pytest.mark.parametrize(
    ("attempts", "retry_after_s", "urgent", "expected_s"),
    [
        pytest.param(1, None, False, 30, id="first failure"),
        pytest.param(2, None, False, 60, id="second doubles"),
        pytest.param(7, None, False, 1920, id="seventh"),
        pytest.param(8, None, False, 3600, id="never longer than an hour"),
        pytest.param(1, None, True, 2, id="urgent: at once"),
        pytest.param(3, None, True, 10, id="urgent: third quick one"),
        pytest.param(4, None, True, 30, id="urgent: then as all others"),
        pytest.param(1, 600, False, 600, id="a provider's longer wait wins"),
        pytest.param(1, 600, True, 600, id="also over urgency"),
        pytest.param(1, 3, False, 30, id="a provider's shorter wait does not"),
        pytest.param(1, -5, False, 30, id="a wait into the past"),
        pytest.param(1, nan, False, 30, id="no number"),
        pytest.param(1, inf, False, 30, id="for ever"),
        pytest.param(1, 1e12, False, 86_400, id="a wait beyond reason is cut to a day"),
        pytest.param(11, None, False, 3600, id="the last but one"),
        pytest.param(12, None, False, None, id="twelve attempts are enough"),
    ],
)
def test_the_next_attempt(
    attempts: int, retry_after_s: float | None, urgent: bool, expected_s: float | None
) -> None:
    assert wait_s(attempts, retry_after_s, urgent=urgent) == expected_s


@pytest.mark.parametrize("urgent", [False, True])
def test_waits_never_get_shorter(urgent: bool) -> None:
    waits = [wait_s(n, urgent=urgent) or 0 for n in range(1, retry.ATTEMPTS_MAX)]
    assert all(earlier <= later for earlier, later in pairwise(waits))


@pytest.mark.parametrize(
    ("channel", "attempts", "critical", "resend"),
    [
        pytest.param("email", 4, False, True, id="e-mail: the same Message-ID again"),
        pytest.param("email", 5, True, False, id="e-mail: five attempts are enough"),
        pytest.param("sms", 11, True, True, id="text: critical, each time after a look"),
        pytest.param("sms", 12, True, False, id="text: critical, but bounded"),
        pytest.param("sms", 1, False, False, id="text: not critical, left unknown"),
        pytest.param("voice", 1, False, True, id="call: rings again"),
        pytest.param("voice", 4, True, False, id="call: four rings are enough"),
        pytest.param("x", 5, False, True, id="X: a duplicate is refused by X"),
        pytest.param("facebook", 5, False, True, id="Facebook: after a look at the feed"),
        pytest.param("webpush", 11, False, True, id="push: free"),
        pytest.param("webhook", 12, False, False, id="webhook: free, but bounded"),
        pytest.param("slack", 4, False, True, id="a room: a second copy is borne"),
        pytest.param("teams", 5, True, False, id="a room: but no dozen"),
        pytest.param("carrier-pigeon", 1, False, True, id="a new channel: once more"),
        pytest.param("carrier-pigeon", 2, True, False, id="a new channel: only once"),
    ],
)
def test_after_an_unknown_outcome(
    channel: str, attempts: int, critical: bool, resend: bool
) -> None:
    plan = retry.after_unknown(channel, attempts, critical)
    assert plan.resend is resend
    assert bool(plan.after_s) is resend
    assert plan.why
