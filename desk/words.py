"""Lengths of time as people say them."""

from datetime import datetime, timedelta


def span(length: timedelta) -> str:
    """Return a length as people say it: "42 s", "12 min", "1 h 08 min"."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def ago(at: datetime, now: datetime) -> str:
    return f"{span(now - at)} ago"
