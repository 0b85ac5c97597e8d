"""Everything that is here as files that any program reads: each table as JSON and as CSV, site.yaml, the people's list."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.db import models

from desk import applying, siteconfig, tables
from subscribers import services as people
from subscribers.models import Role, State, Subscription

ROOMS: Final = ("incidents", "subscribers", "probes", "notifications", "public", "desk")
# What machines remember for hours, sealed or hashed: of no use to anyone else.
LEFT_OUT: Final = frozenset({"desk.answered", "subscribers.ask"})
ROWS_AT_ONCE: Final = 2_000
PEOPLE = ("channel", "address", "components", "language", "time_zone", "wake_me", "consent_source", "consent_at")  # fmt: skip

Model = type[models.Model]
Progress = Callable[[str], None]


class CannotWrite(Exception):
    """The folder cannot be had; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table as it was written."""

    name: str
    rows: int


def move_out(folder: Path, *, now: datetime, say: Progress) -> list[Table]:
    """Write everything into `folder`, which must not be there or be empty; it appears whole or not at all.

    Raises CannotWrite.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CannotWrite(f"{folder} is there already; expected a name that is free")
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        (part / "tables").mkdir(parents=True, mode=0o700)
        part.chmod(0o700)  # addresses are in it
        written = [_table(model, part / "tables", say) for model in _models()]
        (part / "site.yaml").write_text(siteconfig.dump(applying.read()), encoding="utf-8")
        listed = _people(part / "subscribers.csv")
        _manifest(part, written, listed, now)
        os.replace(part, folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise CannotWrite(f"{folder} cannot be written: {error.strerror}") from error
    return written


def _models() -> list[Model]:
    return [
        model
        for room in ROOMS
        for model in apps.get_app_config(room).get_models(include_auto_created=True)
        if model._meta.managed and model._meta.label_lower not in LEFT_OUT
    ]


def _table(model: Model, folder: Path, say: Progress) -> Table:
    """Write one table, some rows at a time."""
    name = model._meta.db_table
    fields = [field for field in model._meta.concrete_fields if _is_told(field)]
    columns = [field.attname for field in fields] + (["address"] if model is Subscription else [])
    rows = 0
    with ExitStack() as files:
        as_json = files.enter_context((folder / f"{name}.json").open("w", encoding="utf-8"))
        as_csv = files.enter_context(
            (folder / f"{name}.csv").open("w", encoding="utf-8", newline="")
        )
        table = csv.writer(as_csv)
        table.writerow(columns)
        as_json.write("[")
        for row in _rows(model, fields):
            as_json.write(",\n" if rows else "\n")
            as_json.write(json.dumps(row, ensure_ascii=False))
            table.writerow([_cell(value) for value in row.values()])
            rows += 1
        as_json.write("\n]\n")
    say(f"{name}: {rows:,} rows")
    return Table(name, rows)


def _is_told(field: Any) -> bool:  # Any: Django's fields
    """Say whether the field means anything elsewhere: hashes of secrets and sealed bytes do not."""
    return not isinstance(field, models.BinaryField) and not field.attname.endswith("hash")


def _rows(model: Model, fields: list[Any]) -> Iterator[dict[str, Any]]:  # Any: JSON
    for row in model._base_manager.order_by("pk").iterator(chunk_size=ROWS_AT_ONCE):
        shown = {field.attname: _plain(field, row) for field in fields}
        if isinstance(row, Subscription):
            shown["address"] = people.address_of(row)
        yield shown


def _plain(field: Any, row: models.Model) -> Any:  # Any: JSON
    value = field.value_from_object(row)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if value is None or isinstance(value, str | int | float | bool | list | dict):
        return value
    return str(value)


def _cell(value: Any) -> str:  # Any: JSON
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return tables.guarded(value)


def _people(file: Path) -> int:
    """Write the confirmed as import_subscribers takes them; return how many."""
    rows = Subscription.objects.filter(
        role=Role.SUBSCRIBER, state=State.ACTIVE, only_incidents=False
    )
    rows = rows.select_related("subscriber").prefetch_related("components").order_by("pk")
    number = 0
    with file.open("w", encoding="utf-8", newline="") as text:
        table = csv.writer(text)
        table.writerow(PEOPLE)
        for row in rows.iterator(chunk_size=ROWS_AT_ONCE):
            address = people.address_of(row)
            if address is None:
                continue
            chosen = (
                "" if row.every_component else "|".join(each.slug for each in row.components.all())
            )
            at = row.confirmed_at or row.created_at
            told = [row.channel, address, chosen, row.language, row.subscriber.time_zone]
            table.writerow(
                [*told, "yes" if row.wake_me else "", row.source or "page", at.isoformat()]
            )
            number += 1
    return number


def _manifest(folder: Path, written: list[Table], listed: int, now: datetime) -> None:
    """Write what is there, with the hash of each file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    said = {
        "written_at": now.isoformat(),
        "tables": {table.name: table.rows for table in written},
        "subscribers_csv": listed,
        "left_out": sorted(LEFT_OUT),
        "sha256": {str(path.relative_to(folder)): _sha256(path) for path in files},
    }
    (folder / "manifest.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
