"""The audit as CSV, for a system elsewhere."""

import csv
import json
from collections.abc import Iterator

from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_safe

from desk import tables
from desk.access import allowed
from desk.roles import Right
from incidents.models import AuditEntry

ROWS_AT_ONCE = 1_000
COLUMNS = ("id", "at", "actor", "action", "subject", "before", "after", "position", "hash")


class _Echo:
    def write(self, text: str) -> str:
        return text


@allowed(Right.OWN)
@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    answer = StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="audit.csv"'
    return answer


def lines() -> Iterator[str]:
    """Yield the audit, oldest first, each entry with its link of the chain."""
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    rows = AuditEntry.objects.select_related("seal").order_by("id")
    for row in rows.iterator(chunk_size=ROWS_AT_ONCE):
        seal = getattr(row, "seal", None)
        words = [row.actor, row.action, row.subject, json.dumps(row.before), json.dumps(row.after)]
        link = [seal.position, seal.hash] if seal else ["", ""]
        yield writer.writerow([tables.cell(value) for value in (row.pk, row.at, *words, *link)])
