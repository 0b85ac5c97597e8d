"""A page written by hand, for the night when the database is gone: a small file -> Snapshot."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from incidents.facts import ComponentFact, IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import Audience, ComponentStatus, Impact, Status, impact_of
from public.phrases import NAMES
from public.snapshot import Snapshot

_LANGUAGE = re.compile(rb'<html lang="([a-z]+)"')  # as templates/public/base.html writes it
UNKNOWN = "unknown"  # as banner.json says it
UID = "byhand000000"  # the notice's incident; the database's own ids are random
KEYS = (
    "name",
    "status",
    "impact",
    "body",
    "what_to_do",
    "next_update_by",
    "speaker",
    "components",
    "page",
)

Word = TypeVar("Word", bound=StrEnum)
Json = dict[str, Any]  # what was read from a file, checked key by key below


class BadNotice(ValueError):
    """The file cannot be published; the text says where and what was expected."""


def read(file: Path, folder: Path, *, site_url: str, now: datetime) -> Snapshot:
    """Return the snapshot that the file tells of; page and components are those last published, and so is the status of
    those that it does not name: what was broken or unknown has not become well because the database went.

    Raises BadNotice.
    """
    said = _load(file)
    page = _page(said, folder, site_url, now)
    components = _components(said, folder, now)
    return Snapshot(
        now=now,
        page=page,
        groups=(),
        components=tuple(components.values()),
        incidents=(_incident(said, components, now),),
        history=(),
        archive=(),
        checked=None,
        unshown=(),
    )


def _load(file: Path) -> Json:
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadNotice(f"{file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadNotice(
            f"{file} is neither YAML nor JSON: {' '.join(str(error).split())}."
        ) from error
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise BadNotice(
            f"{file} must hold keys and values: name, body and, if you like, {', '.join(KEYS[1:])}."
        )
    unknown = sorted(set(said) - set(KEYS))
    if unknown:
        raise BadNotice(f'{file} has the key "{unknown[0]}"; expected {", ".join(KEYS)}.')
    for key in ("name", "body"):
        if not isinstance(said.get(key), str) or not said[key].strip():
            raise BadNotice(f"{file} needs {key}: a text that readers understand.")
    return said


def _page(said: Json, folder: Path, site_url: str, now: datetime) -> PageFact:
    last = _published(folder, "api/v2/status.json").get("page", {})
    own = said.get("page") or {}
    if not isinstance(own, Mapping):
        raise BadNotice("page must hold keys and values: name, url, time_zone.")
    known = {**last, **own}
    return PageFact(
        uid=str(last.get("id", UID)),
        name=str(known.get("name", "Status")),
        url=str(known.get("url", site_url)).rstrip("/"),
        time_zone=str(known.get("time_zone", "Etc/UTC")),
        languages=_languages(folder),
        updated_at=now,
        created_at=now,
    )


def _languages(folder: Path) -> tuple[str, ...]:
    """Return in what languages the page was last published, that of its root first; a notice is on each."""
    try:
        found = _LANGUAGE.search((folder / "index.html").read_bytes())
    except OSError:
        found = None
    root = found[1].decode() if found else "en"
    return tuple(dict.fromkeys([root, *(code for code in NAMES if (folder / code).is_dir())]))


def _components(said: Json, folder: Path, now: datetime) -> dict[str, ComponentFact]:
    rows = _published(folder, "banner.json").get("components", [])
    known = {row["slug"]: row for row in rows}
    states = said.get("components") or {}
    if not isinstance(states, Mapping):
        raise BadNotice("components must name a status for each slug, as follow: major_outage.")
    for slug in states:
        new = {"id": f"{slug:0<12.12}", "name": str(slug).capitalize(), "status": UNKNOWN}
        known.setdefault(str(slug), new)
    return {
        slug: _component(slug, row, states.get(slug, row["status"]), number, now)
        for number, (slug, row) in enumerate(known.items())
    }


def _component(
    slug: str, row: Mapping[str, str], state: object, number: int, now: datetime
) -> ComponentFact:
    blind = state == UNKNOWN
    return ComponentFact(
        uid=row["id"], slug=slug, name=row["name"], description="", position=number, critical=False, group=None,
        created_at=now, updated_at=now, showcase=False,
        status=ComponentStatus.OPERATIONAL if blind else _word(ComponentStatus, state, f"components.{slug}"),
        unknown_since=now if blind else None, unknown_why=row.get("why", "") if blind else "",
    )  # fmt: skip


def _incident(said: Json, components: dict[str, ComponentFact], now: datetime) -> IncidentFact:
    named = tuple(components[slug] for slug in said.get("components") or {})
    status = _word(Status, said.get("status") or Status.INVESTIGATING, "status")
    implied = impact_of(one.status for one in named)
    if not named and status is not Status.RESOLVED:
        implied = Impact.CRITICAL  # written by hand in the night, and about everything
    impact = _word(Impact, said.get("impact") or implied, "impact")
    promise = _instant(said.get("next_update_by"))
    update = UpdateFact(
        uid=f"{UID[:-1]}1", incident=UID, number=1, status=status, body=said["body"],
        what_to_do=str(said.get("what_to_do") or ""), created_at=now, updated_at=now, display_at=now,
        published_at=now, next_update_by=promise, audience=Audience.NOBODY, automatic=False,
        speaker=str(said.get("speaker") or ""), changes=(),
    )  # fmt: skip
    return IncidentFact(
        uid=UID, name=said["name"], status=status, impact=impact, created_at=now, updated_at=now,
        started_at=now, monitoring_at=None, resolved_at=now if status is Status.RESOLVED else None,
        automatic=False, updates=(update,), components=named, published_at=now, next_update_by=promise,
    )  # fmt: skip


def _word(kind: type[Word], value: object, where: str) -> Word:
    try:
        return kind(str(value))
    except ValueError as error:
        raise BadNotice(f'{where} is "{value}"; expected one of {", ".join(kind)}.') from error


def _instant(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise BadNotice(
            f"next_update_by is {value!r}; expected a time as 2026-11-23T02:30:00Z."
        ) from error
    return at.replace(tzinfo=at.tzinfo or UTC)


def _published(folder: Path, path: str) -> Json:
    """Return what was last published; empty when there is nothing or it cannot be read."""
    try:
        document: Json = json.loads((folder / path).read_bytes())
    except (OSError, ValueError):
        return {}
    return document
