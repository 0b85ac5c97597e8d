"""Bring in subscriptions from subscribers.csv."""

import argparse
import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from incidents.models import Component
from subscribers import services, statuspage_csv
from subscribers.services import Basis, BroughtIn, Incoming, Refusal

COLUMNS = (
    "channel",
    "address",
    "components",
    "language",
    "time_zone",
    "wake_me",
    "consent_source",
    "consent_at",
)
EXTRA = ("basis",)  # consent unless the column is there
NEEDED = ("channel", "address")
_YES, _NO = frozenset({"1", "yes", "true", "on"}), frozenset({"", "0", "no", "false", "off"})
EXAMPLE = """\
example:
  ./run manage import_subscribers subscribers.csv

  channel,address,components,language,time_zone,wake_me,consent_source,consent_at
  email,parent@example.org,,en,America/New_York,,sign-up form,2019-12-01T09:00:00Z
  sms,+15005550010,login|follow,en,America/New_York,,paper form,2019-12-01

components are slugs separated by |; empty means all. A telephone number needs consent_source and
consent_at. A further column basis (contract, vital_interest, legitimate_interest, legal_obligation) brings in customers who
never subscribed: by e-mail only, about what is bad only; consent_source and consent_at then tell where and since when
it holds. A file with Statuspage's own columns (mode or type, email, phone_number, phone_country, endpoint, components,
created_at, as its export has them) is taken as well: created_at is when they consented. A bad row is named with its line and skipped. Nobody is written to.
"""


class Command(BaseCommand):
    help = "Bring in subscriptions from a CSV file; running it twice changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EXAMPLE
        parser.add_argument("file", metavar="FILE.csv", type=Path)

    def handle(self, *, file: Path, **_: Any) -> None:  # Django adds its own options
        unread: list[Refusal] = []
        try:
            # Bytes that are not UTF-8 become lone surrogates: then one row is bad, not the file.
            with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
                now = timezone.now()
                done = services.bring_in(_rows(text, file, unread), source="csv", now=now)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        except DatabaseError as error:
            why = str(error).partition("\n")[0]
            raise CommandError(
                f"The database refused ({why}); what was taken before stays. Set it up with "
                "./run manage migrate if it is new, then run this again."
            ) from error
        done.refused.extend(unread)
        for refusal in sorted(done.refused, key=_line):
            self.stderr.write(f"{file.name}: line {refusal.place}: {refusal.why}")
        self.stdout.write(_summary(done))


def _line(refusal: Refusal) -> int:
    return int(refusal.place)


def _summary(done: BroughtIn) -> str:
    parts = [f"{done.added:,} added", f"{done.unchanged:,} here already"]
    if done.waiting:
        parts.append(f"{done.waiting:,} without consent, waiting for their owner to confirm")
    if done.left_alone:
        parts.append(f"{done.left_alone:,} left alone because they had unsubscribed")
    parts.append(f"{len(done.refused):,} refused")
    return f"{'; '.join(parts)}. Nobody was written to."


def _rows(text: TextIO, file: Path, unread: list[Refusal]) -> Iterator[Incoming]:
    """Yield the rows that can be read; note the others in `unread`. Raises CommandError for a wrong header."""
    reader = csv.reader(text)
    header = _header(reader, file)
    known = _components() if statuspage_csv.is_one(header) else None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            unread.append(Refusal(str(line), f"this is not CSV ({error})."))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        try:
            yield _incoming(header, cells, str(line), known)
        except ValueError as error:
            unread.append(Refusal(str(line), str(error)))


def _header(reader: Any, file: Path) -> list[str]:  # csv.reader's type has no public name
    try:
        header = [name.strip().lower() for name in next(reader)]
    except (StopIteration, csv.Error):
        raise CommandError(
            f"{file} is empty; its first line must be {','.join(COLUMNS)}."
        ) from None
    if statuspage_csv.is_one(header) and len(set(header)) == len(header):
        return [statuspage_csv.plain(name) for name in header]
    strange = [name for name in header if name not in (*COLUMNS, *EXTRA)]
    missing = [name for name in NEEDED if name not in header]
    if strange or missing or len(set(header)) != len(header):
        raise CommandError(f"{file}: line 1 must name the columns {','.join(COLUMNS)}.")
    return header


def _components() -> dict[str, str]:
    """Return what a component may be called over there -> its slug here: an import has kept its id and name."""
    rows = Component.objects.values_list("uid", "name", "slug")
    return {word: slug for uid, name, slug in rows for word in (name, slug, uid)}


def _incoming(
    header: list[str], cells: list[str], line: str, known: dict[str, str] | None
) -> Incoming:
    """Return the row; `known` is given for Statuspage's columns. Raises ValueError in one sentence."""
    if len(cells) != len(header):
        raise ValueError(f"The row has {len(cells)} fields, the first line names {len(header)}.")
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        raise ValueError("The row is not in UTF-8; save the file as UTF-8.") from None
    row = dict.fromkeys((*COLUMNS, *EXTRA), "") | {
        name: cell.strip() for name, cell in zip(header, cells, strict=True)
    }
    if known is not None:
        row |= statuspage_csv.as_ours(row, known)
    return Incoming(
        channel=row["channel"].lower(),
        address=row["address"],
        components=tuple(slug.strip() for slug in row["components"].split("|") if slug.strip()),
        language=row["language"],
        time_zone=row["time_zone"],
        wake_me=_switch(row["wake_me"]),
        consent_source=row["consent_source"],
        consent_at=_instant(row["consent_at"]),
        place=line,
        basis=_basis(row["basis"]),
    )


def _basis(text: str) -> Basis:
    try:
        return Basis(text.lower() or Basis.CONSENT)
    except ValueError:
        known = ", ".join(Basis)
        raise ValueError(f'basis is "{text[:32]}"; expected one of {known}.') from None


def _switch(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise ValueError(f'wake_me is "{text[:16]}"; expected yes or no.')
    return text.lower() in _YES


def _instant(text: str) -> datetime | None:
    """Return the instant; without a zone it is UTC."""
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f'consent_at is "{text[:32]}"; expected a time as 2019-12-01T09:00:00Z.'
        ) from None
