"""What Prometheus reads: ages, rates and outcomes of every stage of the line, from the database at the moment of asking.

So every web process tells the same, and no process has to be found. Labels are bounded: words of the code, configured
channels, and at most PLACES_MAX locations. Names and meanings: docs/operate.md, "Metrics".
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, F, Max, Min, Sum
from prometheus_client import CollectorRegistry, Counter, Gauge

from desk import ground, health
from incidents.lifecycle import ComponentStatus, Impact
from incidents.models import Component, Incident, Update
from notifications.models import Broadcast, Delivery, DeliveryState
from probes.models import CurrentVerdict, Location, Rollup, Span
from probes.words import Word

# Counting a year of deliveries at every scrape would cost more than it tells.
TOLD_LATELY = timedelta(days=1)
SEEN_LATELY = timedelta(minutes=5)
SHOWN_LATELY = timedelta(hours=1)
PLACES_MAX = 100


class Meters:
    """The gauges of one answer."""

    def __init__(self, now: datetime) -> None:
        self.registry = CollectorRegistry()
        self._now = now

    def line(self, state: health.Health) -> None:
        """Tell what /health tells; needs no database."""
        self._one("up", "1 while probes, sweep and publisher are all fresh", state.is_whole)
        self._one(
            "problem", "1 while a disk, the database or a clock is wrong", bool(state.problem)
        )
        self._by(
            "age_seconds",
            "Since the part last did its work",
            "part",
            {part.name: part.age_s for part in state.parts if part.age_s is not None},
        )
        self._by(
            "stale_after_seconds",
            "Older than this, a part is silent",
            "part",
            {part.name: part.stale_after_s for part in state.parts if part.counts},
        )
        self._by(
            "disk_free_bytes",
            "Room under a folder of ours",
            "folder",
            {disk.name: disk.free_bytes for disk in ground.disks()},
        )

    def eyes(self) -> None:
        places = Location.objects.filter(revoked_at__isnull=True)[:PLACES_MAX]
        seen = {place.name: place for place in places}
        self._by(
            "location_age_seconds",
            "Since a location handed in a new result",
            "location",
            {name: self._age(row.last_seen_at) for name, row in seen.items() if row.last_seen_at},
        )
        self._by(
            "location_skew_seconds",
            "How far its clock is ahead of ours",
            "location",
            {name: row.skew_s for name, row in seen.items()},
        )
        dropped = Counter(
            "statuspage_location_dropped",
            "Results lost to a full buffer",
            ["location"],
            registry=self.registry,
        )
        for name, row in seen.items():
            dropped.labels(name).inc(row.dropped)
        ran = Rollup.objects.filter(span=Span.MINUTE, at__gt=self._now - SEEN_LATELY).aggregate(
            **{outcome: Sum(outcome) for outcome in ("ok", "slow", "failed", "faults")}
        )
        self._by(
            "results",
            "Runs of the last 5 min, by outcome",
            "outcome",
            {outcome: number or 0 for outcome, number in ran.items()},
        )
        words = CurrentVerdict.objects.filter(of_check__enabled=True).values_list("word")
        self._counted("verdicts", "What checks say now", "verdict", Word, words)

    def core(self) -> None:
        shown = Component.objects.annotate(
            said=F("status")
        ).filter(unknown_since__isnull=True).values_list("said")  # fmt: skip
        unknown = Component.objects.filter(unknown_since__isnull=False).count()
        counts = _count(ComponentStatus, shown) | {"unknown": unknown}
        self._by("components", "As readers see them", "status", counts)
        impacts = health.open_incidents().values_list("impact")
        self._counted("open_incidents", "Published and not over", "impact", Impact, impacts)
        drafts = Incident.objects.filter(published_at__isnull=True, vetoed_at__isnull=True)
        found = drafts.aggregate(number=Count("id"), oldest=Min("created_at"))
        self._one("drafts", "Waiting for a person or for their deadline", found["number"])
        self._one("draft_age_seconds", "Of the oldest draft", self._age(found["oldest"]))
        promised = health.open_incidents().aggregate(oldest=Min("next_update_by"))["oldest"]
        self._one("promise_overdue_seconds", "Since an update was promised by", self._age(promised))

    def face(self) -> None:
        hidden = Update.objects.filter(published_at__lte=self._now, shown_at__isnull=True)
        found = hidden.aggregate(number=Count("id"), oldest=Min("published_at"))
        self._one("unshown_updates", "Published and not on the page yet", found["number"])
        self._one("unshown_age_seconds", "Of the oldest of them", self._age(found["oldest"]))
        slowest = Update.objects.filter(published_at__gt=self._now - SHOWN_LATELY).aggregate(
            most=Max(F("shown_at") - F("published_at"))
        )["most"]
        self._one(
            "shown_seconds_max",
            "From publish to the page, the slowest of the last hour",
            slowest.total_seconds() if slowest else 0,
        )

    def voice(self) -> None:
        opening = Broadcast.objects.filter(fanned_out_at__isnull=True, halted_at__isnull=True)
        found = opening.aggregate(number=Count("id"), oldest=Min("created_at"))
        self._one("broadcasts_fanning_out", "Not all their people are queued yet", found["number"])
        self._one("fan_out_age_seconds", "Of the oldest of them", self._age(found["oldest"]))
        numbers: dict[str, float] = dict.fromkeys(settings.CHANNELS, 0)
        ages: dict[str, float] = dict.fromkeys(settings.CHANNELS, 0)
        due = Delivery.objects.filter(state=DeliveryState.PENDING, due_at__lte=self._now)
        for channel, number, oldest in (
            due.order_by().values_list("channel").annotate(Count("id"), Min("due_at"))
        ):
            numbers[channel], ages[channel] = number, self._age(oldest)
        self._by("waiting", "Deliveries that are due and not taken", "channel", numbers)
        self._by("waiting_age_seconds", "Of the oldest of them", "channel", ages)
        self._deliveries()

    def _deliveries(self) -> None:
        lately = Delivery.objects.filter(broadcast__created_at__gt=self._now - TOLD_LATELY)
        gauge = Gauge(
            "statuspage_deliveries",
            "Of the last 24 h, by channel and state",
            ["channel", "state"],
            registry=self.registry,
        )
        for row in health.delivery_counts(lately):
            gauge.labels(row["channel"], row["state"]).set(row["number"])

    def clocks(self) -> None:
        skew_s = ground.skew_s(self._now)
        self._one("clock_skew_seconds", "This machine's clock ahead of the database's", skew_s)

    def _age(self, at: datetime | None) -> float:
        return 0.0 if at is None else max(0.0, (self._now - at).total_seconds())

    def _one(self, name: str, meaning: str, value: float) -> None:
        Gauge(f"statuspage_{name}", meaning, registry=self.registry).set(value)

    def _by(self, name: str, meaning: str, label: str, values: Mapping[str, float]) -> None:
        gauge = Gauge(f"statuspage_{name}", meaning, [label], registry=self.registry)
        for word, value in values.items():
            gauge.labels(word).set(value)

    def _counted(
        self, name: str, meaning: str, label: str, words: Iterable[str], rows: Iterable[tuple[str]]
    ) -> None:
        self._by(name, meaning, label, _count(words, rows))


def _count(words: Iterable[str], rows: Iterable[tuple[str]]) -> dict[str, float]:
    """Count rows by word; a word that nobody says is 0, not absent."""
    counts: dict[str, float] = {str(word): 0 for word in words}
    for (word,) in rows:
        counts[word or "none"] = counts.get(word or "none", 0) + 1
    return counts
