"""Slack, by the incoming webhook of a channel."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from notifications.channels import AddressKind, Outcome, Recipient, _guard, accepted, refused, retry
from notifications.messages import N_, Notice, cut, say

NAME = "slack"
LABEL = "Slack"
ADDRESS_KIND = AddressKind.URL

# https://docs.slack.dev/reference/block-kit/blocks: header 150, section 3,000 characters.
HEADER_CHARS_MAX: Final = 150
SECTION_CHARS_MAX: Final = 3000
# Answers that mean the webhook itself is gone:
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_GONE: Final = (
    "no_service",
    "channel_not_found",
    "channel_is_archived",
    "no_team",
    "team_disabled",
)


@dataclass(frozen=True, slots=True)
class Slack:
    poster: _guard.Poster
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "slack"
    group: int = 1
    per_s: float | None = None

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        for recipient in batch:
            body = json.dumps(message(notice, recipient.manage_url)).encode()
            answer = _guard.attempt(
                self.poster, recipient.address, body, {"Content-Type": "application/json"}
            )
            yield recipient.delivery, answer if isinstance(answer, Outcome) else _outcome(answer)

    def preview(self, notice: Notice) -> str:
        return "\n\n".join(_plain(block) for block in message(notice, "")["blocks"])

    def close(self) -> None:
        self.poster.close()


def configure(environ: Mapping[str, str]) -> Slack:
    return Slack(_guard.Poster(allow_private=_guard.allows_private(environ)))


def message(notice: Notice, manage_url: str) -> dict[str, Any]:  # Any: JSON.
    """Return the message: a header, what is, what to do, and a quiet last line."""
    header = cut(notice.headline or notice.subject, HEADER_CHARS_MAX)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": header, "emoji": False}}
    ]
    said = "\n".join(part for part in (notice.state, notice.body) if part)
    if said:
        blocks.append(_section(_escaped(said)))
    if notice.what_to_do:
        label = say(notice.language, "What to do now")
        blocks.append(_section(f"*{_escaped(label)}*\n{_escaped(notice.what_to_do)}"))
    blocks.append({"type": "context", "elements": [_mrkdwn(_last_line(notice, manage_url))]})
    return {"text": _escaped(f"{header}. {notice.short}"), "blocks": blocks, "unfurl_links": False}


def _last_line(notice: Notice, manage_url: str) -> str:
    parts = []
    if notice.next_update_by:
        parts.append(
            _escaped(say(notice.language, "Next update by {time}.", time=notice.next_update_by))
        )
    if notice.url:
        label = N_("Confirm") if notice.confirms else N_("Details")
        parts.append(f"<{notice.url}|{_escaped(say(notice.language, label))}>")
    if manage_url:
        parts.append(f"<{manage_url}|{_escaped(say(notice.language, 'Settings'))}>")
    return " · ".join(parts) or _escaped(notice.sender)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": cut(text, SECTION_CHARS_MAX), "verbatim": True}


def _plain(block: dict[str, Any]) -> str:
    words = block["elements"][0] if "elements" in block else block["text"]
    return str(words["text"])


def _escaped(text: str) -> str:
    """Return text in which nothing is a link or a mention: Slack asks for these three."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _outcome(answer: _guard.Answer) -> Outcome:
    said = answer.body.decode("utf-8", "replace").strip()[:60]
    if answer.status == 200 and said == "ok":
        return accepted()
    if said in _GONE or answer.status in (404, 410):
        return refused(f"Slack: {said or answer.status}", dead=True)
    if answer.status in (400, 403):
        return refused(f"Slack: {said or answer.status}")
    if answer.status == 200:
        return retry("Slack's answer was not its ok")
    return _guard.outcome_of(answer)
