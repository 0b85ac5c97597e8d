"""How large an installation must be: a small model, its constants fitted to figures of ./run bench: `python -m benchmarks.capacity`.

Time from a fault to the last mail is a start and a pace: T(n) = start + n / pace. Two nights fit them, a third that was not
used is predicted, and the error said. The rest is proportion: bytes per person and delivery, pages per core, provider rates.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_suffix(".json")
UPDATES = 4  # of one incident: a first word, two between, the end
KEPT_DAYS = 90  # of deliveries (docs/operate.md, "What is kept")
INCIDENTS_A_MONTH = 2
CDN_PLACES = 200  # that fetch for themselves
MAX_AGE_S = 15  # docker/nginx.conf
READ_AT_ONCE = 4  # files a reader opens: page, style, script, now.json
CORES = 2  # of the machine that was measured


@dataclass(frozen=True, slots=True)
class Line:
    """T(n) = start_s + n / pace."""

    start_s: float
    pace: float

    def last_s(self, people: float) -> float:
        return self.start_s + people / self.pace

    def half_s(self, people: float) -> float:
        return self.start_s + people / 2 / self.pace


def fitted(nights: Sequence[tuple[int, float]]) -> Line:
    """Return the line through nights of (people, seconds to the last), by least squares."""
    mean_n = sum(n for n, _ in nights) / len(nights)
    mean_t = sum(t for _, t in nights) / len(nights)
    above = sum((n - mean_n) * (t - mean_t) for n, t in nights)
    slope = above / sum((n - mean_n) ** 2 for n, _ in nights)
    return Line(mean_t - slope * mean_n, 1 / slope)


def error(line: Line, night: tuple[int, float]) -> float:
    """Return by how much of the measured time the prediction is off."""
    people, seconds = night
    return line.last_s(people) / seconds - 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to run."""

    people: int
    texts: int  # of them by text message
    readers_per_s: int
    text_per_s: float  # what the text provider's account allows
    mail_per_s: float | None  # what the mail provider takes; None: no limit
    cdn: bool


@dataclass(frozen=True, slots=True)
class Need:
    mail_last_s: float
    text_last_s: float
    cores_for_mail: float  # so that the last mail goes within five minutes
    queue_s: float
    database_gb: float
    origin_per_s: float
    page_cores: float
    breaks_first: str


WITHIN_S = 300.0


def need(wish: Wish, line: Line, figures: Mapping[str, Any]) -> Need:  # Any: JSON
    """Return what the wish takes by the measured figures."""
    mails = wish.people - wish.texts
    pace = min(line.pace, wish.mail_per_s or line.pace)
    mail_last_s = line.start_s + mails / pace
    wanted = mails / (WITHIN_S - line.start_s)
    cores = wanted / (line.pace / CORES)
    queue_s = wish.people / figures["queued_per_s"]
    each = figures["bytes_each"]
    rows = wish.people * UPDATES * INCIDENTS_A_MONTH * KEPT_DAYS / 30
    database_gb = (wish.people * each["subscribers"] + rows * each["notifications"]) / 1e9
    origin = CDN_PLACES * READ_AT_ONCE / MAX_AGE_S if wish.cdn else float(wish.readers_per_s)
    page_cores = origin / figures["pages_per_cpu_s"]
    text_last_s = line.start_s + wish.texts / wish.text_per_s
    waits = {
        f"the text account's {wish.text_per_s:g}/s": text_last_s,
        "the mail account's rate" if wish.mail_per_s and wish.mail_per_s < line.pace
        else "handing over mail on this one machine": mail_last_s,
        "queueing": queue_s,
    }  # fmt: skip
    worst = max(waits, key=lambda name: waits[name])
    if page_cores > CORES:
        worst = f"serving the page ({page_cores:.0f} cores) without a CDN, then {worst}"
    return Need(mail_last_s, text_last_s, cores, queue_s, database_gb, origin, page_cores, worst)


WISHES = (
    Wish(1_000, 50, 50, 1, None, cdn=False),
    Wish(10_000, 500, 500, 1, None, cdn=False),
    Wish(50_000, 2_500, 500, 10, None, cdn=False),
    Wish(1_000_000, 90_000, 10_000, 100, None, cdn=True),
    Wish(10_000_000, 500_000, 100_000, 100, None, cdn=True),
    Wish(10_000_000, 500_000, 100_000, 1_000, None, cdn=True),
)


def table(figures: Mapping[str, Any]) -> str:
    """Return docs/capacity.md's figures as Markdown."""
    fit = [tuple(night) for night in figures["fit"]]
    line = fitted(fit)
    lines = [
        f"T(n) = {line.start_s:.2f} s + n / {line.pace:.0f} a second, from {' and '.join(f'{n:,} people in {t} s' for n, t in fit)}.",
        "",
        "| night, not fitted to | predicted | measured | error |",
        "|---|---|---|---|",
    ]
    for people, seconds in figures["check"]:
        off = error(line, (people, seconds))
        lines.append(f"| {people:,} | {line.last_s(people):.1f} s | {seconds} s | {off:+.0%} |")
    lines += [
        "",
        "| people | of them by text | readers/s | last mail, this machine | cores for 5 min | last text (account) | queued in | database | page cores | breaks first |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for wish in WISHES:
        found = need(wish, line, figures)
        lines.append(
            f"| {wish.people:,} | {wish.texts:,} | {wish.readers_per_s:,}{' behind a CDN' if wish.cdn else ''} | {_long(found.mail_last_s)} "
            f"| {max(found.cores_for_mail, 0.1):.1f} | {_long(found.text_last_s)} ({wish.text_per_s:g}/s) | {_long(found.queue_s)} "
            f"| {found.database_gb:.1f} GB | {found.page_cores:.2f} | {found.breaks_first} |"
        )
    return "\n".join(lines)


def _long(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    print(table(json.loads(FIGURES.read_text(encoding="utf-8"))))
