"""Facebook's Graph API: the feed of one page, with posts, edits and comments."""

from __future__ import annotations

import hmac
import itertools
import secrets
from collections.abc import Mapping

from aiohttp import web

from demo.broken import Excuses, guarded
from demo.credentials import Credentials
from demo.faults import Board
from demo.ledger import Entry, Ledger, Provider
from demo.pages import Handler, form_of, utc_now, whole_number


def graph_error(
    status: int,
    code: int,
    message: str,
    subcode: int | None = None,
    *,
    is_transient: bool = False,
) -> web.Response:
    """Return an error in the Graph API's form."""
    error: dict[str, object] = {
        "message": message,
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "A" + secrets.token_urlsafe(16),
    }
    if subcode is not None:
        error["error_subcode"] = subcode
    if is_transient:
        error["is_transient"] = True
    return web.json_response({"error": error}, status=status)


def too_many(retry_after_s: int) -> web.Response:
    """Say that the page asked too often; Graph does not say when to come back."""
    return graph_error(400, 32, "(#32) Page request limit reached", is_transient=True)


def out_of_order() -> web.Response:
    """Say that it is Facebook's own fault."""
    message = "An unexpected error has occurred. Please retry your request later."
    return graph_error(500, 2, message, is_transient=True)


EXCUSES = Excuses(too_many, {"500": out_of_order})


class Facebook:
    """The feed of one page: posts, edits and comments."""

    def __init__(self, credentials: Credentials, ledger: Ledger, board: Board) -> None:
        self.page_id = credentials.facebook_page_id
        self.token = credentials.facebook_page_token
        self.ledger = ledger
        self.board = board
        self._numbers = itertools.count(100_000_000_000_001)

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the Graph API's paths, of any version."""
        version = r"/{version:v\d+\.\d+}"

        def sends(handler: Handler) -> Handler:
            return guarded(self.board, Provider.FACEBOOK, EXCUSES, self._held(handler))

        return [
            web.get("/debug_token", self._held(self._debug_token)),
            web.get(f"{version}/debug_token", self._held(self._debug_token)),
            web.post(f"{version}/{{id}}/feed", sends(self._post)),
            web.get(f"{version}/{{id}}/feed", self._held(self._feed)),
            web.post(f"{version}/{{id}}/comments", sends(self._comment)),
            web.get(f"{version}/{{id}}/comments", self._held(self._comments)),
            web.post(f"{version}/{{id}}", sends(self._edit)),
            web.get(f"{version}/{{id}}", self._held(self._one)),
        ]

    def _held(self, handler: Handler) -> Handler:
        """Answer only to whoever holds the page's token."""

        async def answer(request: web.Request) -> web.Response:
            form = await form_of(request)
            scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
            shown = form.get("access_token") or request.query.get("access_token", "")
            if scheme == "Bearer":
                shown = bearer
            if not shown:
                message = "An access token is required to request this resource."
                return graph_error(400, 104, message)
            if not hmac.compare_digest(shown.encode(), self.token.encode()):
                message = "Invalid OAuth access token - Cannot parse access token"
                return graph_error(400, 190, message)
            return await handler(request)

        return answer

    async def _debug_token(self, request: web.Request) -> web.Response:
        is_valid = request.query.get("input_token", "") == self.token
        scopes = [
            "pages_manage_posts",
            "pages_read_engagement",
            "pages_manage_engagement",
        ]
        data = {
            "type": "PAGE",
            "is_valid": is_valid,
            "expires_at": 0,
            "profile_id": self.page_id,
            "scopes": scopes if is_valid else [],
        }
        return web.json_response({"data": data})

    async def _post(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in (self.page_id, "me"):
            return unknown_object(request)
        form = await form_of(request)
        if not form.get("message") and not form.get("link"):
            return graph_error(400, 100, "(#100) The post is empty. Please enter a message.")
        if self._is_posted(form):
            return graph_error(400, 506, "(#506) Duplicate status message")
        entry_id = f"{self.page_id}_{next(self._numbers)}"
        self._keep(entry_id, self.page_id, form)
        return web.json_response({"id": entry_id})

    def _is_posted(self, form: Mapping[str, str]) -> bool:
        """Tell whether the feed already shows these very words with this link."""
        asked = (form.get("message", ""), form.get("link", ""))
        posts = self.ledger.newest_first(Provider.FACEBOOK)
        return any((post.body, post.link) == asked for post in posts if not post.in_reply_to)

    async def _comment(self, request: web.Request) -> web.Response:
        parent = self._entry(request)
        form = await form_of(request)
        if parent is None:
            return unknown_object(request)
        if not form.get("message"):
            return graph_error(400, 100, "(#100) A comment must have a message.")
        entry_id = f"{parent.id.partition('_')[2]}_{next(self._numbers)}"
        self._keep(entry_id, parent.id, form)
        return web.json_response({"id": entry_id})

    def _keep(self, entry_id: str, to: str, form: Mapping[str, str]) -> None:
        entry = Entry(
            provider=Provider.FACEBOOK,
            id=entry_id,
            at=utc_now(),
            to=to,
            sender=self.page_id,
            body=form.get("message", ""),
            status="posted",
            in_reply_to="" if to == self.page_id else to,
            link=form.get("link", ""),
        )
        self.ledger.add(entry)

    async def _edit(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        form = await form_of(request)
        if entry is None:
            return unknown_object(request)
        if not form.get("message"):
            return graph_error(400, 100, "(#100) message must not be empty.")
        entry.body, entry.status = form["message"], "edited"
        return web.json_response({"success": True})

    async def _feed(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in (self.page_id, "me"):
            return unknown_object(request)
        return self._listing(request, "")

    async def _comments(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        return unknown_object(request) if entry is None else self._listing(request, entry.id)

    async def _one(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        if request.match_info["id"] in (self.page_id, "me"):
            return web.json_response({"id": self.page_id, "name": "Follow status"})
        return unknown_object(request) if entry is None else web.json_response(graph_json(entry))

    def _listing(self, request: web.Request, parent: str) -> web.Response:
        limit = whole_number(request.query.get("limit"), default=25, highest=100)
        entries = self.ledger.newest_first(Provider.FACEBOOK)
        found = [entry for entry in entries if entry.in_reply_to == parent][:limit]
        return web.json_response({"data": [graph_json(entry) for entry in found], "paging": {}})

    def _entry(self, request: web.Request) -> Entry | None:
        return self.ledger.get(Provider.FACEBOOK, request.match_info["id"])


def graph_json(entry: Entry) -> dict[str, object]:
    """Return a post or a comment as the Graph API shows it."""
    created = entry.at.strftime("%Y-%m-%dT%H:%M:%S+0000")
    return {"id": entry.id, "message": entry.body, "created_time": created}


def unknown_object(request: web.Request) -> web.Response:
    """Say that there is no such object, or that it may not be written to."""
    named = request.match_info["id"][:60]
    message = f"Unsupported request. Object with ID '{named}' does not exist."
    return graph_error(400, 100, message, 33)
