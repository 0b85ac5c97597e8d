"""What every door of /receipts does first: POST only, no more than a callback needs, the signature; and it counts refusals."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import wraps

from django.db import IntegrityError, transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notifications.models import Turned

View = Callable[..., HttpResponse]


class Why(StrEnum):
    """Why a callback was turned away."""

    OVERSIZED = "oversized"
    FORGED = "forged"  # not signed, or not by whom it says
    REPLAYED = "replayed"  # genuine once, but long since taken
    UNREADABLE = "unreadable"


_ANSWERS = {
    Why.OVERSIZED: (413, "larger than any callback of this provider"),
    Why.FORGED: (403, "the signature does not match"),
    Why.REPLAYED: (403, "this was taken long ago"),
    Why.UNREADABLE: (400, "this is no callback of this provider"),
}


class TurnedAway(Exception):
    """Raised by a view at any point before it has changed something."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


def door(name: str, bytes_max: int) -> Callable[[View], View]:
    """Return a decorator that makes a view a door: a provider has no session, so its signature counts instead."""

    def guarded(view: View) -> View:
        @csrf_exempt
        @require_POST
        @wraps(view)
        def answer(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
            try:
                check_size(request, bytes_max)
                return view(request, *args, **kwargs)
            except TurnedAway as turned:
                count(name, turned.why, datetime.now(UTC))
                status, sentence = _ANSWERS[turned.why]
                return HttpResponse(f"{sentence}\n", status=status, content_type="text/plain")

        return answer

    return guarded


def check_size(request: HttpRequest, bytes_max: int) -> None:
    """Raise TurnedAway before a body is read. A server gives the length of every body that it lets through."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > bytes_max:
        raise TurnedAway(Why.OVERSIZED)


def count(name: str, why: Why, now: datetime) -> None:
    """Add one to the hour's refusals; the desk shows them."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    row = Turned.objects.filter(door=name, why=why.value, hour=hour)
    if row.update(times=F("times") + 1):
        return
    try:
        with transaction.atomic():
            Turned.objects.create(door=name, why=why.value, hour=hour, times=1)
    except IntegrityError:
        row.update(times=F("times") + 1)  # another one was quicker
