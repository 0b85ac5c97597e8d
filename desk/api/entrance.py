"""The doors of /v1: keys, JSON or form bodies, errors in words, every path with and without `.json`."""

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Router
from ninja.parser import Parser
from ninja.security.base import AuthBase

from desk import keys
from desk.api import limits, repeating
from desk.api.failures import BadBody, Forbidden, failure
from desk.models import ApiKey

SCHEME = "oauth"  # compared without case: real callers send "Oauth"
FORM_KEYS_MAX = 1000
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
FORM_DEPTH_MAX = 5
JSON_DEPTH_MAX = 40
_READS = ("GET", "HEAD", "OPTIONS")

View = Callable[..., Any]  # Any: ninja reads each view's own signature
Json = dict[str, Any]


class KeyAuth(AuthBase):
    """`Authorization: OAuth KEY`, in any case, or `?api_key=`."""

    openapi_type = "apiKey"
    openapi_in = "header"
    openapi_name = "Authorization"

    def __call__(self, request: HttpRequest) -> ApiKey | None:
        found = key_of(request)
        needed = keys.Scope.READ if request.method in _READS else keys.Scope.WRITE
        if found and not keys.may(found, needed):
            raise Forbidden(f'the key "{found.name}" may not {needed}')
        return found


def key_of(request: HttpRequest) -> ApiKey | None:
    """Return the valid key of this request; looked up once."""
    if not hasattr(request, "_key"):
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        given = key.strip() if scheme.lower() == SCHEME else request.GET.get("api_key", "")
        request._key = keys.find(given, now=timezone.now())  # type: ignore[attr-defined]  # ours
    found: ApiKey | None = request._key  # type: ignore[attr-defined]  # as above
    return found


class BodyParser(Parser):
    """JSON, or a form with brackets as Statuspage's clients send it: `incident[components][id]=major_outage`."""

    def parse_body(self, request: HttpRequest) -> Json:
        kind = request.content_type or ""
        if kind in (
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ) and not _looks_like_json(request):
            try:
                form = unfold(request)
            except TooManyFieldsSent as error:
                raise BadBody(f"the form has more than {FORM_KEYS_MAX:,} fields") from error
            _check_values(form, 0)
            return form
        try:
            body = json.loads(request.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BadBody(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadBody("the body is not a JSON object")
        _check_values(body, 0)
        return body


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")


def _check_values(value: Any, depth: int) -> None:  # Any: JSON
    """Refuse what no database takes: NUL, half a surrogate pair, a number without end, endless depth."""
    if depth > JSON_DEPTH_MAX:
        raise BadBody(f"the body is nested deeper than {JSON_DEPTH_MAX} levels")
    if isinstance(value, str):
        if "\x00" in value:
            raise BadBody("the body holds a NUL character; remove it")
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise BadBody("the body holds half a surrogate pair; expected Unicode text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise BadBody("the body holds a number that is too large; expected less than 1e308")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_values(name, depth + 1)
            _check_values(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_values(item, depth + 1)


def _looks_like_json(request: HttpRequest) -> bool:
    """Some clients label JSON as a form."""
    return request.content_type != "multipart/form-data" and request.body.lstrip()[:1] == b"{"


def unfold(request: HttpRequest) -> Json:
    """Return the form's fields, brackets unfolded into objects and lists."""
    body: Json = {}
    for name, values in list(request.POST.lists())[:FORM_KEYS_MAX]:
        head, path = name.partition("[")[0], _BRACKETS.findall(name)[:FORM_DEPTH_MAX]
        place, steps = body, [head, *path]
        for step in steps[:-1]:
            below = place.setdefault(step, {})
            place = below if isinstance(below, dict) else {}
        if steps[-1]:
            place[steps[-1]] = values[-1]
        elif len(steps) > 1:
            _put_list(body, steps[:-1], values)
    return body


def _put_list(body: Json, path: Sequence[str], values: Sequence[str]) -> None:
    place = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = list(values)


ANSWERS: dict[tuple[str, str], tuple[int, Any]] = {}  # (method, path) -> status, type of the answer


def route(
    router: Router, methods: Sequence[str], path: str, *, answer: Any = None, status: int = 200, **words: Any
) -> Callable[[View], View]:  # fmt: skip
    """Register a view at `path` and at `path.json`, which is not shown in the documentation.

    `answer` is the type that the description promises (desk/api/answers.py), None for no body.
    """
    ANSWERS.update({(method, path): (status, answer) for method in methods})
    if status not in (200, 204):
        words |= {"response": {status: Any}}

    def register(view: View) -> View:
        plain = words | {"include_in_schema": False}
        router.add_api_operation(f"{path}.json", list(methods), view, **plain)
        router.add_api_operation(path, list(methods), view, **words)
        return view

    return register


def actor(request: HttpRequest) -> str:
    """Return who is asking, as the audit names it."""
    key: ApiKey = request.auth  # type: ignore[attr-defined]  # ninja sets it after KeyAuth
    return f"api:{key.name}"


def empty() -> HttpResponse:
    """Return 204 without a body and without a Content-Type: clients crash on 204 with JSON (statuspage-api.md §5)."""
    answer = HttpResponse(status=204)
    del answer["Content-Type"]
    return answer


@csrf_exempt  # other programs have a key, no session
def not_found(request: HttpRequest) -> HttpResponse:
    """Answer for every path below /v1 that there is not."""
    return failure(HTTPStatus.NOT_FOUND, f"there is no {request.path}; see /v1/docs")


def routes(api: NinjaAPI) -> tuple[list[URLPattern | URLResolver], str, str]:
    """Return the API's routes, each behind its door."""
    patterns, app, namespace = api.urls
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = _door(pattern.callback)
    return patterns, app, namespace


def _door(view: View) -> View:
    """Count the call, refuse what no view could take, answer a repetition; everything in JSON."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:  # Any: the view's own
        if "\x00" in request.get_full_path() or "%00" in request.get_full_path():
            return failure(HTTPStatus.BAD_REQUEST, "the address holds a NUL character; remove it")
        key = key_of(request)
        left = (
            limits.count(key.pk, limit=key.requests_per_minute, at_s=time.time()) if key else None
        )
        if left and left.is_spent:
            answer: Any = failure(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"this key has made its {left.limit:,} requests of this minute; expected again in {left.reset_s} s",
            )
        else:
            answer = _answer(view, request, key, args, kwargs)
        for name, value in left.headers.items() if left else ():
            answer[name] = value
        return answer

    # CSRF: other programs have a key and no session. `wraps` carries ninja's own mark; said again, since all hangs on it.
    return csrf_exempt(answered)


def _answer(
    view: View, request: HttpRequest, key: ApiKey | None, args: Any, kwargs: Any
) -> Any:  # Any: the view's own
    try:
        given = request.headers.get("Idempotency-Key", "").strip()
        if key and given and request.method in repeating.METHODS:
            return repeating.once(request, key, given, lambda: view(request, *args, **kwargs))
        return _in_json(request, view(request, *args, **kwargs))
    except RequestDataTooBig:
        return failure(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes; expected less",
        )


def _in_json(request: HttpRequest, answer: Any) -> Any:
    if not isinstance(answer, HttpResponseNotAllowed):
        return answer
    said = failure(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"{request.method} is not done here; allowed: {answer['Allow']}",
    )
    said["Allow"] = answer["Allow"]
    return said
