"""Every 4xx of /v1 as JSON, with a sentence in both fields that Statuspage's clients read."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from incidents.lifecycle import IllegalMove, Refused

SHOWN_CHARS_MAX = 80  # of a value that is repeated in a sentence


class BadBody(ValueError):
    """The body is neither JSON nor a form; the text says why."""


class Forbidden(Exception):
    """The key is valid but may not do this."""


def failure(status: int, *sentences: str) -> JsonResponse:
    """Return an error as both kinds of Statuspage client read it."""
    errors = sentences[0] if len(sentences) == 1 else list(sentences)
    return JsonResponse({"error": errors, "message": "; ".join(sentences)}, status=status)


def install(api: NinjaAPI) -> None:
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
        said = dict.fromkeys(in_words(each) for each in error.errors)
        return failure(HTTPStatus.UNPROCESSABLE_ENTITY, *said)

    @api.exception_handler(Refused)
    def _(request: HttpRequest, error: Refused) -> HttpResponse:
        return failure(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))

    @api.exception_handler(IllegalMove)
    def _(request: HttpRequest, error: IllegalMove) -> HttpResponse:
        return failure(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


def in_words(error: dict[str, Any]) -> str:  # Any: pydantic's own rows
    """Return `incident.status is "x": Input should be …` without the position ninja puts in front."""
    start = 1 if error["loc"][:1] in (("query",), ("path",)) else 2
    return sentence(error["loc"][start:], error)


def sentence(place: Sequence[int | str], error: Mapping[str, Any]) -> str:  # Any: as above
    """Return what is wrong with the value at `place`: its name, itself, what is allowed."""
    # In a union pydantic names the branch too: dict[str,…], literal[…].
    where = ".".join(str(part) for part in place if "[" not in str(part))
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return (
            f"{where} is missing"
            if where
            else "the body is missing; expected a JSON object or a form"
        )
    given = error.get("input")
    shown = ""
    if isinstance(given, str | int | float | bool):
        text = " ".join(str(given).split())
        cut = text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"
        shown = f' is "{cut}"'
    return f"{where or 'the body'}{shown}: {message}"
