"""`Idempotency-Key`: a request that was answered is not done again, its answer is given again for a day."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from desk.api.failures import failure
from desk.keys import digest
from desk.models import Answered, ApiKey

KEPT = timedelta(hours=24)
KEY_CHARS_MAX = 255
METHODS = ("POST", "PATCH", "PUT")


def once(
    request: HttpRequest, key: ApiKey, given: str, do: Callable[[], HttpResponse]
) -> HttpResponse:
    """Do the request unless it was done; a refused one may be sent again under the same key.

    Two at once: the second waits for the first one's row, then answers the same.
    """
    if len(given) > KEY_CHARS_MAX:
        return failure(
            422, f"Idempotency-Key has {len(given)} characters; allowed are {KEY_CHARS_MAX}"
        )
    now = timezone.now()
    Answered.objects.filter(at__lt=now - KEPT).delete()
    words = f"{request.method} {request.path} ".encode() + request.body
    asked = hashlib.sha256(words).hexdigest()
    with transaction.atomic():
        try:
            with transaction.atomic():
                row = Answered.objects.create(api_key=key, key=digest(given), request=asked, at=now)
        except IntegrityError:
            return _again(Answered.objects.get(api_key=key, key=digest(given)), asked)
        answer = do()
        if answer.status_code >= 400:
            transaction.set_rollback(True)
            return answer
        row.status, row.body = answer.status_code, answer.content.decode()
        row.save(update_fields=["status", "body"])
    return answer


def _again(row: Answered, asked: str) -> HttpResponse:
    if row.request != asked:
        return failure(
            422, "Idempotency-Key was used for another request; expected a new key for a new one"
        )
    answer = HttpResponse(
        row.body, status=row.status, content_type="application/json; charset=utf-8"
    )
    if not row.body:
        del answer["Content-Type"]
    answer["Idempotent-Replayed"] = "true"
    return answer
