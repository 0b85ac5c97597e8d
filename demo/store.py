"""What the mailbox keeps: the newest messages whole, older ones light, both bounded."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from itertools import islice
from time import time

from demo.faults import iso

# Whole messages kept, and the light form of older ones: about 0.5 KB each.
WHOLE_MAX = 5_000
WHOLE_BYTES_MAX = 128 * 2**20
LIGHT_MAX = 200_000

WANTED = (
    "subject",
    "from",
    "message-id",
    "list-unsubscribe",
    "auto-submitted",
    "references",
)
HEADER = re.compile(
    rb"^(%s):[ \t]*(.*(?:\r?\n[ \t].*)*)" % "|".join(WANTED).encode(),
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Light:
    """What is kept of an old message: enough to count what was lost or sent twice."""

    number: int
    accepted_s: float
    to: tuple[str, ...]
    subject: str
    message_id: str
    references: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A message as it arrived."""

    light: Light
    sender: str
    raw: bytes
    headers: Mapping[str, str]


class Store:
    """What arrived: the newest whole, older ones light, both bounded."""

    def __init__(
        self, *, whole_max: int = WHOLE_MAX, whole_bytes_max: int = WHOLE_BYTES_MAX
    ) -> None:
        self.whole_max = whole_max
        self.whole_bytes_max = whole_bytes_max
        self.count = 0
        self._whole: OrderedDict[int, Whole] = OrderedDict()
        self._whole_bytes = 0
        self._light: deque[Light] = deque(maxlen=LIGHT_MAX)
        self._same: dict[str, str] = {}

    def add(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> None:
        """Keep one message."""
        headers = wanted_headers(raw)
        self.count += 1
        light = Light(
            number=self.count,
            accepted_s=time(),
            to=recipients,
            subject=self._shared(headers.get("subject", "")),
            message_id=headers.get("message-id", ""),
            references=self._shared(headers.get("references", "")),
        )
        self._light.append(light)
        self._whole[light.number] = Whole(light, sender, raw, headers)
        self._whole_bytes += len(raw)
        while len(self._whole) > self.whole_max or self._whole_bytes > self.whole_bytes_max:
            self._whole_bytes -= len(self._whole.popitem(last=False)[1].raw)

    def _shared(self, text: str) -> str:
        """Return one copy of a text that thousands of messages have in common."""
        if len(self._same) > WHOLE_MAX:
            self._same.clear()
        return self._same.setdefault(text, text)

    def clear(self) -> None:
        """Forget all messages; numbers go on, so that `since` stays true."""
        self._whole.clear()
        self._light.clear()
        self._whole_bytes = 0

    def kept(self) -> int:
        """Return how many messages are still known."""
        return len(self._light)

    def whole(self, number: int) -> Whole | None:
        """Return a message that is still kept whole."""
        return self._whole.get(number)

    def newest_first(self, limit: int) -> list[Light]:
        """Return the newest messages."""
        return list(islice(reversed(self._light), limit))

    def after(self, number: int, limit: int) -> list[Light]:
        """Return the messages after `number`, oldest first."""
        if not self._light:
            return []
        skip = max(0, number + 1 - self._light[0].number)
        if skip <= len(self._light) // 2:
            return list(islice(self._light, skip, skip + limit))
        tail = list(islice(reversed(self._light), max(0, len(self._light) - skip)))
        return tail[::-1][:limit]

    def metadata(self, light: Light) -> dict[str, object]:
        """Return the metadata of one message; an old one has fewer fields."""
        found: dict[str, object] = {
            "n": light.number,
            "time": iso(datetime.fromtimestamp(light.accepted_s, UTC)),
            "to": list(light.to),
            "subject": readable(light.subject),
            "message_id": light.message_id,
            "references": light.references,
            "is_whole": False,
        }
        whole = self._whole.get(light.number)
        if whole is not None:
            found |= {
                "is_whole": True,
                "envelope_from": whole.sender,
                "from": readable(whole.headers.get("from", "")),
                "list_unsubscribe": whole.headers.get("list-unsubscribe", ""),
                "auto_submitted": whole.headers.get("auto-submitted", ""),
                "bytes": len(whole.raw),
            }
        return found


def wanted_headers(raw: bytes) -> dict[str, str]:
    """Return the headers we list, unfolded. A whole parse would cost ten times as much."""
    end = raw.find(b"\r\n\r\n")
    head = raw if end < 0 else raw[:end]
    return {
        name.decode("ascii").lower(): re.sub(
            r"\r?\n[ \t]+", " ", value.decode("utf-8", "replace")
        ).strip()
        for name, value in HEADER.findall(head)
    }


def readable(header: str) -> str:
    """Return a header with its encoded words decoded; a broken one as it is."""
    if "=?" not in header:
        return header
    try:
        return str(make_header(decode_header(header)))
    except (HeaderParseError, LookupError, ValueError):
        return header
