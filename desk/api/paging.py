"""Parameters that many calls share, and pages of lists."""

from datetime import date, datetime
from typing import Annotated, Any, TypeVar

from django.db.models import QuerySet
from ninja import Query
from pydantic import AfterValidator, Field

# statuspage-api.md §5: a page of a list holds at most so many rows; a larger wish is cut, as Statuspage does.
PER_PAGE_MAX = 100
# One client counts rows instead of pages: past the end is an empty list, however far.
NUMBER_MAX = 1_000_000_000

PageNumber = Annotated[int, Query(1, ge=0, le=NUMBER_MAX, description="Pages count from 1.")]
FromZero = Annotated[int, Query(0, ge=0, le=NUMBER_MAX, description="Pages count from 0.")]
PerPage = Annotated[
    int,
    Query(PER_PAGE_MAX, ge=1, le=NUMBER_MAX, description=f"Rows a page, {PER_PAGE_MAX} at most."),
]
YEAR_MIN, YEAR_MAX = 1990, 2200
Near = TypeVar("Near", date, datetime)


def near(at: Near) -> Near:
    if not YEAR_MIN <= at.year <= YEAR_MAX:
        raise ValueError(f"expected a year from {YEAR_MIN} to {YEAR_MAX}")
    return at


# A time that calendars and databases can hold, whatever its zone.
Moment = Annotated[
    datetime, AfterValidator(near), Field(description="As 2026-11-24T02:25:00Z; without a zone, the page's.")
]  # fmt: skip


def cut(
    rows: QuerySet[Any], *, page: int, limit: int, first: int = 1
) -> QuerySet[Any]:  # Any: rows of one model
    """Return one page of a list whose pages count from `first`; past the end it is empty."""
    limit = min(limit, PER_PAGE_MAX)
    start = max(page - first, 0) * limit
    return rows[start : start + limit]
