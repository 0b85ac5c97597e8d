"""The site that the real-time scenarios watch, with every second divided."""

from benchmarks import eyes_net as net
from benchmarks.eyes_room import FOLLOW_PORT, PORT
from benchmarks.eyes_scaled import SCALE

FOLLOW = f"http://{net.FOLLOW}:{FOLLOW_PORT}"
JOURNEY, SHARE = "journey", "share"
# The parts that each check speaks for; the two paths of Follow fail independently (follow-service.md).
LOGIN, READ, SHARE_LOGIN, SHARE_READ = "login", "follow", "share-login", "share-follow"
PARTS = {
    LOGIN: "Log in",
    READ: "Readings",
    SHARE_LOGIN: "Log in, Share",
    SHARE_READ: "Readings, Share",
}

INTERVAL_S = 30 / SCALE
TIMEOUT_S = 10 / SCALE
# The canary uploads each 60 s; D7 asks for 270 s with an age of 180 s.
MAX_AGE_S = 180 / SCALE
RECOVER_S, RESOLVE_S = 300 / SCALE, 1800 / SCALE
RULE = {
    "consecutive": 2,
    "retry_after_s": 2 / SCALE,
    "recover_after_s": RECOVER_S,
    "resolve_after_s": RESOLVE_S,
    "reopen_within_s": 21_600 / SCALE,
    "min_failures": 3,
    "of_last": 10,
}


def site(locations: tuple[str, ...], *, publishes: bool) -> dict[str, object]:
    """Return site.yaml as data; with `publishes`, every bad verdict goes public at once."""
    bad = ["degraded", "partial", "outage", "stale"]
    policies = [
        {"component": slug, "verdicts": bad, "publish": "auto", "veto_s": 0} for slug in PARTS
    ]
    return {
        "page": {"name": "Follow status", "url": f"http://{net.SERVER}:{PORT}"},
        "references": [f"{address}:{net.REFERENCE_PORT}" for address in net.REFERENCES],
        "components": [{"slug": slug, "name": name} for slug, name in PARTS.items()],
        "checks": [_journey(locations), _share(locations)],
        "policies": policies if publishes else [],
    }


def _common(slug: str, kind: str, locations: tuple[str, ...]) -> dict[str, object]:
    return {
        "slug": slug,
        "kind": kind,
        "interval_s": int(INTERVAL_S),
        "timeout_s": TIMEOUT_S,
        "locations": list(locations),
        "allow_private": True,
        "verdict": RULE,
    }


def _journey(locations: tuple[str, ...]) -> dict[str, object]:
    zeros = "00000000-0000-0000-0000-000000000000"
    log_in = {
        "name": "log in",
        "component": LOGIN,
        "method": "POST",
        "url": f"{FOLLOW}/auth/login",
        "json": {"user": "${SHARE_USER}", "password": "${SHARE_PASSWORD}"},
        "expect": {
            "status": 200,
            "content_type": "application/json",
            "body": [{"path": "token", "type": "string", "min_length": 8, "not_equals": zeros}],
        },
        "save": {"token": "token"},
    }
    read = {
        "name": "newest reading",
        "component": READ,
        "url": f"{FOLLOW}/follow/latest",
        "headers": {"Authorization": "Bearer {token}"},
        "expect": {
            "status": 200,
            "content_type": "application/json",
            "body": [
                {"path": "[0].value", "between": [20, 600]},
                {"path": "[0].time", "max_age_s": MAX_AGE_S, "max_future_s": 60 / SCALE},
            ],
        },
    }
    return {**_common(JOURNEY, "http", locations), "steps": [log_in, read]}


def _share(locations: tuple[str, ...]) -> dict[str, object]:
    return {
        **_common(SHARE, "share", locations),
        "path": "publisher",
        "component": SHARE_READ,
        "login_component": SHARE_LOGIN,
        "url": f"{FOLLOW}/ShareWebServices/Services",
        "accounts": [{"name": "${SHARE_USER}", "password": "${SHARE_PASSWORD}"}],
        "max_age_s": MAX_AGE_S,
    }
