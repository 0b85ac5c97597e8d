"""When alerts may have been missed: from the first bad verdict of an incident to the last good one."""

from datetime import datetime

from incidents.models import Incident
from probes.models import VerdictChange
from probes.verdict import Word

BAD = (Word.OUTAGE, Word.STALE, Word.PARTIAL, Word.DEGRADED)


def window(incident: Incident, *, now: datetime) -> tuple[datetime, datetime]:
    """Return the window as the verdicts tell it; without checks, from the incident's beginning until now."""
    changes = VerdictChange.objects.filter(
        component__in=incident.components.all(), at__gte=incident.started_at, at__lte=now
    )
    bad = changes.filter(new__in=[str(word) for word in BAD]).order_by("at").first()
    good = changes.filter(new=str(Word.UP)).order_by("-at").first()
    start = min(incident.started_at, bad.at) if bad else incident.started_at
    end = good.at if good and good.at > start else now
    return start, end
