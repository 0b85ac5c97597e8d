"""Posts on X, through tweepy: one per update, as a thread."""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import requests
import tweepy

from notifications.channels import (
    AddressKind,
    Checked,
    Outcome,
    Recipient,
    _http,
    accepted,
    refused,
    retry,
    unknown,
)
from notifications.messages import Notice, cut, say, sentences, weighted_length, zone_name

NAME = "x"
LABEL = "X"
ADDRESS_KIND = AddressKind.ACCOUNT
CHECKED = True  # the account can be asked whether it is good

# https://docs.x.com/fundamentals/counting-characters
WEIGHT_MAX = 280
# Keys revoked or credits used up: somebody has to act, and the post must not be lost meanwhile.
ACCOUNT_WAIT_S = 3600.0
# X counts in windows of a quarter of an hour; used when a 429 does not say when its window ends.
RATE_WAIT_S = 900.0
# The account's newest posts, among which an uncertain one is looked for.
LOOK_BACK_POSTS = 20
_KEYS = ("X_CONSUMER_KEY", "X_CONSUMER_SECRET", "X_ACCESS_TOKEN", "X_ACCESS_TOKEN_SECRET")
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class X:
    client: tweepy.Client
    line: _http.Armed
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "x"
    group: int = 1
    per_s: float | None = None

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        text = post_text(notice)
        for recipient in batch:
            self.line.begin()
            yield recipient.delivery, self._post(text, recipient, recipient.previous_id)

    def check(self) -> Checked:
        """Ask who we are: keys that were revoked and an account without credits are refused the same way as a post."""
        self.line.begin()
        try:
            self.client.get_me(user_auth=True)
        except tweepy.HTTPException as error:
            return Checked(False, self._failed(error).why)
        except (tweepy.TweepyException, OSError, *_NONSENSE) as error:
            return Checked(False, _unreadable(error).why)
        return Checked(True)

    def preview(self, notice: Notice) -> str:
        text = post_text(notice)
        return f"{text}\n({weighted_length(text)} of {WEIGHT_MAX} characters)"

    def close(self) -> None:
        self.line.close()

    def _post(self, text: str, recipient: Recipient, reply_to: str) -> Outcome:
        try:
            answer = self.client.create_tweet(
                text=text, in_reply_to_tweet_id=reply_to or None, user_auth=True
            )
            return _with_id(answer)
        except (tweepy.Forbidden, tweepy.BadRequest) as error:
            return self._not_taken(error, text, recipient, reply_to)
        except tweepy.HTTPException as error:
            return self._failed(error)
        except (tweepy.TweepyException, OSError, *_NONSENSE) as error:
            return _unreadable(error)

    def _not_taken(
        self, error: tweepy.HTTPException, text: str, recipient: Recipient, reply_to: str
    ) -> Outcome:
        reason = _reason(error)
        if "duplicate" in reason.lower():
            if recipient.maybe_sent:
                return accepted(self._find(text))
            return refused("X already has a post with these words")
        if reply_to and "reply" in reason.lower():
            # The post we answer was deleted: the words matter more than the thread.
            return self._post(text, recipient, "")
        return refused(f"X: {reason}")

    def _failed(self, error: tweepy.HTTPException) -> Outcome:
        status = error.response.status_code
        heard = self.line.heard
        if status == 429:
            wait_s = heard.retry_after_s if heard else None
            return retry("X asks to slow down", after_s=RATE_WAIT_S if wait_s is None else wait_s)
        if status in (401, 402):
            why = "refuses the keys" if status == 401 else "has no credits left"
            return retry(f"X: the account {why} ({_reason(error)})", after_s=ACCOUNT_WAIT_S)
        if status >= 500:
            return unknown(f"X answered {status}")
        return refused(f"X: {_reason(error)}")

    def _find(self, text: str) -> str:
        """Return the id of the account's post with these words, or "" where X does not show it."""
        try:
            me = self.client.get_me(user_auth=True).data
            posts = self.client.get_users_tweets(
                me.id, max_results=LOOK_BACK_POSTS, user_auth=True
            ).data
            return next((str(post.id) for post in posts or () if _same(post.text, text)), "")
        except (tweepy.TweepyException, OSError, *_NONSENSE):
            # The refused duplicate has already proved that it is there; only the thread is then one link shorter.
            return ""


def configure(environ: Mapping[str, str], *, timeouts: _http.Timeouts = _http.TIMEOUTS) -> X | None:
    keys = _http.required(environ, _KEYS, "X")
    if keys is None:
        return None
    # wait_on_rate_limit would sleep inside the worker until the window ends.
    client = tweepy.Client(None, *keys, wait_on_rate_limit=False)
    line = _http.arm(client.session, _http.api_base(environ, "X_API_URL"), timeouts)
    return X(client, line)


def post_text(notice: Notice) -> str:
    """Return the post: state and thing, what to do, next update; last line number, time and link.

    The last line makes the texts of different updates differ, which X's check for duplicates relies on.
    """
    last = _last_line(notice)
    if notice.text_override:
        return _fitted(notice.text_override, last)
    head = f"{(notice.headline or notice.subject).rstrip('.')}."
    actions = sentences(notice.what_to_do) or sentences(notice.body or notice.state)[:1]
    for count in range(len(actions), -1, -1):
        text = f"{' '.join([head, *actions[:count], *_promise(notice)])}\n{last}"
        if weighted_length(text) <= WEIGHT_MAX:
            return unicodedata.normalize("NFC", text)
    return _fitted(head, last)


def _fitted(words: str, last: str) -> str:
    words = unicodedata.normalize("NFC", words)
    for limit in range(min(len(words), WEIGHT_MAX), 0, -1):
        text = f"{cut(words, limit)}\n{last}"
        if weighted_length(text) <= WEIGHT_MAX:
            return text
    return last


def _last_line(notice: Notice) -> str:
    at = f"{notice.published_at:%H:%M} {zone_name(notice.published_at)}"
    number = say(notice.language, "Update {number}", number=str(notice.sequence))
    parts = [
        number if notice.sequence > 1 else "",
        at,
        say(notice.language, "posted automatically") if notice.automatic else "",
    ]
    return f"{', '.join(part for part in parts if part)} {notice.url}".rstrip()


def _promise(notice: Notice) -> list[str]:
    time = notice.next_update_by.split(" (")[0]
    return [say(notice.language, "Next update by {time}.", time=time)] if time else []


def _with_id(answer: object) -> Outcome:
    post = getattr(answer, "data", None)
    found = post.get("id") if isinstance(post, Mapping) else None
    return accepted(str(found)) if found else unknown("X answered without an id")


def _unreadable(error: Exception) -> Outcome:
    # A broken JSON body is a RequestException too, but one with an answer.
    if isinstance(error, requests.RequestException) and not isinstance(error, ValueError):
        return _http.unanswered(error)
    return unknown("X's answer could not be read")


def _reason(error: tweepy.HTTPException) -> str:
    return " ".join(str(error).split()) or "no reason given"


def _same(theirs: str, ours: str) -> bool:
    """Compare without links: X replaces each by one of its own."""
    return _without_links(theirs) == _without_links(ours)


def _without_links(text: str) -> list[str]:
    return [word for word in text.split() if not word.startswith(("http://", "https://"))]
