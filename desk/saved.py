"""What is typed is kept as it is typed: across a reload, a logout, and a crash of the web process."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest, QueryDict
from django.urls import Resolver404, resolve

from desk.models import PLACE_CHARS_MAX, SavedForm

DESK = "/desk/"
SESSION = "typed"  # where words wait whose writer is not logged in any more
WORDS_BYTES_MAX = 128 * 1024  # a form's fields hold 2 × 25,000 characters and little else
_OURS = ("csrfmiddlewaretoken", "_publish", "_preview", "_draft", "_keep")


def place_of(path: str) -> str:
    """Return the place a form's address names: the part behind /desk/."""
    return path.removeprefix("/desk/").removesuffix("/keep").strip("/")[:PLACE_CHARS_MAX]


def way_back(path: str) -> str:
    """Return the page that shows what was posted to `path`: its form, or the desk where a button has no page of its own."""
    path = path.removesuffix("/keep").removesuffix("/clear")
    try:
        view = resolve(path).func
    except Resolver404:
        return path
    return DESK if getattr(view, "is_button", False) else path


def words_of(posted: QueryDict) -> dict[str, Any]:  # Any: a word, or several
    """Return the fields of a form as they were typed; a checkbox that is off is known by `_form`."""
    return {
        name: values if len(values) > 1 else values[0]
        for name, values in posted.lists()
        if name not in _OURS and values
    }


def keep(request: HttpRequest, place: str, *, now: datetime) -> None:
    """Keep what is in the form now."""
    words = words_of(request.POST)
    if sum(len(str(value)) for value in words.values()) > WORDS_BYTES_MAX:
        return
    SavedForm.objects.update_or_create(
        user_id=request.user.pk or 0, place=place, defaults={"words": words, "saved_at": now}
    )


def find(request: HttpRequest, place: str) -> SavedForm | None:
    """Return what this person typed here last; words that waited for a login are taken in first."""
    held: Mapping[str, Any] = request.session.get(SESSION) or {}
    if held.get("place") == place:
        SavedForm.objects.update_or_create(
            user_id=request.user.pk or 0, place=place, defaults={"words": held["words"]}
        )
        del request.session[SESSION]
    return SavedForm.objects.filter(user_id=request.user.pk or 0, place=place).first()


def forget(request: HttpRequest, place: str) -> None:
    SavedForm.objects.filter(user_id=request.user.pk or 0, place=place).delete()


def hold(request: HttpRequest) -> None:
    """Keep the words of somebody whose login has ended, in their session, until they are in again; one form at most."""
    if (
        request.method != "POST"
        or not request.path.startswith("/desk/")
        or "_form" not in request.POST
    ):
        return
    words = words_of(request.POST)
    if sum(len(str(value)) for value in words.values()) <= WORDS_BYTES_MAX:
        request.session[SESSION] = {"place": place_of(request.path), "words": words}


def as_posted(words: Mapping[str, Any]) -> QueryDict:
    """Return kept words as a form takes them."""
    posted = QueryDict(mutable=True)
    for name, value in words.items():
        posted.setlist(name, value if isinstance(value, list) else [value])
    return posted
