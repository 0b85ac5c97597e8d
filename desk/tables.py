"""Values as cells of a CSV that a spreadsheet opens: none of them runs as a formula."""

from datetime import UTC, datetime

# OWASP, "CSV Injection", and ASVS 1.2.10: these at the beginning make a spreadsheet compute.
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")


def cell(value: object) -> str:
    """Return the value as text; a number stays a number, a text that would compute is led by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = str(value).replace("\0", "")
    return (
        f"'{text}"
        if text.lstrip(" ").startswith(_DANGEROUS) or str(value).startswith("\0")
        else text
    )
