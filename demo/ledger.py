"""What each provider accepted, and what became of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from demo.faults import iso

# Of each provider the newest are kept.
ENTRIES_MAX = 20_000


class Provider(StrEnum):
    """Who was asked to send: the names of the targets in /faults and of the ledger."""

    SMS = "twilio-sms"
    VOICE = "twilio-voice"
    X = "x"
    FACEBOOK = "facebook"


@dataclass(slots=True)
class Entry:
    """One thing that a provider accepted, and what became of it."""

    provider: Provider
    id: str
    at: datetime
    to: str
    sender: str
    body: str
    status: str
    callback_url: str = ""
    in_reply_to: str = ""
    link: str = ""
    said: list[str] = field(default_factory=list)
    pressed: str = ""
    callbacks: list[dict[str, object]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the entry for /ledger.json."""
        return {
            "provider": self.provider.value,
            "id": self.id,
            "time": iso(self.at),
            "to": self.to,
            "from": self.sender,
            "body": self.body,
            "status": self.status,
            "callback_url": self.callback_url,
            "in_reply_to": self.in_reply_to,
            "link": self.link,
            "said": self.said,
            "pressed": self.pressed,
            "callbacks": self.callbacks,
        }


class Ledger:
    """What each provider accepted, newest last, bounded."""

    def __init__(self) -> None:
        self._entries: dict[Provider, OrderedDict[str, Entry]] = {
            provider: OrderedDict() for provider in Provider
        }

    def add(self, entry: Entry) -> None:
        """Keep `entry`; the oldest goes when there are too many."""
        kept = self._entries[entry.provider]
        kept[entry.id] = entry
        if len(kept) > ENTRIES_MAX:
            kept.popitem(last=False)

    def get(self, provider: Provider, entry_id: str) -> Entry | None:
        """Return one entry by its id."""
        return self._entries[provider].get(entry_id)

    def newest_first(self, provider: Provider) -> list[Entry]:
        """Return all of one provider's."""
        return list(reversed(self._entries[provider].values()))

    def remove(self, entry: Entry) -> None:
        """Forget one entry."""
        self._entries[entry.provider].pop(entry.id, None)

    def clear(self) -> None:
        """Forget everything."""
        for kept in self._entries.values():
            kept.clear()

    def as_json(self) -> dict[str, object]:
        """Return all entries, newest first, per provider."""
        return {
            provider.value: [entry.as_json() for entry in self.newest_first(provider)]
            for provider in Provider
        }
