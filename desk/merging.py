"""What the file says against what was changed in the admin since it was last applied: the change is kept, and said."""

from collections.abc import Mapping, Sequence
from typing import Any

from desk.siteconfig import Site

Rows = Mapping[str, Mapping[str, Any]]  # Any: JSON
# Sections whose rows have a name of their own, and what that is; the others are taken whole.
KEYED = {"components": "slug", "checks": "slug", "templates": "slug", "intake": "name"}
_WAY_OUT = "put it into the file, or apply with --overwrite"


def merge(
    file: Site, *, now: Site, applied: Mapping[str, Any] | None
) -> tuple[Site, list[str]]:  # Any: JSON
    """Return the site to apply, and a sentence for each thing of now that is kept against the file.

    `applied` is the dump of what was applied last, None when nothing was. A value that differs from it
    now was changed elsewhere: it stays. A value that the file alone changed is applied.
    """
    wanted, is_now = dump(file), dump(now)
    notes: list[str] = []
    for section, before in (applied or {}).items():
        if section not in wanted or section in KEYED or before is None or wanted[section] is None:
            continue
        if section == "page" and not wanted[section]["url"]:
            # The address comes from SITE_URL then.
            before = {**before, "url": ""}
            is_now[section]["url"] = ""
        if is_now[section] not in (before, wanted[section]):
            notes.append(f"{section}: changed in the admin since the last apply, kept; {_WAY_OUT}")
            wanted[section] = is_now[section]
    for section, key in KEYED.items():
        before = _by(key, (applied or {}).get(section, ()))
        rows = _section(section, key, wanted[section], _by(key, is_now[section]), before, notes)
        wanted[section] = rows
    return Site.model_validate(wanted), notes


def dump(site: Site) -> dict[str, Any]:  # Any: JSON
    """Return the site as JSON, every default written out."""
    return site.model_dump(mode="json", by_alias=True)


def _section(
    section: str, key: str, wanted: Sequence[Any], now: Rows, before: Rows, notes: list[str]
) -> list[Any]:
    """Merge the rows of one section by their names."""
    word = section.removesuffix("s")
    rows = []
    for row in wanted:
        name = row[key]
        if name in before and name not in now:
            notes.append(
                f"{word} {name}: deleted in the admin since the last apply, left out; {_WAY_OUT}"
            )
            continue
        kept = {
            field: now[name][field]
            for field in row
            if name in before
            and name in now
            and now[name].get(field) not in (before[name].get(field), row[field])
        }
        for field, value in kept.items():
            notes.append(
                f"{word} {name}: {field} was changed in the admin since the last apply, kept{_shown(value)}; {_WAY_OUT}"
            )
        rows.append({**row, **kept})
    in_file = {row[key] for row in wanted}
    for name, there in now.items():
        if name not in in_file and name not in before:
            notes.append(f"{word} {name}: not in the file and not from it, kept; {_WAY_OUT}")
            rows.append(dict(there))
    return rows


def _shown(value: object) -> str:
    text = str(value)
    return (
        f' as "{text}"' if isinstance(value, str | int | float | bool) and len(text) <= 60 else ""
    )


def _by(key: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {row[key]: row for row in rows}
