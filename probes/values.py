"""What `{name}` and `${NAME}` in a check stand for, and what of it must never be told."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from probes.facts import ANSWER_CHARS_MAX

# Under three characters nothing can be hidden without eating the sentence around it.
SECRET_CHARS_MIN: Final = 3
HIDDEN: Final = "•••"
MARK: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")

_TELLTALE: Final = (
    r"[\w-]{0,40}(?:token|session|secret|passw|authori|cookie|api_?key|signature)[\w-]{0,40}"
)
# `sessionId=…` of a query or a form, and `"token": "…"` of JSON: what the other side made up.
_IN_QUERY: Final = re.compile(rf"(?i)\b({_TELLTALE}\s*=\s*)([^&\s\"'<>;,]{{3,}})")
_IN_JSON: Final = re.compile(rf'(?i)("{_TELLTALE}"\s*:\s*")((?:[^"\\]|\\.){{3,}})')
# Variables with such names hold what proves an account, not what names it.
_PROOF: Final = re.compile(r"(?i)pass|secret|token|key|pin\b|pwd")
# What no database and no screen takes: control characters, and halves of characters.
_UNPRINTABLE: Final = re.compile(r"[^\n\t\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NotFilled(Exception):
    """A step needs a value that the prober does not have: the prober's fault."""


def printable(text: str) -> str:
    """Return words of the other side as they can be kept: a dot for each unprintable character."""
    return _UNPRINTABLE.sub("·", text)


@dataclass(slots=True)
class Values:
    """What marks in a step stand for, and what must not be told."""

    environ: Mapping[str, str]
    # Made up by the kind itself and no secrets: a canary's number, a device's address.
    given: Mapping[str, str | int] = field(default_factory=dict)
    saved: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)

    def fill(self, text: str, *, url: bool = False) -> str:
        """Put values in place of `{name}` and `${NAME}`; `{{` and `}}` are braces."""

        def value(found: re.Match[str]) -> str:
            if found[1]:
                return self._from_environ(found[1])
            if found[2] and found[2] in self.given:
                return str(self.given[found[2]])
            if found[2]:
                # A saved value may not lead the request to another host.
                return quote(self._saved(found[2]), safe="/") if url else self._saved(found[2])
            return found[0][0]

        return MARK.sub(value, text)

    def fill_json(self, value: Any) -> Any:  # Any: whatever JSON can hold.
        """Fill every text inside a JSON value; a text that is one given number becomes one."""
        match value:
            case str():
                mark = MARK.fullmatch(value)
                if mark and mark[2] and isinstance(self.given.get(mark[2]), int):
                    return self.given[mark[2]]
                return self.fill(value)
            case list() | tuple():
                return [self.fill_json(each) for each in value]
            case dict():
                return {key: self.fill_json(each) for key, each in value.items()}
            case _:
                return value

    def named(self, text: str) -> str:
        """Fill in what names an account and leave out what proves it."""

        def value(found: re.Match[str]) -> str:
            if found[1] and not _PROOF.search(found[1]):
                return self.environ.get(found[1], "")
            return found[0]

        return MARK.sub(value, text)

    def hide(self, text: str) -> str:
        """Take every secret out of a text, the longest first."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text

    def excerpt(self, text: str) -> str:
        """Return the beginning of an answer that people may see: ANSWER_CHARS_MAX, no secret."""
        # Four times that, so that unpacking marks costs nothing and no secret is cut in two.
        head = self.hide(text)[: 4 * ANSWER_CHARS_MAX]
        head = _IN_JSON.sub(rf"\g<1>{HIDDEN}", _IN_QUERY.sub(rf"\g<1>{HIDDEN}", head))
        return printable(head)[:ANSWER_CHARS_MAX]

    def save(self, name: str, value: str) -> None:
        """Keep what an answer gave for later steps."""
        self.saved[name] = value
        self._is_secret(value)

    def _from_environ(self, name: str) -> str:
        if name not in self.environ:
            raise NotFilled(f"${{{name}}} is not set in the prober's environment")
        self._is_secret(self.environ[name])
        return self.environ[name]

    def _saved(self, name: str) -> str:
        if name not in self.saved:
            raise NotFilled(f"{{{name}}} was saved by no earlier step")
        return self.saved[name]

    def _is_secret(self, value: str) -> None:
        self.secrets |= {
            each
            for each in (value, quote(value, safe=""), json.dumps(value)[1:-1])
            if len(each) >= SECRET_CHARS_MIN
        }
