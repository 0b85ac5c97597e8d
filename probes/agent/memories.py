"""What the kinds remember across restarts: plain facts on disk, and never a secret."""

import json
from typing import Any, Final

from probes.agent.buffer import Buffer

# Ten thousand characters would be a lot for a check; the accounts of a prober take 150 each.
FACTS_CHARS_MAX: Final = 64 * 1024
ACCOUNTS_MAX: Final = 400
ACCOUNTS: Final = "accounts"

Facts = dict[str, Any]  # Any: what JSON can hold.


class Memories:
    """The facts of every check, and what all of them know of accounts: two may use the same."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._written: dict[str, str] = {}
        self.accounts = self._read(ACCOUNTS)

    def of_check(self, slug: str) -> Facts:
        """Return the facts of a check, as they were written last."""
        return self._read(f"facts {slug}") | {ACCOUNTS: self.accounts}

    def write(self, slug: str, facts: Facts) -> None:
        """Write what a run changed; more than FACTS_CHARS_MAX is not kept."""
        own = {name: value for name, value in facts.items() if name != ACCOUNTS}
        self._write(f"facts {slug}", own)
        for digest in list(self.accounts)[:-ACCOUNTS_MAX]:
            del self.accounts[digest]
        self._write(ACCOUNTS, self.accounts)

    def _read(self, name: str) -> Facts:
        text = self._written[name] = self._buffer.kept(name) or "{}"
        try:
            found = json.loads(text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, facts: Facts) -> None:
        text = json.dumps(facts, sort_keys=name != ACCOUNTS)
        if text != self._written.get(name) and len(text) <= FACTS_CHARS_MAX:
            self._buffer.keep(name, text)
            self._written[name] = text
