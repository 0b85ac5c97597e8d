"""What falls due in the core: drafts, maintenance windows and their reminders, promises; new entries of the audit are sealed."""

from datetime import datetime, timedelta

from incidents import promises, reads, recurring, sealing, services
from incidents.lifecycle import OPEN, CallReason, Refused, Status
from incidents.models import Incident, Update

ACTOR = "clock"
PASS_MAX = 50  # rows of each kind in one pass; the rest a second later
# communication.md §3.3: operators are called five minutes before a promise lapses.
PROMISE_WARNING = timedelta(minutes=5)


def tick(now: datetime) -> None:
    """Publish due drafts, open and close windows, call operators before a promise lapses, speak when it has."""
    _publish_due(now)
    _announce_series(now)
    _remind(now)
    _open_windows(now)
    _close_windows(now)
    _warn_of_promises(now)
    _speak_for_promises(now)
    sealing.seal()


def _publish_due(now: datetime) -> None:
    due = Incident.objects.filter(
        published_at__isnull=True, vetoed_at__isnull=True, publish_at__lte=now
    )
    for incident in due.order_by("publish_at")[:PASS_MAX]:
        services.publish_draft(incident, actor=ACTOR, now=now)
    follow_ups = Update.objects.filter(
        published_at__isnull=True,
        vetoed_at__isnull=True,
        publish_at__lte=now,
        incident__published_at__isnull=False,
    )
    for update in follow_ups.select_related("incident__page").order_by("publish_at")[:PASS_MAX]:
        try:
            services.publish_drafted_update(update, actor=ACTOR, now=now)
        except (Refused, ValueError):
            # The incident moved on meanwhile: the draft has nothing left to say.
            services.veto(update, actor=ACTOR, now=now)


def _open_windows(now: datetime) -> None:
    due = Incident.objects.filter(
        status=Status.SCHEDULED, auto_in_progress=True, scheduled_for__lte=now
    )
    for incident in due.filter(published_at__isnull=False)[:PASS_MAX]:
        services.publish_update(
            incident, status=Status.IN_PROGRESS, body="The maintenance has begun.", automatic=True, actor=ACTOR, now=now,
            audience=reads.audience_of(incident), next_update_by=incident.scheduled_until, key="window-open",
        )  # fmt: skip


def _close_windows(now: datetime) -> None:
    due = Incident.objects.filter(
        status__in=[Status.IN_PROGRESS, Status.VERIFYING],
        auto_completed=True,
        scheduled_until__lte=now,
    )
    for incident in due[:PASS_MAX]:
        services.publish_update(
            incident, status=Status.COMPLETED, body="The maintenance is over.", automatic=True, actor=ACTOR, now=now,
            audience=reads.audience_of(incident), key="window-close",
        )  # fmt: skip


def _warn_of_promises(now: datetime) -> None:
    due = Incident.objects.filter(
        status__in=OPEN, published_at__isnull=False, next_update_by__lte=now + PROMISE_WARNING
    )
    for incident in due.select_related("page")[:PASS_MAX]:
        services.call_operators(
            page=incident.page,
            reason=CallReason.PROMISE_DUE,
            text=f'"{incident.name}": the next update is promised by {incident.next_update_by:%H:%M} UTC.',
            key=f"promise:{incident.uid}:{incident.next_update_by:%Y%m%d%H%M}",
            incident=incident,
            now=now,
        )


def _speak_for_promises(now: datetime) -> None:
    for incident in promises.due(now)[:PASS_MAX]:
        promises.speak(incident, now=now)


def _announce_series(now: datetime) -> None:
    for series in recurring.due(now)[:PASS_MAX]:
        recurring.announce(series, now=now)


def _remind(now: datetime) -> None:
    due = Incident.objects.filter(remind_at__lte=now, published_at__isnull=False)
    for incident in due.order_by("remind_at")[:PASS_MAX]:
        recurring.remind(incident, now=now)
