"""Maintenance that comes again: windows of a series, announced ahead; a reminder before each window."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import rrule
from django.db import transaction
from django.db.models import QuerySet

from incidents import reads, services
from incidents.lifecycle import Refused, Status
from incidents.models import NAME_CHARS_MAX, Component, Incident, Page, Series

ACTOR = "clock"
AHEAD_MAX = 10  # windows announced in one pass; a rule by the second cannot flood anybody
LOOKED_AT_MAX = 5_000  # windows skipped when a series was asleep for long
_OFTEN = (rrule.HOURLY, rrule.MINUTELY, rrule.SECONDLY)


def parse(rule: str, *, starts_at: datetime, time_zone: str) -> rrule.rrule:
    """Return the rule, counted in wall-clock time of its zone. Raises Refused in words."""
    text = rule.strip().removeprefix("RRULE:")
    if len(text) > NAME_CHARS_MAX:
        raise Refused(f"The rule has {len(text)} characters; allowed are {NAME_CHARS_MAX}.")
    try:
        start = starts_at.astimezone(ZoneInfo(time_zone)).replace(tzinfo=None)
        # UNTIL is written in UTC when a start has a zone; ours is wall-clock time.
        made = rrule.rrulestr(text.replace("Z", ""), dtstart=start)
    except (ValueError, TypeError, KeyError, ZoneInfoNotFoundError) as error:
        raise Refused(
            f'The rule "{rule[:80]}" is not an RRULE: {error}. Expected something like FREQ=MONTHLY;BYDAY=1SU.'
        ) from error
    if not isinstance(made, rrule.rrule) or made._freq in _OFTEN:  # type: ignore[attr-defined]  # it has no public name
        raise Refused(
            "A maintenance comes again daily, weekly, monthly or yearly; take FREQ=DAILY or rarer."
        )
    return made


def windows(series: Series, *, after: datetime) -> Iterator[datetime]:
    """Yield the beginnings of windows later than `after`, as instants."""
    zone = ZoneInfo(series.time_zone)
    rule = parse(series.rule, starts_at=series.starts_at, time_zone=series.time_zone)
    since = after.astimezone(zone).replace(tzinfo=None)
    for looked_at, start in enumerate(rule.xafter(since - timedelta(hours=2), inc=True)):
        at = start.replace(tzinfo=zone).astimezone(UTC)
        if at > after:
            yield at
        if looked_at >= LOOKED_AT_MAX:
            return


@transaction.atomic
def begin(
    *, page: Page, name: str, body: str, rule: str, starts_at: datetime, duration: timedelta, actor: str, now: datetime,
    what_to_do: str = "", components: list[Component] | None = None, remind_before: timedelta | None = None,
    announce_before: timedelta = timedelta(days=7), first_is_told: bool = False,
) -> Series:  # fmt: skip
    """Keep a series; its windows are announced by the clock, from the first or the one after it. Raises Refused."""
    services._check_text(name, body)
    parse(rule, starts_at=starts_at, time_zone=page.time_zone)
    if duration <= timedelta(0):
        raise Refused("The window ends before it begins.")
    series = Series(
        page=page, name=name, body=body, what_to_do=what_to_do, rule=rule.strip().removeprefix("RRULE:"),
        starts_at=starts_at, time_zone=page.time_zone, duration_s=int(duration.total_seconds()), created_at=now,
        announce_before_s=int(announce_before.total_seconds()),
        remind_before_s=None if remind_before is None else int(remind_before.total_seconds()),
    )  # fmt: skip
    _go_on(series, after=max(now, starts_at - timedelta(seconds=0 if first_is_told else 1)))
    if series.next_at is None and not first_is_told:
        raise Refused("The rule has no window after now; check its start, UNTIL and COUNT.")
    series.save()
    series.components.set(components or [])
    services.audit(
        actor=actor,
        action="begin_series",
        subject=series.uid,
        after={"name": name, "rule": rule},
        now=now,
    )
    return series


@transaction.atomic
def end(series: Series, *, actor: str, now: datetime) -> None:
    """Announce no further windows; those announced stay."""
    if series.ended_at is None:
        Series.objects.filter(pk=series.pk).update(ended_at=now)
        services.audit(actor=actor, action="end_series", subject=series.uid, now=now)


def due(now: datetime) -> QuerySet[Series]:
    """Return the series of which a window is to be announced."""
    return Series.objects.filter(ended_at__isnull=True, announce_at__lte=now).order_by(
        "announce_at"
    )


@transaction.atomic
def announce(series: Series, *, now: datetime) -> list[Incident]:
    """Announce the windows that lie near enough; each once, none that has begun already."""
    series = Series.objects.select_for_update().select_related("page").get(pk=series.pk)
    made = []
    while (
        series.next_at and series.announce_at and series.announce_at <= now and not series.ended_at
    ):
        if series.next_at > now:
            made.append(_window(series, series.next_at, now))
        _go_on(series, after=max(now, series.next_at))
        if len(made) >= AHEAD_MAX:
            break
    series.save(update_fields=["next_at", "announce_at"])
    return made


def _go_on(series: Series, *, after: datetime) -> None:
    series.next_at = next(windows(series, after=after), None)
    before = timedelta(seconds=series.announce_before_s)
    series.announce_at = series.next_at - before if series.next_at else None


def _window(series: Series, at: datetime, now: datetime) -> Incident:
    until = at + timedelta(seconds=series.duration_s)
    before = series.remind_before_s
    words: dict[str, Any] = {
        "what_to_do": series.what_to_do,
        "series": series,
    }  # Any: declare()'s words
    return services.schedule(
        page=series.page, name=series.name, body=series.body, scheduled_for=at, scheduled_until=until,
        components=list(series.components.all()), actor=ACTOR, now=now, automatic=True,
        remind_at=None if before is None else at - timedelta(seconds=before),
        key=f"series:{series.uid}:{at:%Y%m%d%H%M}", **words,
    )  # fmt: skip


@transaction.atomic
def remind(incident: Incident, *, now: datetime) -> None:
    """Tell those who follow that a window comes near; once."""
    services.lock_page(incident.page_id)
    Incident.objects.filter(pk=incident.pk).update(remind_at=None)
    if (
        incident.status != Status.SCHEDULED
        or incident.scheduled_for is None
        or incident.scheduled_for <= now
    ):
        return
    services.publish_update(
        incident, status=Status.SCHEDULED, body="A reminder: this maintenance comes near.", automatic=True, actor=ACTOR,
        now=now, audience=reads.audience_of(incident), key="reminder",
    )  # fmt: skip
