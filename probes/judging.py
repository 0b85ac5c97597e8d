"""The verbs of judgement: read what is kept, note what follows, and have it acted on."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from django.db import transaction

from incidents import services as core
from incidents import trace
from incidents.lifecycle import CallReason
from incidents.models import Component
from probes import acting, kinds, verdict
from probes.baseline import Count, Latency
from probes.facts import GOOD
from probes.kinds import BadSpec, Outcome, StepObservation, Watch
from probes.models import (
    Check,
    CurrentVerdict,
    Location,
    Proof,
    Result,
    Tally,
    VerdictChange,
)
from probes.ratio import Burn
from probes.rule import Rule
from probes.verdict import Fault, Standing, Surroundings, Verdict
from probes.words import BAD, Word

log = logging.getLogger(__name__)

# What one judgement reads at most: 20 locations at 90 runs.
RESULTS_JUDGED_MAX: Final = 2000
# An account that got in so long ago proves nothing: detection.md 2.3, point 0.
PROVEN_FOR: Final = timedelta(hours=24)
# A proof is written again when it is this old, not with each run.
PROOF_FRESH: Final = timedelta(minutes=10)
PROOFS_MAX: Final = 1000
RESULTS_TOLD_MAX: Final = 10  # in one log line


@dataclass(frozen=True, slots=True)
class _File:
    """All that a judgement of one check needs, read at one moment."""

    check: Check
    rule: Rule
    rows: Mapping[str, CurrentVerdict]
    results: Sequence[verdict.Result]
    tally: Tally | None

    def verdicts(self, now: datetime) -> tuple[Verdict, ...]:
        return verdict.judge(
            self.results,
            self.rule,
            now,
            locations=tuple(self.check.locations),
            watches=watches_of(self.check),
            interval_s=self.check.interval_s,
            watched_since=self.check.changed_at,
            patience_s=patience_of(self.check),
            around=Surroundings(
                standing={slug: standing_of(row) for slug, row in self.rows.items()},
                burn=_burn(self.tally, self.rows.values()),
                latency=_latency(self.tally),
                proven=_proven(self.check, self.results, now),
                changed_at=self.check.shadow_from,
            ),
        )

    def faults(self, now: datetime) -> tuple[Fault, ...]:
        return verdict.faults(
            self.results,
            self.rule,
            now,
            locations=tuple(self.check.locations),
            interval_s=self.check.interval_s,
            watched_since=self.check.changed_at,
            patience_s=patience_of(self.check),
        )

    def differs(self, verdicts: Sequence[Verdict]) -> bool:
        """Say whether a verdict is to be written down."""
        return self.rows.keys() != {each.component for each in verdicts} or any(
            _differs(self.rows[each.component], each, self.check) for each in verdicts
        )


def judge_check(check: Check, *, now: datetime) -> None:
    """Judge a check by what is kept; act when its verdict changed."""
    file = _open_file(check, now)
    _prove(file, now)
    verdicts = file.verdicts(now)
    _note_faults(file, verdicts, now)
    if not file.differs(verdicts):
        return
    _make_rows(check, verdicts)
    with transaction.atomic():
        locked = acting.lock(check.page)
        mine = {row.component.slug: row for row in locked if row.of_check_id == check.pk}
        # Read again under the lock: another process may have judged meanwhile.
        for each in _open_file(check, now, rows=mine).verdicts(now):
            if each.component in mine:
                is_news = mine[each.component].word != each.word
                _note(mine[each.component], each, now)
                if is_news:
                    _tell(mine[each.component], each, file.results)
        acting.act(check.page, locked, now=now)


def _open_file(
    check: Check, now: datetime, rows: Mapping[str, CurrentVerdict] | None = None
) -> _File:
    rule = Rule.parse(check.rule)
    if rows is None:
        mine = CurrentVerdict.objects.filter(of_check=check).select_related("component")
        rows = {row.component.slug: row for row in mine}
    is_troubled = any(row.word in BAD for row in rows.values())
    since = now - timedelta(
        seconds=verdict.window_s(
            rule, check.interval_s, patience_s=patience_of(check), is_troubled=is_troubled
        )
    )
    results = (
        Result.objects.filter(of_check=check, at__gte=since)
        .select_related("location")
        .order_by("-at")[:RESULTS_JUDGED_MAX]
    )
    return _File(
        check=check,
        rule=rule,
        rows=rows,
        results=[heard(row) for row in results],
        tally=Tally.objects.filter(of_check=check).first(),
    )


def watches_of(check: Check) -> tuple[Watch, ...]:
    """Return the steps of a check with their components; none when the check is broken."""
    return _watches(check.kind, json.dumps(check.spec, sort_keys=True))


@lru_cache(maxsize=1024)
def _watches(kind: str, spec: str) -> tuple[Watch, ...]:
    try:
        return kinds.load(kind).watches(json.loads(spec))
    except BadSpec as error:
        log.error("a check of kind %s cannot be judged: %s", kind, error)
        return ()


def patience_of(check: Check) -> float:
    """Return how old a run's word may be when it arrives, in seconds; 0 when the check is broken."""
    try:
        return kinds.patience_s(check.kind, check.spec)
    except BadSpec:
        return 0.0  # watches_of has logged it.


def heard(row: Result) -> verdict.Result:
    return verdict.Result(
        location=row.location.name,
        at=row.at,
        outcome=Outcome(row.outcome),
        steps=tuple(_step(step) for step in row.steps),
        reason=row.reason,
        first=Outcome(row.first_outcome),
        first_step=row.first_step,
    )


def _step(step: Mapping[str, Any]) -> StepObservation:  # Any: as JSON has it.
    return StepObservation(
        name=step["name"],
        component=step["component"],
        outcome=Outcome(step["outcome"]),
        reason=step["reason"],
        failed=tuple(step["failed"]),
        shape=step.get("shape", ""),
        status=step.get("status"),
        phases_ms=step.get("phases_ms", {}),
        account=step.get("account", ""),
    )


# ---- what is taken into account -----------------------------------------------------------

_COLUMNS: Final = tuple(each.name for each in fields(Standing))


def standing_of(row: CurrentVerdict) -> Standing:
    """Return how a component stands until now."""
    return Standing(**{name: getattr(row, name) for name in _COLUMNS})


def _burn(tally: Tally | None, rows: Iterable[CurrentVerdict]) -> Burn:
    """Return the counted shares; none when trouble ended after they were counted."""
    if tally is None or tally.counted_to is None:
        return Burn()
    ended = [row.mended_at for row in rows if row.mended_at is not None]
    if any(each >= tally.counted_to for each in ended):
        return Burn()
    return Burn(tally.attempts, tally.failures, tally.newest_attempts, tally.newest_failures)


def _latency(tally: Tally | None) -> Latency | None:
    if tally is None or tally.over_since is None:
        return None
    counts = {name: Count(*numbers) for name, numbers in tally.latency.items()}
    return Latency(tally.limit_ms / 1000, counts, tally.over_since)


def _proven(
    check: Check, results: Sequence[verdict.Result], now: datetime
) -> frozenset[tuple[str, str]]:
    """Return who got in during the last day; asked only when somebody was rejected."""
    if all(run.outcome is not Outcome.AUTH_SUSPECT for run in results):
        return frozenset()
    proofs = Proof.objects.filter(of_check=check, at__gte=now - PROVEN_FOR)
    return frozenset(proofs.values_list("location__name", "account")[:PROOFS_MAX])


def _prove(file: _File, now: datetime) -> None:
    """Keep word of the accounts that got in."""
    seen: dict[tuple[str, str], datetime] = {}
    for run in file.results:
        for step in run.steps:
            if step.account and step.outcome in GOOD:
                key = (run.location, step.account)
                seen[key] = max(run.at, seen.get(key, run.at))
    if not seen:
        return
    of = Proof.objects.filter(of_check=file.check)
    kept = {
        (name, account): at
        for name, account, at in of.values_list("location__name", "account", "at")
    }
    due = {
        key: at for key, at in seen.items() if at - kept.get(key, at - PROVEN_FOR) >= PROOF_FRESH
    }
    if not due:
        return
    for (name, account), at in due.items():
        location = Location.objects.filter(name=name).first()
        if location is not None:
            Proof.objects.update_or_create(
                of_check=file.check, location=location, account=account, defaults={"at": at}
            )
    of.filter(at__lt=now - PROVEN_FOR).delete()


# ---- what is noted ------------------------------------------------------------------------


def _make_rows(check: Check, verdicts: Sequence[Verdict]) -> None:
    """Have one row for each component that the check watches, and no other."""
    slugs = {each.component for each in verdicts}
    components = Component.objects.filter(page=check.page, slug__in=slugs)
    CurrentVerdict.objects.bulk_create(
        [CurrentVerdict(of_check=check, component=each) for each in components],
        ignore_conflicts=True,
    )
    CurrentVerdict.objects.filter(of_check=check).exclude(component__slug__in=slugs).delete()


def _differs(row: CurrentVerdict, new: Verdict, check: Check) -> bool:
    skip = new.word is Word.UNKNOWN and row.unknown_why != new.unknown_why
    return skip or verdict.differs(standing_of(row), new, changed_at=check.shadow_from)


def _note(row: CurrentVerdict, new: Verdict, now: datetime) -> None:
    """Write down what a check says now. The caller holds the lock."""
    if new.word is not None and row.word != new.word:
        VerdictChange.objects.create(
            of_check_id=row.of_check_id,
            component_id=row.component_id,
            old=row.word,
            new=new.word,
            at=now,
            reasoning=new.reasoning,
            locations=list(new.locations),
        )
    stands = verdict.follow(standing_of(row), new, now)
    for name in _COLUMNS:
        setattr(row, name, getattr(stands, name))
    if new.word is not None:
        row.reasoning, row.locations, row.step = new.reasoning, list(new.locations), new.step
        row.unknown_why, row.skipped = new.unknown_why, new.skipped
    row.save()


def _tell(row: CurrentVerdict, new: Verdict, results: Sequence[verdict.Result]) -> None:
    """Log a verdict, with the results that show the trouble, once it is committed."""
    if new.word is None or new.word not in BAD:
        return
    shown = [
        f"{each.location} {each.at:%H:%M:%S} {each.outcome}"
        for each in results
        if each.outcome not in GOOD
    ][:RESULTS_TOLD_MAX]
    said = f"{row.component.slug} is {new.word} by {row.of_check.slug}: {'; '.join(shown)}"
    trace_id = acting.trace_of(row)

    def tell() -> None:
        with trace.on(trace_id, "judge"):
            log.info("%s", said)

    transaction.on_commit(tell)


# ---- locations that cannot tell -----------------------------------------------------------


def _note_faults(file: _File, verdicts: Sequence[Verdict], now: datetime) -> None:
    """Keep since when a location cannot tell; call operators when it lasts."""
    found = {each.location: each for each in file.faults(now)}
    kept: Mapping[str, Any] = file.tally.faults if file.tally else {}  # Any: as JSON has it.
    faults = {
        name: {"reason": each.reason, "outcome": each.outcome or "silent"}
        | _of_before(kept.get(name), now)
        for name, each in found.items()
    }
    is_blind = any(each.word is Word.UNKNOWN and not each.skipped for each in verdicts)
    for name, fault in faults.items():
        lasts = now - datetime.fromisoformat(fault["since"])
        # When too few can tell at all, operators hear of that; once is enough.
        if is_blind or fault["called"] or lasts < timedelta(seconds=file.rule.fault_after_s):
            continue
        fault["called"] = True
        _call_for_fault(file.check, name, fault, now)
    if faults != kept:
        tally, _ = Tally.objects.get_or_create(of_check=file.check)
        Tally.objects.filter(pk=tally.pk).update(faults=faults)


def _of_before(kept: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    """Return what is remembered of a fault from its beginning."""
    if kept is None:
        return {"since": now.isoformat(), "called": False}
    return {"since": kept["since"], "called": kept["called"]}


def _call_for_fault(check: Check, name: str, fault: Mapping[str, Any], now: datetime) -> None:
    turned_away = fault["outcome"] == Outcome.BLOCKED_US
    what = "is turned away by the target" if turned_away else "cannot tell"
    core.call_operators(
        page=check.page,
        reason=CallReason.PROBER_FAULT,
        text=f"{name} {what} for {check.slug}: {fault['reason']}. Nothing is said in public.",
        key=f"fault:{check.pk}:{name}:{fault['since']}",
        now=now,
    )
