"""Values as cells of a CSV that a spreadsheet opens: none of them runs as a formula."""

import re
from datetime import UTC, datetime

# OWASP, "CSV Injection", and ASVS 1.2.10: these at the beginning make a spreadsheet compute.
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
_TELEPHONE = re.compile(r"\+[0-9]{4,15}")  # E.164


def cell(value: object) -> str:
    """Return the value as text; a number stays a number, a text that would compute is led by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return guarded(str(value))


def guarded(text: str) -> str:
    """Return the text without NULs, led by an apostrophe if a spreadsheet would compute it; a telephone number is no formula."""
    plain = text.replace("\0", "")
    starts = plain.lstrip(" ").startswith(_DANGEROUS) or text.startswith("\0")
    return f"'{plain}" if starts and not _TELEPHONE.fullmatch(plain) else plain
