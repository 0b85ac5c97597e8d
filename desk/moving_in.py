"""Another Statuspage read over HTTP: page, components, groups, history, as the importer takes them."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import requests
from django.utils.text import slugify
from pydantic import BaseModel, Field, ValidationError

from incidents.importing import OldComponent, OldGroup, OldIncident, OldUpdate
from incidents.lifecycle import MAINTENANCE, ComponentStatus, Impact, Status, is_maintenance

TIMEOUT_S = (5.0, 30.0)
ANSWER_BYTES_MAX = 32 * 1024 * 1024
TRIES = 5
REST_S_MAX = 65.0  # Statuspage counts its requests over 60 s
AT_ONCE = 4
PER_PAGE = 100
# Statuspage's history holds three months a page: a hundred years, should one never end.
PAGES_MAX = 400
INCIDENTS_MAX = 50_000
MANAGEMENT = "https://api.statuspage.io"
_SLOW_DOWN = (420, 429, 502, 503, 504)


class Unreadable(Exception):
    """What is there is no Statuspage, or does not answer; one sentence."""


class _Row(BaseModel):
    id: str = Field(pattern="^[a-z0-9]{1,12}$")
    created_at: datetime
    updated_at: datetime


class _Component(_Row):
    name: str
    description: str | None = None
    status: str = ""
    position: int | None = None
    group: bool = False
    group_id: str | None = None
    showcase: bool = True
    only_show_if_degraded: bool = False


class _Change(BaseModel):
    code: str
    name: str = ""
    old_status: str = ""
    new_status: str = ""


class _Update(_Row):
    status: str
    body: str | None = None
    display_at: datetime | None = None
    affected_components: list[_Change] | None = None


class _Named(BaseModel):
    id: str


class _Incident(_Row):
    name: str
    status: str
    impact: str = "none"
    started_at: datetime | None = None
    monitoring_at: datetime | None = None
    resolved_at: datetime | None = None
    scheduled_for: datetime | None = None
    scheduled_until: datetime | None = None
    incident_updates: list[_Update] = []
    components: list[_Named] | None = None
    postmortem_body: str | None = None
    postmortem_published_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OldPage:
    uid: str
    name: str
    time_zone: str
    groups: tuple[OldGroup, ...]
    components: tuple[OldComponent, ...]


class Statuspage:
    """A page at `url`, read politely: a few calls at once, slower when it asks for that."""

    def __init__(self, url: str, *, key: str = "", api: str = MANAGEMENT) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreadable(
                f"URL is {url[:80]!r}; expected an address as https://status.example.com"
            )
        self.url, self.api, self.key = url.rstrip("/"), api.rstrip("/"), key
        self._session = requests.Session()
        self._session.headers["Accept"] = "application/json"

    def page(self) -> OldPage:
        """Return page, groups and components. Raises Unreadable."""
        summary = self._get(f"{self.url}/api/v2/summary.json")
        found = summary.get("page") if isinstance(summary, dict) else None
        if not isinstance(found, dict) or not isinstance(found.get("id"), str):
            raise Unreadable(f"{self.url}/api/v2/summary.json is not a Statuspage's summary")
        listed = self._get(f"{self.url}/api/v2/components.json").get("components", [])
        rows = [_checked(_Component, row, "component") for row in listed]
        return OldPage(
            uid=found["id"],
            name=str(found.get("name") or ""),
            time_zone=str(found.get("time_zone") or "Etc/UTC"),
            groups=tuple(_group(row) for row in rows if row.group),
            components=tuple(_component(row) for row in rows if not row.group),
        )

    def incidents(self, page_uid: str, known: Iterable[str]) -> Iterator[OldIncident]:
        """Yield the whole history, newest first; with a key by the management API, else by the public one.

        What is final and `known` (ids) is not fetched again. Raises Unreadable.
        """
        if self.key:
            yield from self._by_key(page_uid)
            return
        seen: set[str] = set()
        for path, name in (
            ("incidents", "incidents"),
            ("scheduled-maintenances", "scheduled_maintenances"),
        ):
            for row in self._get(f"{self.url}/api/v2/{path}.json").get(name, []):
                if row.get("id") not in seen:
                    seen.add(str(row.get("id")))
                    yield _incident(row)
        done = seen | set(known)
        yield from self._fetched(code for code in self._codes() if code not in done)

    def _by_key(self, page_uid: str) -> Iterator[OldIncident]:
        for number in range(1, PAGES_MAX + 1):
            rows = self._get(
                f"{self.api}/v1/pages/{page_uid}/incidents?limit={PER_PAGE}&page={number}"
            )
            yield from (_incident(row) for row in rows)
            if len(rows) < PER_PAGE:
                return

    def _codes(self) -> Iterator[str]:
        """Yield the ids of the public history, three months a page, until pages stay empty."""
        seen: set[str] = set()
        empty = 0
        for number in range(1, PAGES_MAX + 1):
            shown = self._get(f"{self.url}/history.json?page={number}", missing={})
            rows = [row for month in shown.get("months", []) for row in month.get("incidents", [])]
            codes = [str(row.get("code") or "") for row in rows]
            fresh = [code for code in codes if code and code not in seen]
            seen.update(fresh)
            yield from fresh
            empty = 0 if fresh else empty + 1
            # A quiet half year is not the end of history; two such pages are.
            if not shown or empty >= 2 or len(seen) > INCIDENTS_MAX:
                return

    def _fetched(self, codes: Iterator[str]) -> Iterator[OldIncident]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while batch := list(islice(codes, PER_PAGE)):
                for row in pool.map(self._one, batch):
                    yield _incident(row)

    def _one(self, code: str) -> Any:  # Any: JSON
        found = self._get(f"{self.url}/incidents/{code}.json")
        return found.get("incident", found) if isinstance(found, dict) else found

    def _get(self, url: str, *, missing: Any = None) -> Any:  # Any: JSON
        headers = (
            {"Authorization": f"OAuth {self.key}"} if url.startswith(f"{self.api}/v1/") else {}
        )
        for attempt in range(1, TRIES + 1):
            try:
                answer = self._session.get(url, headers=headers, timeout=TIMEOUT_S)
            except requests.RequestException as error:
                if attempt == TRIES:
                    raise Unreadable(f"{url} does not answer ({type(error).__name__})") from error
                time.sleep(min(2.0**attempt / 4, REST_S_MAX))
                continue
            if answer.status_code in _SLOW_DOWN and attempt < TRIES:
                time.sleep(_rest_s(answer, attempt))
                continue
            if answer.status_code == 404 and missing is not None:
                return missing
            if answer.status_code != 200:
                raise Unreadable(f"{url} answers {answer.status_code}; expected 200 and JSON")
            if len(answer.content) > ANSWER_BYTES_MAX:
                raise Unreadable(f"{url} answers more than {ANSWER_BYTES_MAX:,} bytes")
            try:
                return answer.json()
            except ValueError as error:
                raise Unreadable(f"{url} answers no JSON") from error
        raise AssertionError("the loop returns or raises")


def _rest_s(answer: requests.Response, attempt: int) -> float:
    said = answer.headers.get("Retry-After", "")
    return min(float(said) if said.isdigit() else 2.0**attempt, REST_S_MAX)


def _checked(model: Any, row: Any, what: str) -> Any:  # Any: one of the models above; JSON
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = row.get("id", "?") if isinstance(row, dict) else "?"
        where = ".".join(str(part) for part in first["loc"])
        raise Unreadable(f"{what} {name} cannot be read: {where}: {first['msg']}") from error


def _group(row: _Component) -> OldGroup:
    return OldGroup(
        uid=row.id, name=row.name, position=max(row.position or 0, 0), description=row.description or "",
        created_at=row.created_at, updated_at=row.updated_at,
    )  # fmt: skip


def _component(row: _Component) -> OldComponent:
    return OldComponent(
        uid=row.id, slug=slugify(row.name), name=row.name, description=row.description or "",
        status=_word(ComponentStatus, row.status, ComponentStatus.OPERATIONAL), position=max(row.position or 0, 0),
        group=row.group_id, created_at=row.created_at, updated_at=row.updated_at, showcase=row.showcase,
        only_show_if_degraded=row.only_show_if_degraded,
    )  # fmt: skip


def _word(words: Any, text: str, otherwise: Any) -> Any:  # Any: a StrEnum and one of its words
    return words(text) if text in set(words) else otherwise


def _incident(found: Any) -> OldIncident:  # Any: JSON
    if isinstance(found, dict) and "id" not in found and "code" in found:
        found = found | {"id": found["code"]}
    row: _Incident = _checked(_Incident, found, "incident")
    status, planned = _status(row)
    updates = sorted(
        (_update(each, status) for each in row.incident_updates),
        key=lambda each: (each.display_at, each.created_at),
    )
    if not updates:
        # Readers and feeds expect a word of every incident.
        updates = [
            OldUpdate(row.id, status, row.name, row.created_at, row.updated_at, row.created_at)
        ]
    return OldIncident(
        uid=row.id, name=row.name, status=status,
        impact=_word(Impact, row.impact, Impact.NONE), created_at=row.created_at, updated_at=row.updated_at,
        started_at=row.started_at or row.created_at, updates=tuple(updates),
        components=tuple(each.id for each in row.components or ()), monitoring_at=row.monitoring_at,
        resolved_at=row.resolved_at, scheduled_for=planned, scheduled_until=row.scheduled_until,
        postmortem=row.postmortem_body or "", postmortem_at=row.postmortem_published_at,
    )  # fmt: skip


def _status(row: _Incident) -> tuple[Status, datetime | None]:
    """Return status and window as ours must be: a maintenance, and nothing else, has one."""
    status: Status = _word(Status, row.status, Status.RESOLVED)
    if is_maintenance(status):
        return status, row.scheduled_for or row.created_at
    if row.scheduled_for is None:
        return status, None
    over = status in (Status.RESOLVED, Status.POSTMORTEM)
    return (Status.COMPLETED if over else Status.IN_PROGRESS), row.scheduled_for


def _update(row: _Update, of: Status) -> OldUpdate:
    changes = tuple(
        (each.code, each.name, _word(ComponentStatus, each.old_status, ComponentStatus.OPERATIONAL),
         _word(ComponentStatus, each.new_status, ComponentStatus.OPERATIONAL))
        for each in row.affected_components or ()
    )  # fmt: skip
    usual = Status.COMPLETED if of in MAINTENANCE else Status.RESOLVED
    return OldUpdate(
        uid=row.id, status=_word(Status, row.status, usual), body=row.body or row.status, created_at=row.created_at,
        updated_at=row.updated_at, display_at=(row.display_at or row.created_at).astimezone(UTC), changes=changes,
    )  # fmt: skip
