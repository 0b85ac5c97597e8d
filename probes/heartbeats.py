"""Listening for signs of life: a job that reports, and what its silence means."""

import base64
from datetime import datetime, timedelta
from math import floor
from typing import Final

from django.utils.crypto import constant_time_compare, salted_hmac

from incidents.models import Pulse
from probes import services
from probes.alone import alone
from probes.facts import Outcome, StepObservation
from probes.kinds import BadSpec, read_options
from probes.kinds.heartbeat import STEP, Options
from probes.models import Check

KIND: Final = "heartbeat"
# 160 bits; security.md asks for 128 or more.
TOKEN_BYTES: Final = 20
TOKEN_CHARS_MAX: Final = 64
# A client that retries, or floods: what comes faster is answered and not written down.
BEAT_EVERY: Final = timedelta(seconds=1)
PULSE: Final = "heartbeats"
# Longer without a pass of the clock, and beats may have been lost here: the silence was ours.
AWAY_AFTER: Final = timedelta(seconds=30)


def token_of(check: Check) -> str:
    """Return the secret part of a heartbeat's address: the same as long as SECRET_KEY is."""
    made = salted_hmac(KIND, f"{check.page_id} {check.slug}", algorithm="sha256").digest()
    return base64.urlsafe_b64encode(made[:TOKEN_BYTES]).decode().rstrip("=")


def check_of(token: str) -> Check | None:
    """Return which check a token belongs to, None when none."""
    if len(token) > TOKEN_CHARS_MAX:
        return None
    for check in _listened_for():
        if constant_time_compare(token_of(check), token):
            return check
    return None


def beat(check: Check, *, now: datetime) -> bool:
    """Take note of a sign of life; say whether it was written down."""
    newest = Check.objects.values_list("beat_at", flat=True).get(pk=check.pk)
    if newest is not None and now - newest < BEAT_EVERY:
        return False
    Check.objects.filter(pk=check.pk).update(beat_at=now)
    step = StepObservation(STEP, _options(check).component, Outcome.OK)
    return services.record_own(
        check, outcome=Outcome.OK, step=step, sequence=_milliseconds(now), at=now, now=now
    )


def listen(now: datetime) -> None:
    """Write down the beats that did not come, each once. Called by the clock."""
    checks = _listened_for()
    if not checks:
        return
    since = _listening_since(now)
    for check in checks:
        # A job that never reported is not late: it is unknown.
        if check.beat_at is not None:
            with alone(f"the heartbeat of {check.slug}"):
                _note_silence(check, max(check.beat_at, since), now)


def _listened_for() -> list[Check]:
    return list(Check.objects.filter(enabled=True, kind=KIND).select_related("page"))


def _note_silence(check: Check, heard_at: datetime, now: datetime) -> None:
    try:
        options = _options(check)
    except BadSpec:
        return  # watches_of has logged it.
    missed = missed_beats(now - heard_at, check.interval_s, options.grace_s)
    if missed == 0 or check.beat_at is None:
        return
    due_at = heard_at + missed * timedelta(seconds=check.interval_s)
    step = StepObservation(
        name=STEP,
        component=options.component,
        outcome=Outcome.TARGET_FAIL,
        reason=f"no heartbeat since {check.beat_at:%H:%M:%S} UTC, expected every {check.interval_s:,} s",
        failed=("heartbeat",),
        shape="silent",
    )
    services.record_own(
        check,
        outcome=Outcome.TARGET_FAIL,
        step=step,
        sequence=_milliseconds(due_at),
        at=due_at,
        now=now,
    )


def missed_beats(silence: timedelta, interval_s: float, grace_s: float) -> int:
    """Return how many beats a silence has swallowed, each of them given its grace."""
    return max(0, floor((silence.total_seconds() - grace_s) / interval_s))


def _listening_since(now: datetime) -> datetime:
    """Return since when we have listened without a break, and note that we do now."""
    pulse = Pulse.objects.filter(name=PULSE).first()
    since = now
    if pulse is not None and now - pulse.at <= AWAY_AFTER:
        since = datetime.fromisoformat(pulse.note["since"])
    note = {"since": since.isoformat()}
    Pulse.objects.update_or_create(name=PULSE, defaults={"at": now, "note": note})
    return since


def _options(check: Check) -> Options:
    return read_options(Options, check.spec)


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
