"""A rehearsal: a test notice by every channel to recipients of ours, and the time each took."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from desk.models import Drill
from incidents import reads, services
from incidents.lifecycle import CallReason
from notifications.models import HANDED_OVER, WAITING, Delivery
from notifications.routing import SOCIAL
from subscribers import addresses
from subscribers import services as people
from subscribers.addresses import BadAddress
from subscribers.letters import write_letter
from subscribers.models import LetterKind, Role, State, Subscriber, Subscription

ACTOR = "clock"
SOURCE = "drill"
# A test notice that took longer than this would be no alarm.
LIMIT = timedelta(minutes=5)
# Missed: half an interval late.
GRACE = 1.5

Results = dict[str, dict[str, Any]]  # Any: JSON


@transaction.atomic
def begin(*, by: str, now: datetime) -> Drill:
    """Write a test notice to each channel's recipient; finish() looks how it went. A drill under way is returned."""
    running = Drill.objects.filter(finished_at__isnull=True, started_at__gt=now - 2 * LIMIT).first()
    if running:
        return running
    results: Results = {channel: _start(channel, now) for channel in sorted(settings.CHANNELS)}
    services.audit(
        actor=by, action="drill", subject="drill", after={"channels": list(results)}, now=now
    )
    return Drill.objects.create(started_at=now, by=by, results=results)


def recipients() -> dict[str, str]:
    """Return channel -> address out of DRILL_RECIPIENTS, written as email:drill@example.org."""
    pairs = (word.partition(":") for word in settings.DRILL_RECIPIENTS)
    return {channel.strip(): address.strip() for channel, _, address in pairs}


def _start(channel: str, now: datetime) -> dict[str, Any]:
    if channel in SOCIAL:
        return _skipped("a rehearsal would be read by everyone; it is not rehearsed")
    address = recipients().get(channel)
    if not address:
        return _skipped("DRILL_RECIPIENTS names nobody for it; it is not rehearsed")
    try:
        letter = write_letter(_recipient(channel, address, now), kind=LetterKind.TEST, now=now)
    except (BadAddress, people.NotOffered) as error:
        return {"passed": False, "why": str(error), "seconds": None}
    if letter is None:
        return {
            "passed": False,
            "why": "its recipient had three tests today already",
            "seconds": None,
        }
    return {"passed": None, "why": "", "seconds": None, "letter": letter.pk}


def _skipped(why: str) -> dict[str, Any]:
    return {"passed": None, "why": why, "seconds": None, "skipped": True}


def _recipient(channel: str, address: str, now: datetime) -> Subscription:
    """Return the test recipient, who hears of drills and of nothing else."""
    clean = people.cleaned(channel, address)
    hashed = people.hash_of(people.kind_of(channel), clean)
    there = Subscription.objects.filter(
        channel=channel, address_hash=hashed, state=State.ACTIVE
    ).first()
    return there or Subscription.objects.create(
        subscriber=Subscriber.objects.create(created_at=now), channel=channel, role=Role.SUBSCRIBER, state=State.ACTIVE,
        address_sealed=addresses.seal(clean, settings.FIELD_KEYS), address_hash=hashed, label="drill", source=SOURCE,
        only_incidents=True, created_at=now, confirmed_at=now,
    )  # fmt: skip


def finish(drill: Drill, *, now: datetime) -> bool:
    """Look how each notice went; True when the drill is over. A failed one calls the operators."""
    results: Results = {name: _look(row, drill, now) for name, row in drill.results.items()}
    is_over = all(row["passed"] is not None or row.get("skipped") for row in results.values())
    drill.results = results
    if is_over:
        tried = [row["passed"] for row in results.values() if not row.get("skipped")]
        drill.passed, drill.finished_at = bool(tried) and all(tried), now
    drill.save()
    if is_over and not drill.passed:
        _call(f"A drill failed: {in_words(drill)}", key=f"drill:{drill.pk}", now=now)
    return is_over


def _look(row: dict[str, Any], drill: Drill, now: datetime) -> dict[str, Any]:
    if row["passed"] is not None or row.get("skipped"):
        return row
    delivery = Delivery.objects.filter(broadcast__letter=row["letter"]).first()
    if delivery and delivery.state in HANDED_OVER and delivery.accepted_at:
        seconds = round((delivery.accepted_at - drill.started_at).total_seconds(), 2)
        return row | {"passed": True, "seconds": seconds}
    if delivery and delivery.state not in WAITING:
        return row | {"passed": False, "why": delivery.why or delivery.state}
    if now - drill.started_at > LIMIT:
        return row | {
            "passed": False,
            "why": delivery.why if delivery and delivery.why else "not sent within 5 min",
        }
    return row


def in_words(drill: Drill) -> str:
    """Say how each channel went, the failed ones first."""
    rows = sorted(drill.results.items(), key=lambda item: (item[1]["passed"] is not False, item[0]))
    said = [f"{name} {_outcome(row)}" for name, row in rows if not row.get("skipped")]
    return "; ".join(said) + "." if said else "no channel has a test recipient."


def _outcome(row: dict[str, Any]) -> str:
    if row["passed"]:
        return f"after {row['seconds']:g} s"
    return f"failed: {row['why']}" if row["passed"] is False else "under way"


def tick(now: datetime) -> None:
    """Finish what is under way; begin what is due; call when a drill was missed."""
    for row in Drill.objects.filter(finished_at__isnull=True).order_by("id")[:5]:
        finish(row, now=now)
    every = timedelta(days=settings.DRILL_EVERY_DAYS)
    if not every:
        return
    last = Drill.objects.order_by("-id").first()
    if last is None or now - last.started_at >= every:
        begin(by=ACTOR, now=now)
    missed_since = _missed(now)
    if missed_since:
        _call(
            f"No drill has passed since {missed_since:%Y-%m-%d}; one is due every {settings.DRILL_EVERY_DAYS:g} days.",
            key=f"drill-missed:{missed_since:%Y%m%d}", now=now,
        )  # fmt: skip


def _missed(now: datetime) -> datetime | None:
    """Return since when no drill has passed, when that is too long."""
    passed = Drill.objects.filter(passed=True).order_by("-id").first()
    first = Drill.objects.order_by("id").first()
    since = passed or first
    late = timedelta(days=settings.DRILL_EVERY_DAYS * GRACE)
    return since.started_at if since and now - since.started_at > late else None


def _call(text: str, *, key: str, now: datetime) -> None:
    services.call_operators(
        page=reads.the_page(), reason=CallReason.PROBLEM, text=text, key=key, now=now
    )


def warning(now: datetime) -> str:
    """Return the standing warning about drills, or nothing."""
    last = Drill.objects.filter(finished_at__isnull=False).first()
    if last is None:
        return "Nothing has been rehearsed yet: name test recipients in DRILL_RECIPIENTS and run ./run manage drill."
    if not last.passed:
        return f"The last drill, on {last.started_at:%Y-%m-%d}, failed: {in_words(last)}"
    if settings.DRILL_EVERY_DAYS and _missed(now):
        return f"A drill was missed: the last one was on {last.started_at:%Y-%m-%d}."
    return ""
