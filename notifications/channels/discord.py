"""Discord, by the webhook of a channel."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from notifications.channels import AddressKind, Outcome, Recipient, _guard, accepted, refused, retry
from notifications.messages import Notice, cut, say

NAME = "discord"
LABEL = "Discord"
ADDRESS_KIND = AddressKind.URL

# https://discord.com/developers/docs/resources/message#embed-object-embed-limits
TITLE_CHARS_MAX: Final = 256
TEXT_CHARS_MAX: Final = 4096
FIELD_CHARS_MAX: Final = 1024
_COLOURS: Final = {"bad": 0xC62828, "good": 0x2E7D32, "plain": 0x5F6368}


@dataclass(frozen=True, slots=True)
class Discord:
    poster: _guard.Poster
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "discord"
    group: int = 1
    per_s: float | None = None

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        body = json.dumps(message(notice)).encode()
        for recipient in batch:
            # wait=true: the answer comes when the message is there, with its id.
            joint = "&" if "?" in recipient.address else "?"
            answer = _guard.attempt(
                self.poster,
                f"{recipient.address}{joint}wait=true",
                body,
                {"Content-Type": "application/json", "User-Agent": "statuspage"},
            )
            yield recipient.delivery, answer if isinstance(answer, Outcome) else _outcome(answer)

    def preview(self, notice: Notice) -> str:
        embed = message(notice)["embeds"][0]
        fields = [f"{field['name']}: {field['value']}" for field in embed["fields"]]
        return "\n\n".join([embed["title"], embed["description"], *fields])

    def close(self) -> None:
        self.poster.close()


def configure(environ: Mapping[str, str]) -> Discord:
    return Discord(_guard.Poster(allow_private=_guard.allows_private(environ)))


def message(notice: Notice) -> dict[str, Any]:  # Any: JSON.
    """Return the message: one embed, and nobody mentioned whatever the words are."""
    said = "\n".join(part for part in (notice.state, notice.body) if part)
    fields = []
    if notice.what_to_do:
        fields.append(
            {
                "name": say(notice.language, "What to do now"),
                "value": cut(notice.what_to_do, FIELD_CHARS_MAX),
            }
        )
    if notice.next_update_by:
        fields.append(
            {"name": say(notice.language, "Next update by"), "value": notice.next_update_by}
        )
    tone = _tone(notice)
    embed: dict[str, Any] = {
        "title": cut(notice.headline or notice.subject, TITLE_CHARS_MAX),
        "description": cut(said, TEXT_CHARS_MAX),
        "color": _COLOURS[tone],
        "timestamp": notice.published_at.astimezone(UTC).isoformat(),
        "fields": fields,
        "footer": {"text": cut(notice.sender, FIELD_CHARS_MAX)},
    }
    if notice.url:
        embed["url"] = notice.url
    content = f"{say(notice.language, 'Confirm')}: {notice.url}" if notice.confirms else ""
    return {"content": content, "embeds": [embed], "allowed_mentions": {"parse": []}}


def _tone(notice: Notice) -> str:
    if notice.kind != "update":
        return "plain"
    return "good" if notice.final else "bad"


def _outcome(answer: _guard.Answer) -> Outcome:
    words = _object(answer.body)
    if answer.status in (200, 204):
        return accepted(str(words.get("id", "")))
    if answer.status == 404:
        return refused("Discord does not know this webhook any more", dead=True)
    if answer.status == 429:
        wait_s = words.get("retry_after")
        after_s = float(wait_s) if isinstance(wait_s, int | float) else None
        return retry("Discord asks to slow down", after_s=after_s)
    if answer.status in (400, 401, 403):
        return refused(f"Discord answered {answer.status}: {str(words.get('message', ''))[:80]}")
    return _guard.outcome_of(answer)


def _object(body: bytes) -> dict[str, Any]:
    try:
        words = json.loads(body)
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}
