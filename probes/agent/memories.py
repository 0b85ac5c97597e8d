"""What the kinds remember across restarts: plain facts on disk, and never a secret."""

import json
from typing import Any, Final

from probes.agent.buffer import Buffer

# Ten accounts of a check take under 2 KB.
FACTS_BYTES_MAX: Final = 64 * 1024


class Facts:
    """The facts of one check, read when it starts and written after a run that changed them."""

    def __init__(self, buffer: Buffer, slug: str) -> None:
        self._buffer = buffer
        self._name = f"facts {slug}"
        self._written = buffer.kept(self._name) or "{}"
        self.of_check = _read(self._written)

    def write(self) -> None:
        """Write what changed; more than FACTS_BYTES_MAX is not kept."""
        text = json.dumps(self.of_check, sort_keys=True)
        if text != self._written and len(text) <= FACTS_BYTES_MAX:
            self._buffer.keep(self._name, text)
            self._written = text


def _read(text: str) -> dict[str, Any]:  # Any: what JSON can hold.
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
