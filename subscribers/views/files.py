"""Files that belong to the pages: the worker that shows pushes, and our number as a contact card."""

from functools import lru_cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from incidents import reads
from subscribers.views import frame
from subscribers.views.asking import calling_number


@require_http_methods(["GET", "HEAD"])
def push_worker(request: HttpRequest) -> HttpResponse:
    """Answer the service worker that shows pushes; its scope is its own folder, so no page is slowed by it."""
    response = HttpResponse(_worker_script(), content_type="text/javascript; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    response["Content-Security-Policy"] = "default-src 'none'; connect-src 'self'"
    return response


@lru_cache(maxsize=1)
def _worker_script() -> str:
    found = finders.find("push-worker.js")
    assert isinstance(found, str), "subscribers/static/push-worker.js is part of the app"
    return Path(found).read_text(encoding="utf-8")


@frame.guarded
def contact_card(request: HttpRequest) -> HttpResponse:
    """Answer a vCard of the number that calls and writes (RFC 2426), so that a phone knows it and may let it through."""
    number = calling_number()
    if not number:
        return frame.page("no_card.html", status=404)
    name = _escaped(reads.the_page().name)
    note = _escaped(
        gettext("Calls and writes when something is wrong. Let it through Do Not Disturb.")
    )
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"FN:{name}", f"N:{name};;;;", f"ORG:{name}", f"TEL;TYPE=WORK,VOICE:{number}", f"NOTE:{note}", "END:VCARD"]  # fmt: skip
    response = HttpResponse("".join(f"{folded}\r\n" for line in lines for folded in _folded(line)),
        content_type="text/vcard; charset=utf-8")  # fmt: skip
    response["Content-Disposition"] = 'attachment; filename="status.vcf"'
    return response


def _escaped(text: str) -> str:
    text = " ".join(text.split())
    return text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")


def _folded(line: str) -> list[str]:
    """Return the line in pieces of at most 75 bytes, as RFC 2425 §5.8.1 folds them."""
    pieces, piece = [], ""
    for char in line:
        if len((piece + char).encode()) > 75:
            pieces.append(piece)
            piece = " "
        piece += char
    return [*pieces, piece]
