"""The last 48 h of a check judged again by its rule of today, beside what really happened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import Q

from incidents.models import Incident
from probes import baseline, judging, replay, verdict
from probes.facts import GOOD
from probes.kinds import Outcome
from probes.models import Check, Policy, Result, UsualHour, VerdictChange
from probes.recount import Counted, LimitAt, Recount
from probes.replay import Course, Deed, Did, Happened, Run, Story
from probes.rule import BASELINE_DAYS
from probes.sight import TELLING
from probes.verdict import Night, Publish, Rule

BACK: Final = timedelta(hours=48)
# As many as a check at every 30 s from five places leaves in 48 h, and some; the newest are read.
RESULTS_MAX: Final = 40_000
INCIDENTS_MAX: Final = 100
# A rule is not proven by less than this share of the time.
WHOLE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Replay:
    """What the rule would have done by itself, what it would do let loose, and what happened."""

    since: datetime
    until: datetime
    results: int
    sittings: int
    is_cut: bool
    as_set: Story
    loose: Story
    has_silent_policy: bool
    incidents: Sequence[Incident]
    changes: Sequence[VerdictChange]
    false: Sequence[Deed]
    missed: Sequence[Happened]

    @property
    def is_whole(self) -> bool:
        return self.until - self.since >= BACK * WHOLE

    @property
    def is_clean(self) -> bool:
        return not self.false

    @property
    def alarms(self) -> int:
        """How often trouble would have been said in public, or drafted for it."""
        return sum(1 for deed in self.loose.deeds if deed.is_alarm)

    @property
    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Drafts, publications and calls: as the policies are, and let loose."""
        counted = (Did.DRAFTED, Did.PUBLISHED, Did.CALLED)
        return {
            name: (story.count(counted[0]), story.count(counted[1]), story.count(counted[2]))
            for name, story in (("as_set", self.as_set), ("loose", self.loose))
        }


def take(check: Check, *, now: datetime) -> Replay:
    """Judge again what is stored, at most RESULTS_MAX results and replay.JUDGED_MAX moments."""
    rule = Rule.parse(check.rule)
    patience_s = judging.patience_of(check)
    window_s = verdict.window_s(rule, check.interval_s, patience_s=patience_s)
    since = now - BACK
    limit_at = _limits(check, rule)
    rows, is_cut = _rows(check, since - timedelta(seconds=max(window_s, rule.burn_over_s)))
    runs = [Run(judging.heard(row), _is_calm(row, limit_at)) for row in rows]
    begin = max(since, runs[0].result.at) if runs else now
    hearing = replay.hear(
        runs,
        judge_of(
            check,
            watched_since=runs[0].result.at if runs else now,
            recount=Recount(
                map(_counted, rows),
                rule,
                needed=verdict.quorum(len(check.locations)),
                limit_at=limit_at,
            ),
        ),
        locations=check.locations,
        window_s=window_s,
        blind_after_s=verdict.blind_after_s(check.interval_s, patience_s),
        since=begin,
        until=now,
    )
    course_of = _courses(check)
    as_set = replay.tell(hearing, rule, course_of, until=now)
    loose = replay.tell(hearing, rule, replay.loosened(course_of), until=now)
    incidents = _incidents(check, hearing.since, now)
    stood_by = [_happened(each, now) for each in incidents if _is_stood_by(each)]
    changes = VerdictChange.objects.filter(of_check=check, at__range=(hearing.since, now))
    return Replay(
        since=hearing.since,
        until=now,
        results=len(runs),
        sittings=len(hearing.sittings),
        is_cut=is_cut or hearing.is_cut,
        as_set=as_set,
        loose=loose,
        has_silent_policy=as_set != loose,
        incidents=incidents,
        changes=list(changes.select_related("component")[:INCIDENTS_MAX]),
        false=replay.false_alarms(loose, stood_by),
        missed=replay.missed(loose, stood_by),
    )


def judge_of(check: Check, *, watched_since: datetime, recount: Recount) -> replay.Judge:
    """Return the judge of a check with its rule of today, as probes.judging calls it.

    `watched_since` is when the first of the results came: what was changed later changed nothing.
    """
    rule, watches = Rule.parse(check.rule), judging.watches_of(check)
    # How each component stands after the judgements so far: they are asked in order of time.
    standing: dict[str, verdict.Standing] = {}

    def judge(results: Sequence[verdict.Result], now: datetime) -> tuple[verdict.Verdict, ...]:
        mended = [each.mended_at for each in standing.values() if each.mended_at]
        said = verdict.judge(
            results,
            rule,
            now,
            locations=tuple(check.locations),
            watches=watches,
            interval_s=check.interval_s,
            watched_since=watched_since,
            patience_s=judging.patience_of(check),
            around=verdict.Surroundings(
                standing=dict(standing),
                burn=recount.burn(now, mended_at=max(mended, default=None)),
                latency=recount.latency(now),
            ),
        )
        for each in said:
            before = standing.get(each.component, verdict.Standing())
            standing[each.component] = verdict.follow(before, each, now)
        return said

    return judge


def _rows(check: Check, since: datetime) -> tuple[list[Result], bool]:
    rows = list(
        Result.objects.filter(of_check=check, at__gte=since)
        .select_related("location")
        .defer("answer")
        .order_by("-at")[: RESULTS_MAX + 1]
    )
    is_cut = len(rows) > RESULTS_MAX
    rows = rows[:RESULTS_MAX]
    rows.reverse()
    return rows, is_cut


def _is_calm(row: Result, limit_at: LimitAt) -> bool:
    is_good = row.outcome == row.first_outcome == Outcome.OK
    return is_good and row.total_ms / 1000 <= limit_at(row.at)


def _counted(row: Result) -> Counted:
    return Counted(
        location=row.location.name,
        at=row.at,
        told=row.first_outcome in TELLING,
        failed=row.first_outcome == Outcome.TARGET_FAIL,
        good=row.outcome in GOOD and row.attempts == 1,
        took_s=row.total_ms / 1000,
    )


def _limits(check: Check, rule: Rule) -> LimitAt:
    """Return what p95 may have been in the hour of a moment, as probes.tally sets it."""
    usual = dict(UsualHour.objects.filter(of_check=check).values_list("at", "p95_ms"))
    limits: dict[datetime, float] = {}

    def limit_at(moment: datetime) -> float:
        hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if hour not in limits:
            before = [hour - timedelta(days=day) for day in range(1, BASELINE_DAYS + 1)]
            limits[hour] = baseline.limit_s(
                [usual[each] for each in before if each in usual],
                times=rule.slow_times,
                least_s=rule.slow_over_s,
            )
        return limits[hour]

    return limit_at


def _courses(check: Check) -> Callable[[str, str], Course | None]:
    policies = list(Policy.objects.filter(page=check.page_id).select_related("component"))

    def course_of(component: str, word: str) -> Course | None:
        for each in policies:
            if each.component.slug == component and word in each.verdicts:
                night = Night.parse(each.night) if each.night else None
                return Course(Publish(each.publish), each.veto_s, each.publish_after_s, night)
        return None

    return course_of


def _incidents(check: Check, since: datetime, now: datetime) -> list[Incident]:
    """Return the incidents of what the check watches that touch this stretch of time."""
    slugs = {watch.component for watch in judging.watches_of(check)}
    rows = Incident.objects.filter(
        Q(resolved_at=None) | Q(resolved_at__gte=since),
        page=check.page_id,
        started_at__lte=now,
        scheduled_for=None,
        components__slug__in=slugs,
    )
    ordered = rows.distinct().order_by("started_at").prefetch_related("components")
    return list(ordered[:INCIDENTS_MAX])


def _is_stood_by(incident: Incident) -> bool:
    """Say whether people let it stand: published, and not taken back."""
    return incident.published_at is not None and incident.retracted_at is None


def _happened(incident: Incident, now: datetime) -> Happened:
    slugs = frozenset(each.slug for each in incident.components.all())
    return Happened(slugs, incident.started_at, incident.resolved_at or now)
