"""The doors of /v1: keys, JSON or form bodies, errors in words, every path with and without `.json`."""

import json
import re
from collections.abc import Callable, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern, URLResolver
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Router
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser
from ninja.security.base import AuthBase

from desk import keys
from desk.models import ApiKey
from incidents.lifecycle import IllegalMove, Refused

SCHEME = "oauth"  # compared without case: real callers send "Oauth"
FORM_KEYS_MAX = 1000
KEY_CHARS_MAX = 64  # incidents.Update.key
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
FORM_DEPTH_MAX = 5
_READS = ("GET", "HEAD", "OPTIONS")

View = Callable[..., Any]  # Any: ninja reads each view's own signature
Json = dict[str, Any]


class BadBody(ValueError):
    """The body is neither JSON nor a form; the text says why."""


class Forbidden(Exception):
    """The key is valid but may not do this."""


class KeyAuth(AuthBase):
    """`Authorization: OAuth KEY`, in any case, or `?api_key=`."""

    openapi_type = "apiKey"
    openapi_in = "header"
    openapi_name = "Authorization"

    def __call__(self, request: HttpRequest) -> ApiKey | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        given = key.strip() if scheme.lower() == SCHEME else request.GET.get("api_key", "")
        found = keys.find(given, now=timezone.now())
        needed = keys.Scope.READ if request.method in _READS else keys.Scope.WRITE
        if found and not keys.may(found, needed):
            raise Forbidden(f'the key "{found.name}" may not {needed}')
        return found


class BodyParser(Parser):
    """JSON, or a form with brackets as Statuspage's clients send it: `incident[components][id]=major_outage`."""

    def parse_body(self, request: HttpRequest) -> Json:
        kind = request.content_type or ""
        if kind in (
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ) and not _looks_like_json(request):
            return unfold(request)
        try:
            body = json.loads(request.body)
        except ValueError as error:
            raise BadBody(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadBody("the body is not a JSON object")
        return body


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


def route(
    router: Router, methods: Sequence[str], path: str, **words: Any
) -> Callable[[View], View]:
    """Register a view at `path` and at `path.json`, which is not shown in the documentation."""

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


def idempotency_key(request: HttpRequest) -> str:
    """Return the request's `Idempotency-Key`, "" without one; a long one is hashed to fit."""
    key = request.headers.get("Idempotency-Key", "").strip()
    return key if len(key) <= KEY_CHARS_MAX else keys.digest(key)


def failure(status: int, *sentences: str) -> JsonResponse:
    """Return an error as both kinds of Statuspage client read it."""
    errors = sentences[0] if len(sentences) == 1 else list(sentences)
    return JsonResponse({"error": errors, "message": "; ".join(sentences)}, status=status)


@csrf_exempt  # other programs have a key, no session
def not_found(request: HttpRequest) -> HttpResponse:
    """Answer for every path below /v1 that there is not."""
    return failure(HTTPStatus.NOT_FOUND, f"there is no {request.path}; see /v1/docs")


def routes(api: NinjaAPI) -> tuple[list[URLPattern | URLResolver], str, str]:
    """Return the API's routes; a method that a path does not have is answered in JSON too."""
    patterns, app, namespace = api.urls
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = _in_json(pattern.callback)
    return patterns, app, namespace


def _in_json(view: View) -> View:
    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:  # Any: the view's own
        answer = view(request, *args, **kwargs)
        if not isinstance(answer, HttpResponseNotAllowed):
            return answer
        said = failure(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{request.method} is not done here; allowed: {answer['Allow']}",
        )
        said["Allow"] = answer["Allow"]
        return said

    return answered


def install_errors(api: NinjaAPI) -> None:
    """Answer every mistake with JSON and a sentence."""

    @api.exception_handler(AuthenticationError)
    def _(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
        return failure(HTTPStatus.UNAUTHORIZED, "Could not authenticate")

    @api.exception_handler(Forbidden)
    def _(request: HttpRequest, error: Forbidden) -> HttpResponse:
        return failure(HTTPStatus.FORBIDDEN, str(error))

    @api.exception_handler(Http404)
    def _(request: HttpRequest, error: Http404) -> HttpResponse:
        return failure(HTTPStatus.NOT_FOUND, str(error) or "not found")

    @api.exception_handler(HttpError)
    def _(request: HttpRequest, error: HttpError) -> HttpResponse:
        why = error.__cause__ if isinstance(error.__cause__, BadBody) else error
        return failure(error.status_code, str(why))

    @api.exception_handler(ValidationError)
    def _(request: HttpRequest, error: ValidationError) -> HttpResponse:
        return failure(HTTPStatus.UNPROCESSABLE_ENTITY, *(_in_words(each) for each in error.errors))

    @api.exception_handler(Refused)
    def _(request: HttpRequest, error: Refused) -> HttpResponse:
        return failure(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))

    @api.exception_handler(IllegalMove)
    def _(request: HttpRequest, error: IllegalMove) -> HttpResponse:
        return failure(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


def _in_words(error: Json) -> str:
    """Return `incident.status is "x": Input should be …` without the position ninja puts in front."""
    where = ".".join(str(part) for part in error["loc"][2:]) or "body"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{where} is missing"
    given = error.get("input")
    shown = f' is "{given}"' if isinstance(given, str | int | float | bool) else ""
    return f"{where}{shown}: {message}"
