"""Where agents fetch their checks and hand in results, and where heartbeats arrive."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.request import RawPostDataException
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from probes import heartbeats, services
from probes.facts import ANSWER_CHARS_MAX, WARNING_CHARS_MAX, WARNINGS_MAX, Outcome
from probes.models import (
    REASON_CHARS_MAX,
    SLUG_CHARS_MAX,
    STEP_CHARS_MAX,
    TRY_ID_CHARS_MAX,
    Location,
)
from probes.services import NewResult
from probes.values import printable

# An agent sends at most 500 results and 1 MB at once (agent/).
BATCH_RESULTS_MAX: Final = 1000
BATCH_BYTES_MAX: Final = 2 * 1024 * 1024
STEPS_MAX: Final = 50
PHASES_MAX: Final = 10
SEQUENCE_MAX: Final = 2**62
# Anything older was kept longer than results are; anything beyond this ahead is nonsense.
AGE_MAX: Final = timedelta(days=30)
SENT_AT_OFF_MAX: Final = timedelta(days=3650)

# NUL and halves of characters: JSON may hold them, our columns may not.
UNKEPT: Final = re.compile("[\x00\ud800-\udfff]")

# Any: what JSON holds is known only once it has been looked at.
Json = Any
View = Callable[[HttpRequest, Location], HttpResponseBase]


class Malformed(ValueError):
    """A batch that is refused whole; says which field of which result, and what was expected."""


@require_safe
def checks(request: HttpRequest) -> HttpResponseBase:
    """Answer what this location has to watch; 304 when the agent knows it already."""
    return _for_agents(request, _checks)


@csrf_exempt  # an agent has a token, no session
@require_http_methods(["POST"])
def results(request: HttpRequest) -> HttpResponseBase:
    """Take a batch of results, whole or not at all."""
    return _for_agents(request, _results)


@csrf_exempt  # an agent has a token, no session
@require_http_methods(["GET", "POST", "HEAD"])
def heartbeat(request: HttpRequest, token: str) -> HttpResponse:
    """Take a sign of life; the token is the proof."""
    check = heartbeats.check_of(token)
    if check is None:
        return _error(404, "No check has this heartbeat token.")
    heartbeats.beat(check, now=timezone.now())
    answer = HttpResponse("OK\n", content_type="text/plain")
    answer["Cache-Control"] = "no-store"
    return answer


def _for_agents(request: HttpRequest, view: View) -> HttpResponseBase:
    """Let an agent in whose token and location belong together."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    location = services.location_of(token.strip()) if scheme.lower() == "bearer" else None
    if location is None:
        answer = _error(401, "Expected the header Authorization: Bearer, with a probe token.")
        answer["WWW-Authenticate"] = "Bearer"
        return answer
    named = request.GET.get("location", location.name)
    if named != location.name:
        return _error(403, f"This token belongs to the location {location.name}.")
    return view(request, location)


def _checks(request: HttpRequest, location: Location) -> HttpResponseBase:
    etag, text = services.orders(location)
    if request.headers.get("If-None-Match") == etag:
        answer = HttpResponse(status=304)
    else:
        answer = HttpResponse(text, content_type="application/json")
    answer["ETag"] = etag
    answer["Cache-Control"] = "no-store"
    return answer


def _results(request: HttpRequest, location: Location) -> HttpResponseBase:
    length = request.headers.get("Content-Length") or "0"
    if not length.isdecimal() or int(length) > BATCH_BYTES_MAX:
        return _error(413, f"A batch has at most {BATCH_BYTES_MAX:,} bytes.")
    now = timezone.now()
    try:
        batch = _document(request)
        sent_at = _instant(batch.get("sent_at"), "sent_at", now, SENT_AT_OFF_MAX)
        dropped = _count(batch.get("dropped", 0), "dropped", 0, SEQUENCE_MAX)
        skew = sent_at - now
        found = tuple(
            _result(each, f"results[{index}]", now + skew)
            for index, each in enumerate(_list(batch.get("results"), "results", BATCH_RESULTS_MAX))
        )
    except Malformed as error:
        return _error(400, str(error))
    new = services.record(location, found, now=now, sent_at=sent_at, dropped=dropped)
    etag, _ = services.orders(location)
    return JsonResponse({"accepted": new, "duplicates": len(found) - new, "etag": etag})


def _error(status: int, sentence: str) -> HttpResponse:
    return JsonResponse({"error": sentence}, status=status)


# ---- reading a batch ----------------------------------------------------------------------


def _document(request: HttpRequest) -> Mapping[str, Json]:
    try:
        batch = json.loads(request.body)
    except (ValueError, RecursionError, RawPostDataException):
        raise Malformed("The body is not JSON; expected an object with results.") from None
    return _object(batch, "The body")


def _result(raw: Json, where: str, now: datetime) -> NewResult:
    each = _object(raw, where)
    steps = _list(each.get("steps"), f"{where}.steps", STEPS_MAX)
    outcome = _outcome(each.get("outcome"), f"{where}.outcome")
    first = each.get("first_outcome", outcome)
    return NewResult(
        check=_text(each.get("check"), f"{where}.check", SLUG_CHARS_MAX),
        sequence=_count(each.get("sequence"), f"{where}.sequence", 0, SEQUENCE_MAX),
        at=_instant(each.get("at"), f"{where}.at", now, AGE_MAX),
        outcome=outcome,
        first_outcome=_outcome(first, f"{where}.first_outcome"),
        attempts=_count(each.get("attempts", 1), f"{where}.attempts", 1, 100),
        reason=_words(each.get("reason", ""), f"{where}.reason", REASON_CHARS_MAX),
        steps=tuple(_step(step, f"{where}.steps[{at}]") for at, step in enumerate(steps)),
        total_ms=_number(each.get("total_ms", 0), f"{where}.total_ms"),
        first_step=_text(each.get("first_step", ""), f"{where}.first_step", STEP_CHARS_MAX),
        warnings=tuple(
            _words(words, f"{where}.warnings[{at}]", WARNING_CHARS_MAX)
            for at, words in enumerate(
                _list(each.get("warnings", []), f"{where}.warnings", WARNINGS_MAX)
            )
        ),
        answer=_words(each.get("answer", ""), f"{where}.answer", ANSWER_CHARS_MAX),
        try_id=_text(each.get("try", ""), f"{where}.try", TRY_ID_CHARS_MAX),
    )


def _step(raw: Json, where: str) -> Mapping[str, Json]:
    """Return a step with the keys we know, checked; others are passed over."""
    each = _object(raw, where)
    status = each.get("status")
    phases = _object(each.get("phases_ms", {}), f"{where}.phases_ms")
    if len(phases) > PHASES_MAX:
        raise Malformed(f"{where}.phases_ms: expected at most {PHASES_MAX} phases.")
    return {
        "name": _text(each.get("name"), f"{where}.name", STEP_CHARS_MAX),
        "component": _text(each.get("component"), f"{where}.component", SLUG_CHARS_MAX),
        "outcome": _outcome(each.get("outcome"), f"{where}.outcome").value,
        "reason": _words(each.get("reason", ""), f"{where}.reason", REASON_CHARS_MAX),
        "failed": [
            _text(name, f"{where}.failed[{at}]", 40)
            for at, name in enumerate(_list(each.get("failed", []), f"{where}.failed", 500))
        ],
        "shape": _text(each.get("shape", ""), f"{where}.shape", 40),
        "account": _text(each.get("account", ""), f"{where}.account", 40),
        "status": None if status is None else _count(status, f"{where}.status", 0, 999),
        "phases_ms": {
            _text(name[:20], f"{where}.phases_ms", 20): _number(
                value, f"{where}.phases_ms.{name[:20]}"
            )
            for name, value in phases.items()
        },
    }


def _object(value: Json, where: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise Malformed(f"{where}: expected an object.")
    return value


def _list(value: Json, where: str, most: int) -> list[Json]:
    if not isinstance(value, list) or len(value) > most:
        raise Malformed(f"{where}: expected a list of at most {most}.")
    return value


def _text(value: Json, where: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most or UNKEPT.search(value):
        raise Malformed(f"{where}: expected text of at most {most} characters.")
    return value


def _words(value: Json, where: str, most: int) -> str:
    """Read what a target may have said: what cannot be kept of it must not cost the result."""
    return _text(printable(value) if isinstance(value, str) else value, where, most)


def _count(value: Json, where: str, least: int, most: int) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise Malformed(f"{where}: expected a whole number from {least} to {most}.")
    return int(value)


def _number(value: Json, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1e9:
        raise Malformed(f"{where}: expected a number from 0 up.")
    return float(value)


def _outcome(value: Json, where: str) -> Outcome:
    try:
        return Outcome(value)
    except ValueError:
        raise Malformed(f"{where}: expected one of {', '.join(Outcome)}.") from None


def _instant(value: Json, where: str, now: datetime, off_max: timedelta) -> datetime:
    """Read a time that is near `now`."""
    try:
        told = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Malformed(f"{where}: expected a time as 2026-11-23T01:00:00+00:00.") from None
    if told.tzinfo is None:
        raise Malformed(f"{where}: expected a time with its offset, as +00:00.")
    if abs(told - now) > off_max:
        raise Malformed(f"{where}: expected a time within {off_max.days} days.")
    return told.astimezone(UTC)
