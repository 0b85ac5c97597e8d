"""X's posts, with OAuth 1.0a checked against the address that the client signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from time import time
from urllib.parse import parse_qsl, quote, unquote

from aiohttp import web

from demo.broken import Excuses, guarded
from demo.credentials import Credentials
from demo.faults import Board, FaultRefused, iso
from demo.ledger import Entry, Ledger, Provider
from demo.pages import Handler, read_json, utc_now, whole_number

# https://docs.x.com/fundamentals/counting-characters
POST_WEIGHT_MAX = 280
URL_WEIGHT = 23
URL_IN_TEXT = re.compile(r"https?://\S+")
LIGHT_RANGES = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))
EMOJI_PART = (
    r"(?:[\U0001F1E6-\U0001F1FF]{2}|[\U0001F300-\U0001FAFF\u2600-\u27BF\u2B00-\u2BFF]"
    r"[\uFE0F\U0001F3FB-\U0001F3FF]*)"
)
EMOJI = re.compile(rf"{EMOJI_PART}(?:\u200D{EMOJI_PART})*")
OAUTH_AGE_S = 300
NONCES_MAX = 10_000
ENROLLED_ACCOUNT = 1_000
X_HOSTS = ("api.twitter.com", "api.x.com")
POST_FIELDS = frozenset(
    [
        "card_uri",
        "community_id",
        "direct_message_deep_link",
        "edit_options",
        "for_super_followers_only",
        "geo",
        "made_with_ai",
        "media",
        "nullcast",
        "paid_partnership",
        "poll",
        "quote_tweet_id",
        "reply",
        "reply_settings",
        "share_with_followers",
        "text",
    ]
)


def x_problem(
    status: int,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    *,
    kind: str = "about:blank",
) -> web.Response:
    """Return an error in X's problem form."""
    problem = {"title": title, "detail": detail, "type": kind, "status": status}
    return web.json_response(
        problem, status=status, headers=headers, content_type="application/problem+json"
    )


def x_invalid(message: str) -> web.Response:
    """Return a 400 that says which parameter is wrong."""
    return web.json_response(
        {
            "errors": [{"parameters": {}, "message": message}],
            "title": "Invalid Request",
            "detail": "One or more parameters to your request was invalid.",
            "type": "https://api.x.com/2/problems/invalid-request",
            "status": 400,
        },
        status=400,
        content_type="application/problem+json",
    )


def post_weight(text: str) -> int:
    """Count a post as X does: a URL 23, an emoji 2, most of Latin 1, all else 2."""
    text = unicodedata.normalize("NFC", text)
    text, urls = URL_IN_TEXT.subn("", text)
    text, emojis = EMOJI.subn("", text)
    letters = sum(
        1 if any(low <= ord(letter) <= high for low, high in LIGHT_RANGES) else 2 for letter in text
    )
    return urls * URL_WEIGHT + emojis * 2 + letters


def oauth_signature(
    method: str,
    url: str,
    arguments: Sequence[tuple[str, str]],
    secrets_of: tuple[str, str],
) -> str:
    """Sign a request as RFC 5849, section 3.4, says."""
    encoded = sorted((percent(name), percent(value)) for name, value in arguments)
    joined = "&".join(f"{name}={value}" for name, value in encoded)
    base = "&".join((method.upper(), percent(url), percent(joined)))
    key = "&".join(percent(secret) for secret in secrets_of)
    return base64.b64encode(hmac.new(key.encode(), base.encode(), hashlib.sha1).digest()).decode()


def percent(text: str) -> str:
    """Encode as RFC 5849, section 3.6, says."""
    return quote(text, safe="-._~")


def too_many(retry_after_s: int) -> web.Response:
    """Say that the window of requests is used up, and when it ends."""
    headers = {
        "x-rate-limit-limit": "100",
        "x-rate-limit-remaining": "0",
        "x-rate-limit-reset": str(int(time()) + retry_after_s),
    }
    return x_problem(429, "Too Many Requests", "Too Many Requests", headers)


def out_of_order() -> web.Response:
    """Say that it is X's own fault."""
    kind = "https://api.x.com/2/problems/internal-error"
    return x_problem(500, "Internal Server Error", "Something went wrong.", kind=kind)


def no_credits() -> web.Response:
    """Say that the account's credits are used up, in the form seen on the wire in 2026."""
    return web.json_response(
        {
            "account_id": ENROLLED_ACCOUNT,
            "title": "CreditsDepleted",
            "detail": f"The enrolled account [{ENROLLED_ACCOUNT}] has no credits for this request.",
            "type": "https://api.twitter.com/2/problems/credits",
        },
        status=402,
    )


EXCUSES = Excuses(too_many, {"500": out_of_order, "402": no_credits})


class X:
    """X's posts, with OAuth 1.0a checked against the address that the client signed."""

    def __init__(self, credentials: Credentials, ledger: Ledger, board: Board) -> None:
        self.credentials = credentials
        self.ledger = ledger
        self.board = board
        self.user_id = credentials.x_access_token.partition("-")[0]
        self._ids = itertools.count(int(time() * 1000) << 22, 7)
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return X's paths."""
        create = guarded(self.board, Provider.X, EXCUSES, self._signed(self._create))
        return [
            web.post("/2/tweets", create),
            web.delete("/2/tweets/{id}", self._signed(self._delete)),
            web.get("/2/users/me", self._signed(self._unless_broke(self._me))),
            web.get("/2/users/{id}/tweets", self._signed(self._posts_of)),
        ]

    def _signed(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            if not self._is_ours(request):
                return x_problem(401, "Unauthorized", "Unauthorized")
            return await handler(request)

        return answer

    def _unless_broke(self, handler: Handler) -> Handler:
        """An account without credits is refused whatever it asks."""

        async def answer(request: web.Request) -> web.Response:
            strike = self.board.strike(Provider.X.value, utc_now())
            return no_credits() if strike and strike.shape == "402" else await handler(request)

        return answer

    def _is_ours(self, request: web.Request) -> bool:
        """Check key, token, age, nonce and signature of an Authorization: OAuth header."""
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        host = request.headers.get("X-Original-Host", X_HOSTS[0])
        if scheme != "OAuth" or host not in X_HOSTS:
            return False
        pairs = [part.strip().partition("=") for part in rest.split(",")]
        shown = {unquote(name): unquote(value.strip('"')) for name, _, value in pairs}
        signature = shown.pop("oauth_signature", "")
        shown.pop("realm", None)
        if not self._is_fresh(shown):
            return False
        query = parse_qsl(request.query_string, keep_blank_values=True)
        keys = self.credentials
        expected = oauth_signature(
            request.method,
            f"https://{host}{request.rel_url.raw_path}",
            [*shown.items(), *query],
            (keys.x_consumer_secret, keys.x_access_token_secret),
        )
        return hmac.compare_digest(signature.encode(), expected.encode())

    def _is_fresh(self, shown: Mapping[str, str]) -> bool:
        keys = self.credentials
        stamp, nonce = shown.get("oauth_timestamp", ""), shown.get("oauth_nonce", "")
        if shown.get("oauth_consumer_key") != keys.x_consumer_key:
            return False
        if shown.get("oauth_token") != keys.x_access_token:
            return False
        if not re.fullmatch(r"\d{1,12}", stamp) or abs(time() - int(stamp)) > OAUTH_AGE_S:
            return False
        if not nonce or nonce in self._nonces:
            return False
        self._nonces[nonce] = None
        if len(self._nonces) > NONCES_MAX:
            self._nonces.popitem(last=False)
        return True

    async def _create(self, request: web.Request) -> web.Response:
        try:
            asked = await read_json(request)
        except FaultRefused as refused:
            return x_invalid(str(refused))
        if not isinstance(asked, dict) or not set(asked) <= POST_FIELDS:
            return x_invalid("The body must be an object of the described fields.")
        text, reply = asked.get("text", ""), asked.get("reply") or {}
        parent = str(reply.get("in_reply_to_tweet_id", "")) if isinstance(reply, dict) else "?"
        refused_post = self._refused(text, parent)
        if refused_post is not None:
            return refused_post
        entry = Entry(
            provider=Provider.X,
            id=str(next(self._ids)),
            at=utc_now(),
            to=self.user_id,
            sender=self.user_id,
            body=text,
            status="posted",
            in_reply_to=parent,
        )
        self.ledger.add(entry)
        shown = {"id": entry.id, "text": text, "edit_history_tweet_ids": [entry.id]}
        return web.json_response({"data": shown}, status=201)

    def _refused(self, text: object, parent: str) -> web.Response | None:
        if not isinstance(text, str) or not text.strip():
            return x_invalid("text must not be empty")
        if post_weight(text) > POST_WEIGHT_MAX:
            return x_invalid("Your Tweet text is too long.")
        if parent and self.ledger.get(Provider.X, parent) is None:
            return x_invalid("You attempted to reply to a Tweet that is deleted or not visible.")
        if any(entry.body == text for entry in self.ledger.newest_first(Provider.X)):
            detail = "You are not allowed to create a Tweet with duplicate content."
            return x_problem(403, "Forbidden", detail)
        return None

    async def _delete(self, request: web.Request) -> web.Response:
        entry = self.ledger.get(Provider.X, request.match_info["id"])
        if entry is not None:
            self.ledger.remove(entry)
        return web.json_response({"data": {"deleted": entry is not None}})

    async def _me(self, request: web.Request) -> web.Response:
        me = {"id": self.user_id, "name": "Follow status", "username": "followstatus"}
        return web.json_response({"data": me})

    async def _posts_of(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != self.user_id:
            kind = "https://api.x.com/2/problems/resource-not-found"
            return x_problem(404, "Not Found Error", "Could not find that user.", kind=kind)
        count = whole_number(request.query.get("max_results"), default=10, highest=100)
        found = self.ledger.newest_first(Provider.X)[:count]
        meta: dict[str, object] = {"result_count": len(found)}
        if found:
            meta |= {"newest_id": found[0].id, "oldest_id": found[-1].id}
        return web.json_response({"data": [post_json(entry) for entry in found], "meta": meta})


def post_json(entry: Entry) -> dict[str, object]:
    """Return a post as a reader sees it."""
    shown: dict[str, object] = {
        "id": entry.id,
        "text": entry.body,
        "created_at": iso(entry.at),
        "edit_history_tweet_ids": [entry.id],
    }
    if entry.in_reply_to:
        shown["referenced_tweets"] = [{"type": "replied_to", "id": entry.in_reply_to}]
    return shown
