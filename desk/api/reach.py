"""/v1 reach of an incident (ours, not Statuspage's): who was told, and after how many seconds."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router

from desk.api import answers, lookup
from desk.api.entrance import route
from desk.api.paging import Moment
from incidents import reads
from incidents.models import Incident, Update
from notifications import reports
from notifications.models import Broadcast

router = Router(tags=["reach"])


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents/{incident_id}/reach",
    summary="Who was told, and when",
    answer=answers.Reach,
)
def reach(
    request: HttpRequest, page_id: str, incident_id: str, since: Moment | None = None
) -> dict[str, Any]:  # Any: JSON
    """Return counts and times per channel; seconds count from `since`, or from when the incident began."""
    incident = lookup.incident(lookup.page(page_id), incident_id)
    start = since or incident.started_at
    updates = incident.updates.filter(published_at__isnull=False).order_by("number")
    first = updates.first()
    return {
        "id": incident.uid,
        "started_at": _iso(incident.started_at),
        "detected_at": _iso(incident.detected_at),
        "published_at": _iso(incident.published_at),
        "page_at": _iso(first.shown_at if first else None),
        "resolved_at": _iso(incident.resolved_at),
        "updates": updates.count(),
        "fanned_out": _is_fanned_out(incident),
        "channels": {
            name: row.as_json() for name, row in reports.of_incident(incident, since=start).items()
        },
        "all_clear": {
            name: row.as_json() for name, row in reports.of_all_clear(incident, since=start).items()
        },
    }


def _is_fanned_out(incident: Incident) -> bool:
    """True when everybody whom the newest update is for has been queued."""
    newest = Update.objects.filter(incident=incident, number=reads.newest_number(incident)).first()
    return Broadcast.objects.filter(update_entry=newest, fanned_out_at__isnull=False).exists()


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
