"""The ways in which the Follow service fails, F1 to F22, and where each can be shown."""

from __future__ import annotations

from collections.abc import Mapping

from demo.faults import HANG_S, Menu, NumberOption, TextOption

COMMON = ("F1", "F2", "F3", "F10", "F11", "F15", "F16", "F22")
MENU = Menu(
    shapes={
        "login": (*COMMON, "F4", "F5", "F6", "F7", "F13", "F14"),
        "read": (*COMMON, "F8", "F9", "F12", "F13", "F19", "F20"),
        "all": COMMON,
        "alerts": ("F17", "F15", "F16"),
        "certificate": ("F21",),
        "upload": ("F18", "F1", "F2", "F3", "F15", "F16", "F22"),
    },
    options={
        "hang_s": HANG_S,
        "delay_s": NumberOption(0, 120),
        "age_s": NumberOption(0, 86_400),
        "skew_s": NumberOption(-86_400, 86_400),
        "retry_after_s": NumberOption(0, 86_400),
        "status": NumberOption(200, 599, whole=True),
        "days_left": NumberOption(-300, 365),
        "name": TextOption(),
        "cohort": TextOption(),
        "account": TextOption(),
        "path": TextOption(("rest", "publisher", "subscriber")),
    },
    default_ratio={"F15": 0.4},
)

SHAPES_IN_WORDS: Mapping[str, str] = {
    "F1": "closes the connection without an answer, or refuses it",
    "F2": "is overloaded: 503 after a while",
    "F3": "answers with a general fault (500)",
    "F4": "says the probe's password is wrong",
    "F5": "says everybody's password is wrong",
    "F6": "says the probe is locked out",
    "F7": "logs in with an all-zero session",
    "F8": "gives no readings at all",
    "F9": "gives the same old reading for ever",
    "F10": "answers 200 with nothing in it",
    "F11": "answers 200 with a web page",
    "F12": "changes the form of a reading",
    "F13": "fails for accounts outside the US only",
    "F14": "fails for unusual account names only",
    "F15": "fails now and then",
    "F16": "is right but slow",
    "F17": "sends no alerts",
    "F18": "loses what the sensor uploads",
    "F19": "gives readings from the future",
    "F20": "has sharing switched off on the probe's account",
    "F21": "ends in a few days, or is another's",
    "F22": "says too many requests (429)",
}
# These shapes concern one account unless told otherwise.
ONE_ACCOUNT_SHAPES = ("F4", "F6", "F20")
DEFAULT_COHORT = "ous"
NIGHT: Mapping[str, object] = {"login": "F2", "read": "F9", "alerts": "F17"}

TARGETS_IN_WORDS: Mapping[str, str] = {
    "login": "Log in",
    "read": "Reading values",
    "all": "The whole service",
    "alerts": "Alerts to followers",
    "certificate": "The certificate",
    "upload": "Upload from the sensor",
}


# How long "slow" takes unless the options say otherwise.
SLOW_S = 8.0
