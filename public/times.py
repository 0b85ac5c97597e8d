"""Times and spans in a reader's language and the page's zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils.html import format_html
from django.utils.safestring import SafeString

from public.phrases import MONTHS, PHRASES, SHORT_MONTHS


@dataclass(frozen=True, slots=True)
class Moments:
    """From where times are told: the moment of the snapshot, the page's zone, the language.

    `dated` gives every time its day and year: for pages that are not made anew each day.
    """

    now: datetime
    zone: ZoneInfo
    language: str = "en"
    dated: bool = False

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone)

    def time(self, at: datetime) -> SafeString:
        """Return a time element: the page's zone in words, UTC for machines and on focus."""
        local = self.local(at)
        clock = f"{local:%H:%M} {_zone_name(local)}"
        if self.dated or local.date() != self.local(self.now).date():
            clock = f"{self.day(local.date())}, {clock}"
        utc = at.astimezone(UTC)
        return format_html(
            '<time datetime="{}" title="{}">{}</time>',
            f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc.day} {utc:%b %Y %H:%M:%S} UTC", clock,
        )  # fmt: skip

    def day(self, day: date) -> str:
        """Return as "30 Nov", with the year when it is not this one."""
        short = self.short_day(day)
        this_year = not self.dated and day.year == self.local(self.now).year
        return short if this_year else f"{short} {day.year}"

    def short_day(self, day: date) -> str:
        return f"{day.day} {SHORT_MONTHS[self.language][day.month - 1]}"

    def month(self, first: date) -> str:
        """Return as "November 2019"."""
        joined = " de " if self.language == "es" else " "
        return f"{MONTHS[self.language][first.month - 1]}{joined}{first.year}"

    def span(self, span: timedelta) -> str:
        """Return as "9 s", "20 min", "1 h 08 min" or "2 days 3 h"."""
        seconds = int(span.total_seconds())
        if seconds < 60:
            return f"{seconds} s"
        minutes = seconds // 60
        if minutes < 60:
            return f"{minutes} min"
        hours, minutes = divmod(minutes, 60)
        if hours < 48:
            return f"{hours} h {minutes:02d} min"
        days, hours = divmod(hours, 24)
        say = PHRASES[self.language]
        key = "span_days_hours" if hours else "span_days"
        return say[key].format(days=days, hours=hours)


def _zone_name(local: datetime) -> str:
    """Zones without a name of their own are told by their offset: "+03" reads as "UTC+03"."""
    name = f"{local:%Z}"
    return f"UTC{name}" if name[:1] in "+-" else name
