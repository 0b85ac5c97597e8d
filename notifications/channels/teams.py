"""Microsoft Teams, by the webhook of a workflow; older connectors take the same card."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from notifications.channels import AddressKind, Outcome, Recipient, _guard, refused, retry
from notifications.messages import N_, Notice, cut, say

NAME = "teams"
LABEL = "Microsoft Teams"
ADDRESS_KIND = AddressKind.URL

# Teams refuses messages over 28 KB; two texts of this length and the card stay far under it:
# https://learn.microsoft.com/en-us/microsoftteams/limits-specifications-teams
TEXT_CHARS_MAX: Final = 5000
# A connector over its rate says so with 200 and these words in the body.
_THROTTLED: Final = "HTTP error 429"


@dataclass(frozen=True, slots=True)
class Teams:
    poster: _guard.Poster
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "teams"
    group: int = 1
    per_s: float | None = None

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        body = json.dumps(message(notice)).encode()
        for recipient in batch:
            answer = _guard.attempt(
                self.poster, recipient.address, body, {"Content-Type": "application/json"}
            )
            yield recipient.delivery, answer if isinstance(answer, Outcome) else _outcome(answer)

    def preview(self, notice: Notice) -> str:
        card = message(notice)["attachments"][0]["content"]
        return "\n\n".join(block["text"] for block in card["body"])

    def close(self) -> None:
        self.poster.close()


def configure(environ: Mapping[str, str]) -> Teams:
    return Teams(_guard.Poster(allow_private=_guard.allows_private(environ)))


def message(notice: Notice) -> dict[str, Any]:  # Any: JSON.
    """Return an Adaptive Card: state, what to do, when we speak next, and a button to the page."""
    said = "\n\n".join(part for part in (notice.state, notice.body) if part)
    blocks = [_text(notice.headline or notice.subject, weight="Bolder", size="Large")]
    if said:
        blocks.append(_text(said))
    if notice.what_to_do:
        blocks.append(_text(say(notice.language, "What to do now"), weight="Bolder"))
        blocks.append(_text(notice.what_to_do))
    if notice.next_update_by:
        promise = say(notice.language, "Next update by {time}.", time=notice.next_update_by)
        blocks.append(_text(promise, isSubtle=True))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
        "actions": [],
    }
    if notice.url:
        label = N_("Confirm") if notice.confirms else N_("Details")
        label = say(notice.language, label)
        card["actions"] = [{"type": "Action.OpenUrl", "title": label, "url": notice.url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def _text(text: str, **style: str | bool) -> dict[str, Any]:
    return {"type": "TextBlock", "text": _literal(cut(text, TEXT_CHARS_MAX)), "wrap": True, **style}


def _literal(text: str) -> str:
    """Return text whose marks of Markdown stay what they are: a card would make links of them."""
    return "".join(f"\\{char}" if char in "\\[]*_`" else char for char in text)


def _outcome(answer: _guard.Answer) -> Outcome:
    said = answer.body.decode("utf-8", "replace")
    if 200 <= answer.status < 300 and _THROTTLED in said:
        return retry("Teams asks to slow down")
    if answer.status == 404:
        return refused("Teams does not know this webhook any more", dead=True)
    if answer.status in (400, 401, 403):
        return refused(f"Teams answered {answer.status}")
    return _guard.outcome_of(answer)
