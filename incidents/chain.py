"""The chain over the audit: each link's hash covers the entry and the link before it."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

FIRST = "0" * 64  # what the first link stands on


def link(
    previous: str, *, position: int, at: datetime, actor: str, action: str, subject: str,
    before: Mapping[str, Any], after: Mapping[str, Any],  # Any: JSON
) -> str:  # fmt: skip
    """Return the hash of one entry at its place in the chain, in hexadecimal."""
    words = [
        previous,
        position,
        at.astimezone(UTC).isoformat(),
        actor,
        action,
        subject,
        before,
        after,
    ]
    text = json.dumps(words, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
