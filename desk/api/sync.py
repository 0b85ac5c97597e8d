"""/v1 subscribers/sync: a customer list, whole or in parts, on a recorded legal basis; ours, not Statuspage's."""

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from pydantic import AwareDatetime, Field

from desk.api import answers, lookup
from desk.api.entrance import Json, actor, route
from incidents import services
from subscribers import services as people

router = Router(tags=["subscribers"])
ROWS_MAX = 5_000  # of one request, below DATA_UPLOAD_MAX_MEMORY_SIZE
ADDRESS_CHARS_MAX = 2_048


class Row(Schema):
    """One customer."""

    channel: str = Field(default="email", max_length=16)
    address: str = Field(max_length=ADDRESS_CHARS_MAX)
    components: list[str] = Field(default=[], max_length=200)
    language: str = Field(default="", max_length=10)
    time_zone: str = Field(default="", max_length=64)
    wake_me: bool = False
    consent_source: str = Field(default="", max_length=200)
    consent_at: AwareDatetime | None = None


class ListIn(Schema):
    """A list, or a part of it. All parts of one reading share `run`; the last says `final`, and lets go who is missing."""

    name: Annotated[
        str, Field(alias="list", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    ]
    run: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9.:_+-]+$")]
    legal_basis: people.Basis
    source: Annotated[str, Field(min_length=1, max_length=200)]
    since: AwareDatetime
    subscribers: Annotated[list[Row], Field(max_length=ROWS_MAX)]
    final: bool = False


@route(
    router, ["PUT"], "/pages/{page_id}/subscribers/sync", summary="Bring a customer list up to date",
    answer=answers.Synced,
)  # fmt: skip
def sync(request: HttpRequest, page_id: str, body: ListIn) -> Json:
    """Take over who is new, let go who is missing; nobody is written to, and who chose for themselves keeps their choice."""
    lookup.page(page_id)
    now = timezone.now()
    listed = people.ListRun(body.name, body.run)
    rows = (_incoming(row, body, place) for place, row in enumerate(body.subscribers))
    done = people.bring_in(rows, source=f"list {body.name}", now=now, listed=listed)
    dropped = people.end_run(listed, now=now) if body.final else 0
    services.audit(
        actor=actor(request), action="sync_subscribers", subject=body.name, now=now,
        after={"run": body.run, "basis": body.legal_basis, "added": done.added, "dropped": dropped},
    )  # fmt: skip
    return {
        "added": done.added,
        "waiting": done.waiting,
        "unchanged": done.unchanged,
        "left_alone": done.left_alone,
        "dropped": dropped,
        "refused": [{"row": int(one.place), "why": one.why} for one in done.refused],
    }


def _incoming(row: Row, body: ListIn, place: int) -> people.Incoming:
    """Return the row on its own consent where it brings one, else on the basis of the list."""
    own = row.consent_at is not None
    at: datetime | None = row.consent_at if own else body.since
    return people.Incoming(
        channel=row.channel,
        address=row.address,
        components=tuple(row.components),
        language=row.language,
        time_zone=row.time_zone,
        wake_me=row.wake_me,
        consent_source=row.consent_source if own else body.source,
        consent_at=at,
        place=str(place),
        basis=people.Basis.CONSENT if own else body.legal_basis,
    )
