"""Posts on a Facebook page: one per incident, its first line kept current, updates as comments."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import facebook
import requests

from notifications.channels import (
    AddressKind,
    Checked,
    Misconfigured,
    Outcome,
    Recipient,
    Result,
    _http,
    accepted,
    refused,
    retry,
    unknown,
)
from notifications.messages import Notice, say, zone_name

NAME = "facebook"
LABEL = "Facebook"
ADDRESS_KIND = AddressKind.ACCOUNT
CHECKED = True  # the account can be asked whether it is good
# To post, to read one's own posts back, to comment (channels.md §4.4).
SCOPES = ("pages_manage_posts", "pages_read_engagement", "pages_manage_engagement")

# The newest version of which we read the documentation; the library itself stops at 3.1.
API_VERSION = "v25.0"
# Codes: https://developers.facebook.com/docs/graph-api/guides/error-handling
DUPLICATE = 506
NO_SUCH_OBJECT = 100
TRANSIENT = frozenset({1, 2})
SLOW_DOWN = frozenset({4, 17, 32, 341, 368, 613, 1390008})
ACCOUNT_AT_FAULT = frozenset({10, 102, 190, 463, 467, 490, *range(200, 300)})
# Graph's windows are of an hour, and it seldom says when they end; a quarter finds the end soon enough.
RATE_WAIT_S = 900.0
ACCOUNT_WAIT_S = 3600.0
# The page's newest posts (or a post's newest comments), among which an uncertain one is looked for.
LOOK_BACK_POSTS = 25
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError)


class Graph(facebook.GraphAPI):  # type: ignore[misc] # untyped base
    """The library's client, for a version that its own check does not know, and over our adapter."""

    def __init__(self, token: str, version: str, session: requests.Session) -> None:
        super().__init__(access_token=token, session=session)
        self.version = version

    def debug(self) -> Any:  # Any: JSON.
        return self.request(f"{self.version}/debug_token", args={"input_token": self.access_token})

    def edit(self, object_id: str, message: str) -> object:
        return self.request(f"{self.version}/{object_id}", post_args={"message": message})


@dataclass(frozen=True, slots=True)
class Facebook:
    graph: Graph
    page: str
    line: _http.Armed
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "facebook"
    group: int = 1
    per_s: float | None = None

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        for recipient in batch:
            self.line.begin()
            yield recipient.delivery, self._tell(notice, recipient)

    def check(self) -> Checked:
        """Ask what the page's token is still good for: https://developers.facebook.com/docs/graph-api/reference/debug_token."""
        self.line.begin()
        try:
            answer = self.graph.debug()
            found = answer["data"]
            missing = [scope for scope in SCOPES if scope not in found.get("scopes", ())]
            expires = int(found.get("expires_at") or 0)
        except facebook.GraphAPIError as error:
            return Checked(
                False, f"Facebook refuses the page's token ({error.code}: {error.message})"
            )
        except OSError as error:
            return Checked(False, _http.unanswered(error).why)
        except _NONSENSE:
            return Checked(False, "Facebook's answer could not be read")
        if not found.get("is_valid"):
            return Checked(False, "Facebook says that the page's token is no longer valid")
        if missing:
            return Checked(
                False, f"the page's token may not do what is needed: {', '.join(missing)}"
            )
        return Checked(True, expires_at=datetime.fromtimestamp(expires, UTC) if expires else None)

    def preview(self, notice: Notice) -> str:
        return full_text(notice)

    def close(self) -> None:
        self.line.close()

    def _tell(self, notice: Notice, recipient: Recipient) -> Outcome:
        if not recipient.first_id:
            return self._post(notice, recipient)
        try:
            self._edit_first_line(notice, recipient.first_id)
        except (facebook.GraphAPIError, OSError, *_NONSENSE) as error:
            if getattr(error, "code", None) == NO_SUCH_OBJECT:
                return self._post(notice, recipient)
            outcome = self._failed(error, recipient)
            if outcome.result is not Result.REFUSED:
                # An edit may be repeated: whether this one was made does not matter.
                return retry(outcome.why, after_s=outcome.retry_after_s)
        return self._comment(notice, recipient)

    def _post(self, notice: Notice, recipient: Recipient) -> Outcome:
        try:
            earlier = self._earlier(self.page, "feed", notice.url) if recipient.maybe_sent else ""
            if earlier:
                return accepted(earlier)
            answer = self.graph.put_object(
                self.page, "feed", message=full_text(notice), **_link(notice)
            )
        except (facebook.GraphAPIError, OSError, *_NONSENSE) as error:
            return self._failed(error, recipient)
        return self._with_id(answer)

    def _comment(self, notice: Notice, recipient: Recipient) -> Outcome:
        post, text = recipient.first_id, full_text(notice)
        try:
            earlier = self._earlier(post, "comments", text) if recipient.maybe_sent else ""
            if earlier:
                return accepted(earlier)
            answer = self.graph.put_object(post, "comments", message=text)
        except (facebook.GraphAPIError, OSError, *_NONSENSE) as error:
            return self._failed(error, recipient)
        return self._with_id(answer)

    def _edit_first_line(self, notice: Notice, post: str) -> None:
        old = self.graph.get_object(post, fields="message")["message"]
        new = "\n".join([first_line(notice), *old.split("\n")[1:]])
        if new != old:
            self._check(self.graph.edit(post, new))

    def _earlier(self, parent: str, connection: str, words: str) -> str:
        """Return the id of what an attempt that seemed lost has left there after all, or ""."""
        order = {"order": "reverse_chronological"} if connection == "comments" else {}
        found: dict[str, Any] = self.graph.get_connections(
            parent, connection, fields="id,message,created_time", limit=LOOK_BACK_POSTS, **order
        )
        same = (post for post in found["data"] if words and words in post.get("message", ""))
        return next((str(post["id"]) for post in same), "")

    def _check(self, answer: object) -> None:
        """Raise ValueError for a failure without an error in it, which the library returns as a success."""
        heard = self.line.heard
        if heard is None or heard.status >= 400 or not isinstance(answer, Mapping):
            raise ValueError("no success")

    def _with_id(self, answer: object) -> Outcome:
        try:
            self._check(answer)
        except ValueError:
            return unknown("Facebook's answer could not be read")
        found = answer.get("id") if isinstance(answer, Mapping) else None
        return accepted(str(found)) if found else unknown("Facebook answered without an id")

    def _failed(self, error: Exception, recipient: Recipient) -> Outcome:
        if isinstance(error, facebook.GraphAPIError) and isinstance(error.code, int):
            return self._answered(error.code, str(error.message), recipient)
        if isinstance(error, requests.RequestException) and not isinstance(error, ValueError):
            return _http.unanswered(error)
        if self.line.heard and self.line.heard.status == 429:
            return retry("Facebook asks to slow down", after_s=self._wait_s())
        return unknown("Facebook's answer could not be read")

    def _answered(self, code: int, message: str, recipient: Recipient) -> Outcome:
        if code == DUPLICATE:
            if recipient.maybe_sent:
                return accepted()
            return refused("Facebook already has a post with these words")
        if code in SLOW_DOWN:
            return retry(f"Facebook asks to slow down ({code})", after_s=self._wait_s())
        if code in ACCOUNT_AT_FAULT:
            why = f"Facebook refuses the page's token ({code}: {message})"
            return retry(why, after_s=ACCOUNT_WAIT_S)
        if code in TRANSIENT or (self.line.heard and self.line.heard.status >= 500):
            return unknown(f"Facebook failed ({code}: {message})")
        return refused(f"Facebook: {message} ({code})")

    def _wait_s(self) -> float:
        heard = self.line.heard
        asked = heard.retry_after_s if heard else None
        return RATE_WAIT_S if asked is None else asked


def configure(
    environ: Mapping[str, str], *, timeouts: _http.Timeouts = _http.TIMEOUTS
) -> Facebook | None:
    keys = _http.required(environ, ("FACEBOOK_PAGE_ID", "FACEBOOK_PAGE_TOKEN"), "Facebook")
    if keys is None:
        return None
    session = requests.Session()
    line = _http.arm(session, _http.api_base(environ, "FACEBOOK_API_URL"), timeouts)
    return Facebook(Graph(keys[1], _version(environ), session), keys[0], line)


def _version(environ: Mapping[str, str]) -> str:
    version = environ.get("FACEBOOK_API_VERSION", "").strip() or API_VERSION
    number = version.removeprefix("v")
    if not version.startswith("v") or not number.replace(".", "", 1).isdecimal():
        raise Misconfigured(f"FACEBOOK_API_VERSION must be like {API_VERSION}, not {version!r}.")
    return version


def first_line(notice: Notice) -> str:
    """Return the state now, with its day: a page's posts surface hours later."""
    at = notice.published_at
    told = f"{at:%a} {at.day} {at:%b}, {at:%H:%M} {zone_name(at)}"
    headline = (notice.headline or notice.subject).rstrip(".")
    promise = notice.next_update_by.split(" (")[0]
    next_word = say(notice.language, "Next update by {time}.", time=promise) if promise else ""
    return f"{told}: {headline}. {next_word}".rstrip()


def full_text(notice: Notice) -> str:
    """Return a post or a comment; what grows old in a post stands in its first line, which later updates replace."""
    return "\n\n".join([first_line(notice), *_paragraphs(notice)])


def _paragraphs(notice: Notice) -> list[str]:
    automatic = say(notice.language, "Posted automatically.") if notice.automatic else ""
    parts = [notice.what_to_do, notice.state, notice.body, automatic, notice.url]
    return [part for part in parts if part]


def _link(notice: Notice) -> dict[str, str]:
    return {"link": notice.url} if notice.url else {}
