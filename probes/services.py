"""The verbs of the eyes: give agents their checks, record what they saw, have it judged."""

import hashlib
import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from incidents.lifecycle import IllegalMove, Refused
from incidents.models import Page
from probes import judging, kinds, rollups
from probes.kinds import Outcome, StepObservation
from probes.models import Check, Location, Result
from probes.retention import KEEP_RESULTS
from probes.rule import Rule

log = logging.getLogger(__name__)

# 160 bits; security.md asks for 128 or more.
TOKEN_BYTES: Final = 20
TRY_ID_BYTES: Final = 8
# A clock this far off makes ages and orders wrong: detection.md, D30, asks for 10 minutes within
# a minute; a minute is a tenth of the shortest sensible max_age_s.
SKEW_MAX_S: Final = 60.0

# ---- locations ----------------------------------------------------------------------------


def hash_token(token: str) -> str:
    """Return what is kept of a token; a random token needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def create_location(*, name: str, now: datetime) -> str:
    """Add a location and return its token, which is shown this once; raise Refused when it exists."""
    if Location.objects.filter(name=name).exists():
        raise Refused(f"The location {name} exists; issue it a new token instead.")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    Location.objects.create(name=name, token_hash=hash_token(token), created_at=now)
    return token


def issue_token(*, name: str, now: datetime) -> str:
    """Give a location a new token, making it when there is none; the old token ends."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    Location.objects.update_or_create(
        name=name,
        defaults={"token_hash": hash_token(token), "revoked_at": None},
        create_defaults={"token_hash": hash_token(token), "created_at": now},
    )
    return token


def location_of(token: str) -> Location | None:
    """Return whose token this is, None when nobody's. Looked up by hash: no timing tells it."""
    return Location.objects.filter(token_hash=hash_token(token), revoked_at=None).first()


def orders(location: Location) -> tuple[str, str]:
    """Return (etag, JSON) of what an agent has to watch from here."""
    checks = [
        check
        for check in Check.objects.filter(enabled=True).order_by("slug")
        if location.name in check.locations and kinds.is_run_by_agents(check.kind)
    ]
    page = Page.objects.order_by("id").only("references").first()
    document = {
        "location": location.name,
        "references": list(page.references) if page else [],
        "checks": [
            {
                "slug": check.slug,
                "kind": check.kind,
                "interval_s": check.interval_s,
                "timeout_s": check.timeout_s,
                "retry_after_s": Rule.parse(check.rule).retry_after_s,
                "spec": check.spec,
            }
            for check in checks
        ],
        "try": [{"check": check.slug, "id": check.try_id} for check in checks if check.try_id],
    }
    text = json.dumps(document, sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"', text


def ask_to_try(check: Check, *, now: datetime) -> None:
    """Ask the agents of a check for a run at once; its result carries the check's `try_id`.

    Agents ask for their checks every 10 s at least, and with every result they hand in.
    """
    if not kinds.is_run_by_agents(check.kind):
        raise Refused(f"{check.slug} cannot be tried: nobody runs it, it is listened for.")
    check.try_id, check.try_asked_at = secrets.token_hex(TRY_ID_BYTES), now
    check.save(update_fields=["try_id", "try_asked_at"])


# ---- results ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewResult:
    """A result as an agent hands it in, checked by the view."""

    check: str
    sequence: int
    at: datetime
    outcome: Outcome
    first_outcome: Outcome
    attempts: int
    reason: str
    steps: tuple[Mapping[str, Any], ...]  # Any: StepObservation as JSON.
    total_ms: float
    first_step: str = ""
    warnings: tuple[str, ...] = ()
    answer: str = ""
    try_id: str = ""


def record(
    location: Location,
    results: Sequence[NewResult],
    *,
    now: datetime,
    sent_at: datetime | None = None,
    dropped: int = 0,
) -> int:
    """Keep a batch and judge the checks it speaks of; return how many results were new.

    A batch that was recorded before changes nothing. Kept first, judged after the commit: of two
    agents that hand in at once, the later one sees both.
    """
    skew_s = 0.0 if sent_at is None else (sent_at - now).total_seconds()
    with transaction.atomic():
        # The lock orders the batches of one location, so that none is counted twice.
        location = Location.objects.select_for_update().get(pk=location.pk)
        checks = {check.slug: check for check in _checks_of(location)}
        rows = _new_rows(location, checks, results, skew_s=skew_s, now=now)
        Result.objects.bulk_create(rows)
        rollups.add(rows)
        location.last_seen_at = now if rows else location.last_seen_at
        location.skew_s, location.dropped = skew_s, dropped
        location.save(update_fields=["last_seen_at", "skew_s", "dropped"])
    for check in {row.of_check_id: row.of_check for row in rows}.values():
        _judge_later_if_refused(check, now=now)
    return len(rows)


def _judge_later_if_refused(check: Check, *, now: datetime) -> None:
    try:
        judging.judge_check(check, now=now)
    except (Refused, IllegalMove) as error:
        # A person moved the incident at the same moment; the clock looks again in a second.
        log.warning("the verdict of %s waits: %s", check.slug, error)


def _checks_of(location: Location) -> list[Check]:
    checks = Check.objects.filter(enabled=True).select_related("page")
    return [
        check
        for check in checks
        if location.name in check.locations and kinds.is_run_by_agents(check.kind)
    ]


def _new_rows(
    location: Location,
    checks: Mapping[str, Check],
    results: Sequence[NewResult],
    *,
    skew_s: float,
    now: datetime,
) -> list[Result]:
    """Return the rows of results that are not there yet; a check that is gone is passed over.

    So is what is older than results are kept: whether it was counted before nobody knows any more.
    """
    wanted = {
        (checks[each.check].pk, each.sequence): each for each in results if each.check in checks
    }
    there = set(
        Result.objects.filter(
            location=location, sequence__in={sequence for _, sequence in wanted}
        ).values_list("of_check_id", "sequence")
    )
    rows = [
        _row(location, checks[each.check], each, skew_s=skew_s, now=now)
        for key, each in wanted.items()
        if key not in there
    ]
    return [row for row in rows if now - row.at < KEEP_RESULTS]


def _row(
    location: Location, check: Check, result: NewResult, *, skew_s: float, now: datetime
) -> Result:
    is_off = abs(skew_s) > SKEW_MAX_S
    ahead = "ahead of" if skew_s > 0 else "behind"
    at = result.at - timedelta(seconds=skew_s) if is_off else result.at
    return Result(
        of_check=check,
        location=location,
        sequence=result.sequence,
        at=min(at, now),
        received_at=now,
        outcome=Outcome.PROBER_FAULT if is_off else result.outcome,
        first_outcome=Outcome.PROBER_FAULT if is_off else result.first_outcome,
        first_step="" if is_off else result.first_step,
        attempts=result.attempts,
        reason=f"its clock is {abs(skew_s):,.0f} s {ahead} ours" if is_off else result.reason,
        # Ages told by a wrong clock are worth nothing.
        steps=[] if is_off else list(result.steps),
        total_ms=result.total_ms,
        warnings=[] if is_off else list(result.warnings),
        answer="" if is_off else result.answer,
        try_id=result.try_id,
    )


def record_own(
    check: Check,
    *,
    outcome: Outcome,
    step: StepObservation,
    sequence: int,
    at: datetime,
    now: datetime,
) -> bool:
    """Keep what the server itself saw, for each location of a check; say whether it was new.

    A sequence counts once, however many processes saw the same.
    """
    with transaction.atomic():
        locations = [_own_location(name, now) for name in sorted(check.locations)]
        # Their locks order all who count results.
        list(Location.objects.select_for_update().filter(pk__in=[each.pk for each in locations]))
        if Result.objects.filter(of_check=check, sequence=sequence).exists():
            return False
        rows = [
            Result(
                of_check=check,
                location=location,
                sequence=sequence,
                at=at,
                received_at=at,
                outcome=outcome,
                first_outcome=outcome,
                steps=[asdict(step)],
                first_step=step.name if outcome is Outcome.TARGET_FAIL else "",
            )
            for location in locations
        ]
        Result.objects.bulk_create(rows)
        rollups.add(rows)
    _judge_later_if_refused(check, now=now)
    return True


def _own_location(name: str, now: datetime) -> Location:
    """Return a location; one that no agent has yet gets a token that nobody knows."""
    unknown = hash_token(secrets.token_urlsafe(TOKEN_BYTES))
    defaults = {"token_hash": unknown, "created_at": now}
    return Location.objects.get_or_create(name=name, defaults=defaults)[0]
