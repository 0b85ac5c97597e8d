"""What people should do, chosen by what is known to work: approved once, locked against free edit."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

# communication.md: facts from the manufacturer's and the FDA's texts; each installation lets a clinician approve them
# (ADVICE_APPROVED_BY). To change a sentence is to approve it again.


class Known(StrEnum):
    WORKING = "working"
    FAILING = "failing"
    UNKNOWN = "unknown"


VARIABLES = {
    "remote_data": "Readings reach followers",
    "remote_alerts": "Alerts reach followers",
    "primary_device_readings": "The wearer's own device shows readings",
    "primary_device_alarms": "The wearer's own device sounds alarms",
    "app_login": "Log-in to the apps",
}

CHECK_DEVICE = "Check the wearer or their own device now."
CHECK_WEARER = "Check the wearer now."
ALERTS_LATE = "Readings arrive, alerts may not: look at the readings yourself."
READINGS_LATE = "Alerts arrive, readings may not."
OWN_ALARMS = "Alarms on the wearer's own phone or receiver still work. Keep that device charged, in range, volume up."
NO_APP = "Do not rely on any app. Check with a fingerstick meter as often as your care plan says."
STAY_IN = "Stay logged in: who logs out may not get in again."
KEEP_APPS = "Do not delete, re-install or log out of any app."
EMERGENCY = "If the wearer is unwell, confused or cannot be woken, call emergency services."
NO_ADVICE = "This is a service notice, not medical advice; follow your care plan."

LOOK_AGAIN = "Open Follow, confirm a reading less than 10 minutes old, and confirm that notifications are on."
BURST = "Late alerts may now arrive in a burst."


def read(said: Mapping[str, object]) -> dict[str, Known]:
    """Return all five variables; what was not said, or is no word of ours, is unknown."""
    words = {word.value for word in Known}
    return {
        name: Known(value) if (value := str(said.get(name, ""))) in words else Known.UNKNOWN
        for name in VARIABLES
    }


def block(known: Mapping[str, Known]) -> str:
    """Return the advice while it lasts; the first sentence must make sense alone, on a lock screen."""
    lines = [
        _remote(known), _own(known), STAY_IN if known["app_login"] is Known.FAILING else "", KEEP_APPS, EMERGENCY,
        NO_ADVICE,
    ]  # fmt: skip
    return " ".join(line for line in lines if line)


def all_clear(missed: tuple[datetime, datetime] | None, *, time_zone: str) -> str:
    """Return the advice at the end, with the window in which alerts may have been missed."""
    return " ".join(line for line in (LOOK_AGAIN, window(missed, time_zone), BURST) if line)


def window(missed: tuple[datetime, datetime] | None, time_zone: str) -> str:
    """Say the window in the page's own time, with its zone."""
    if missed is None:
        return ""
    zone = ZoneInfo(time_zone)
    start, end = (at.astimezone(zone) for at in missed)
    if start.date() == end.date():
        said = f"from {start:%H:%M} to {end:%H:%M} {end:%Z}"
    else:
        said = f"from {_dated(start)} to {_dated(end)} {end:%Z}"
    return f"Alerts {said} may have been missed."


def _remote(known: Mapping[str, Known]) -> str:
    match known["remote_data"], known["remote_alerts"]:
        case Known.WORKING, Known.WORKING:
            return ""
        case Known.WORKING, _:
            return ALERTS_LATE
        case _, Known.WORKING:
            return f"{_check(known)} {READINGS_LATE}"
        case _:
            return _check(known)


def _check(known: Mapping[str, Known]) -> str:
    """A device that shows no readings is nothing to look at."""
    return CHECK_WEARER if known["primary_device_readings"] is Known.FAILING else CHECK_DEVICE


def _own(known: Mapping[str, Known]) -> str:
    """Alarms count only when they are known to sound, and on readings that are not known to fail."""
    sounds = known["primary_device_alarms"] is Known.WORKING
    is_blind = known["primary_device_readings"] is Known.FAILING
    return OWN_ALARMS if sounds and not is_blind else NO_APP


def _dated(at: datetime) -> str:
    return f"{at.day} {at:%b %H:%M}"
