"""When a delivery is tried again, or why never."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite

# Doubles from 30 s to 1 h; twelve attempts span about six and a half hours, which outlives a provider's bad night
# and is still the same day for the reader.
FIRST_WAIT_S = 30
WAIT_S_MAX = 3600
ATTEMPTS_MAX = 12
# At night seconds count, and one refused connection is usually over at once; three quick tries cost a provider little.
URGENT_WAITS_S = (2, 5, 10)
# A provider that asks for more than a day has mistaken its units, or is no longer ours.
RETRY_AFTER_S_MAX = 86_400


def next_attempt_at(
    attempts: int, failed_at: datetime, retry_after_s: float | None = None, *, urgent: bool = False
) -> datetime | None:
    """Return when to try again after `attempts` attempts, the last of which failed at `failed_at`; None to give up.

    A provider's `retry_after_s` wins if it is longer than our own wait.
    """
    if attempts >= ATTEMPTS_MAX:
        return None
    wait_s = max(_own_wait_s(max(attempts, 1), urgent=urgent), _asked_for(retry_after_s))
    return failed_at + timedelta(seconds=wait_s)


@dataclass(frozen=True, slots=True)
class AfterUnknown:
    """What to do with a delivery that the provider may or may not have; without `resend` it stays unknown."""

    resend: bool
    after_s: int
    why: str


@dataclass(frozen=True, slots=True)
class _Bias:
    attempts_max: int
    after_s: int
    critical_only: bool
    why: str
    # Taken by the hundred under one lease: a worker that dies had most of them not in hand yet.
    in_groups: bool = False


# Whether a duplicate or a miss is worse, channel by channel (docs/decisions.md, "Unknown"). `after_s` is the time in
# which a provider's own callback may still settle the matter.
_BIASES = {
    "email": _Bias(
        5,
        60,
        False,
        "again with the same Message-ID: readers' servers drop the copy",
        in_groups=True,
    ),
    "sms": _Bias(
        ATTEMPTS_MAX, 60, True, "again if critical, after a look at the account's message list"
    ),
    "voice": _Bias(4, 30, False, "a second ring within three minutes is wanted anyway"),
    "x": _Bias(
        ATTEMPTS_MAX,
        60,
        False,
        "the same words again: a duplicate is refused, so the first one landed",
    ),
    "facebook": _Bias(ATTEMPTS_MAX, 60, False, "again after a look at the page's own feed"),
    "webpush": _Bias(ATTEMPTS_MAX, 30, False, "free: the topic replaces an earlier copy"),
    **dict.fromkeys(
        ("slack", "discord", "teams"),
        _Bias(5, 60, False, "again: a room bears a second copy, not a silence"),
    ),
    "webhook": _Bias(ATTEMPTS_MAX, 30, False, "free: the webhook-id stays the same"),
}
# A channel that says nothing of itself: a person can bear one copy more, not a dozen.
_OTHER = _Bias(2, 60, False, "once more")


def after_unknown(
    channel: str, attempts: int, critical: bool, *, died: bool = False
) -> AfterUnknown:
    """Return what to do after attempt number `attempts` on `channel` ended unknown; `died`: not by an answer, its worker died."""
    bias = _BIASES.get(channel, _OTHER)
    if bias.critical_only and not critical:
        return AfterUnknown(False, 0, "not critical: a second copy is worse than a miss")
    attempts_max = ATTEMPTS_MAX if died and bias.in_groups else bias.attempts_max
    if attempts >= attempts_max:
        return AfterUnknown(False, 0, f"still unknown after {attempts} attempts")
    return AfterUnknown(True, bias.after_s, bias.why)


def _own_wait_s(attempts: int, *, urgent: bool) -> float:
    quick = URGENT_WAITS_S if urgent else ()
    if attempts <= len(quick):
        return quick[attempts - 1]
    doublings = min(attempts - len(quick) - 1, ATTEMPTS_MAX)
    return float(min(FIRST_WAIT_S << doublings, WAIT_S_MAX))


def _asked_for(retry_after_s: float | None) -> float:
    if retry_after_s is None or not isfinite(retry_after_s):
        return 0
    return min(max(retry_after_s, 0), RETRY_AFTER_S_MAX)
