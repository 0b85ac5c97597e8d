"""Writes into the audit how many people each update went to, by channel, once all of them are queued."""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from incidents import services
from incidents.models import AuditEntry
from notifications import reports
from notifications.models import Broadcast

ACTION, ACTOR = "tell", "voice"
LOOKED_BACK = timedelta(
    hours=24
)  # what is older was written down, or the clock stood still for a day
PASS_MAX = 20


def write(now: datetime) -> None:
    """Write one entry for each broadcast that is queued whole and has none yet."""
    written = AuditEntry.objects.filter(
        action=ACTION, subject=OuterRef("update_entry__uid"), at__gt=now - LOOKED_BACK
    )
    rows = Broadcast.objects.filter(
        update_entry__isnull=False, fanned_out_at__isnull=False, created_at__gt=now - LOOKED_BACK
    ).filter(~Exists(written))
    for row in rows.select_related("update_entry").order_by("id")[:PASS_MAX]:
        assert row.update_entry is not None, "filtered"
        people = {
            channel: sum(states.values()) for channel, states in reports.progress(row.pk).items()
        }
        services.audit(
            actor=ACTOR, action=ACTION, subject=row.update_entry.uid, now=now,
            after={"people": people, "recipients": sum(people.values())},
        )  # fmt: skip
