"""The other ends of the line: how each number takes what is sent, and what it has said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from demo.faults import FaultRefused

STOP_WORDS = frozenset(
    [
        "stop",
        "stopall",
        "unsubscribe",
        "cancel",
        "end",
        "quit",
        "revoke",
        "optout",
    ]  # channels.md 4.1
)
START_WORDS = frozenset(["start", "yes", "unstop"])


@dataclass(frozen=True, slots=True)
class Phone:
    """What happens at the other end of a number. `answer` may name several words, one for each call; the last one stays."""

    sms: str = "delivered"
    answer: str = "yes"
    digits: str = "1"


PHONE_WORDS: Mapping[str, tuple[str, ...]] = {
    "sms": ("delivered", "undelivered", "failed", "sent"),
    "answer": ("yes", "no", "busy", "hang"),
}
EVERY_PHONE = "*"


def read_phones(raw: object) -> dict[str, Phone]:
    """Read what PUT /phones sends, or raise FaultRefused with one sentence."""
    if not isinstance(raw, dict):
        raise FaultRefused('Phones must be an object such as {"*": {"answer": "no"}}.')
    return {str(number): _read_phone(str(number), given) for number, given in raw.items()}


def _read_phone(number: str, given: object) -> Phone:
    if not isinstance(given, dict) or not set(given) <= {"sms", "answer", "digits"}:
        raise FaultRefused(f"{number[:20]} must be an object of sms, answer and digits.")
    for name, words in PHONE_WORDS.items():
        said = str(given.get(name, words[0]))
        if not set(said.split(",") if name == "answer" else [said]) <= set(words):
            raise FaultRefused(f"{number[:20]}.{name} must be one of {', '.join(words)}.")
    if not re.fullmatch(r"[0-9*#]{1,10}", str(given.get("digits", "1"))):
        raise FaultRefused(f"{number[:20]}.digits must be keys of a telephone.")
    return replace(Phone(), **{name: str(value) for name, value in given.items()})


class PhoneBook:
    """All numbers: how they behave, and which of them said STOP."""

    def __init__(self) -> None:
        self.stopped: set[str] = set()
        self._phones: dict[str, Phone] = {}
        self._calls: Counter[str] = Counter()

    def put(self, raw: object) -> None:
        """Replace all phones; a refused `raw` changes nothing."""
        self._phones = read_phones(raw)
        self._calls.clear()

    def called(self, number: str) -> Phone:
        """Return how this number takes its next call."""
        phone = self.of(number)
        words = phone.answer.split(",")
        taken = self._calls[number]
        self._calls[number] += 1
        return replace(phone, answer=words[min(taken, len(words) - 1)])

    def of(self, number: str) -> Phone:
        """Return how this number behaves."""
        return self._phones.get(number) or self._phones.get(EVERY_PHONE) or Phone()

    def hear(self, number: str, body: str) -> str | None:
        """Obey STOP and START as Twilio does; return which of them it was."""
        word = body.strip().lower()
        if word in STOP_WORDS:
            self.stopped.add(number)
            return "STOP"
        if word in START_WORDS:
            self.stopped.discard(number)
            return "START"
        return None

    def as_json(self) -> dict[str, object]:
        """Return what could be PUT again, and who said STOP."""
        phones = {number: asdict(phone) for number, phone in self._phones.items()}
        return {"phones": phones, "stopped": sorted(self.stopped)}
