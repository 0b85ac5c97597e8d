"""Every way in which the demo's Follow service fails, seen by the real kinds of check."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import requests

from demo.accounts import ZERO_UUID
from demo.follow import Follow, FollowOptions, running
from demo.shapes import MENU
from demo.share import SHARE
from probes import kinds
from probes.kinds import CheckSpec, Memory, Observation
from tests.probes import test_alert, test_canary

PASSWORD = "password-of-the-test"
TIMEOUT_S = 6.0
# Nobody needs to wait longer for an answer that never comes.
HANG_TIMEOUT_S = 1.0
SLOW_OVER_S = 1.0
HANG: Final = {"hang_s": 60}
SLOW: Final = {"delay_s": 1.2}
ALWAYS: Final = {"ratio": 1}
WELL = ("ok", "")


@dataclass(frozen=True)
class Row:
    """A fault, and what each kind makes of it: outcome and shape of the last step."""

    target: str
    shape: str
    seen: Mapping[str, tuple[str, str]]
    options: Mapping[str, Any] = field(default_factory=dict)
    account: str = "probe"

    @property
    def takes_long(self) -> bool:
        """Whether somebody waits for something."""
        return self.options in (HANG, SLOW) or self.target == "alerts"

    def __str__(self) -> str:
        more = "".join(f" {name}={value}" for name, value in self.options.items())
        return f"{self.target} {self.shape}{more}"


def both(http: tuple[str, str], share: tuple[str, str]) -> dict[str, tuple[str, str]]:
    return {"http": http, "share": share}


def failing(http: str, share: str) -> dict[str, tuple[str, str]]:
    return both(("target_fail", http), ("target_fail", share))


def common(target: str) -> list[Row]:
    """What logging in, reading and the whole service have in common."""
    shut = "refused" if target == "all" else "reset"
    limited = both(("blocked_us", "limited"), ("blocked_us", "F22"))
    walled = both(("blocked_us", "blocked"), ("blocked_us", "F11"))
    return [
        Row(target, "F1", failing(shut, "F1")),
        Row(target, "F2", failing("http", "F2")),
        Row(target, "F2", failing("http", "F2"), {"status": 502}),
        Row(target, "F2", failing("timeout", "F2"), HANG),
        Row(target, "F3", failing("http", "F3")),
        Row(target, "F10", failing("body", "F10")),
        Row(target, "F11", failing("body", "F11")),
        Row(target, "F11", walled, {"status": 403}),
        Row(target, "F15", failing("http", "F2"), ALWAYS),
        Row(target, "F16", both(("slow", "slow"), ("slow", "F16")), SLOW),
        Row(target, "F22", limited),
    ]


def upload(shape: str, seen: tuple[str, str], **options: Any) -> Row:
    return Row("upload", shape, {"canary": seen}, options)


ROWS: Final = [
    *common("login"),
    *common("read"),
    *common("all"),
    Row("login", "F4", both(("auth_suspect", "rejected"), ("auth_suspect", "F4"))),
    # Of one account alone nobody can tell; of two: test_share.py.
    Row("login", "F5", both(("auth_suspect", "rejected"), ("auth_suspect", "F4"))),
    Row("login", "F6", both(("prober_fault", "locked"), ("prober_fault", "F6"))),
    Row("login", "F7", failing("body", "F7")),
    Row("login", "F13", failing("http", "F3"), account="europe"),
    Row("login", "F13", both(WELL, WELL)),
    Row("login", "F14", failing("http", "F7"), account="ana.maria+share"),
    Row("login", "F14", both(WELL, WELL)),
    Row("read", "F8", failing("body", "F8")),
    Row("read", "F9", failing("body", "F9")),
    Row("read", "F12", both(("target_fail", "body"), WELL)),
    Row("read", "F13", failing("body", "F9"), account="europe"),
    Row("read", "F13", both(WELL, WELL)),
    Row("read", "F19", failing("body", "F19")),
    Row("read", "F20", failing("body", "F8")),
    Row("read", "F20", both(WELL, WELL), account="probe2"),
    Row("alerts", "F15", {"alert": ("target_fail", "F17")}, ALWAYS),
    Row("alerts", "F16", {"alert": ("slow", "F16")}, SLOW),
    Row("alerts", "F17", {"alert": ("target_fail", "F17")}),
    upload("F1", ("target_fail", "reset")),
    upload("F2", ("target_fail", "http")),
    upload("F3", ("target_fail", "http")),
    upload("F15", ("target_fail", "http"), **ALWAYS),
    upload("F16", ("slow", "slow"), **SLOW),
    # The first of a canary's runs: it has not had the time to come out.
    upload("F18", WELL),
    upload("F22", ("blocked_us", "limited")),
    Row("certificate", "F21", {"tls": ("slow", "F21")}),
    Row("certificate", "F21", {"tls": ("target_fail", "F21")}, {"name": "another.example"}),
    Row("certificate", "F21", {"tls": ("target_fail", "F21")}, {"days_left": -1}),
]


@pytest.fixture(scope="module")
def service() -> Iterator[Follow]:
    with running(FollowOptions(password=PASSWORD, no_data_after_s=60)) as follow:
        yield follow


@pytest.fixture
def follow(service: Follow) -> Iterator[Follow]:
    yield service
    service.put_faults({})
    service.service.alerts.devices.clear()


def spec_of(kind: str, follow: Follow, account: str) -> dict[str, Any]:
    told = requests.get(f"{follow.url}/doors", timeout=TIMEOUT_S).json()
    match kind:
        case "http":
            return {"allow_private": True, "steps": journey(told["plain"], account)}
        case "share":
            return {
                "component": "follow",
                "login_component": "login",
                "url": told["plain"] + SHARE,
                "accounts": [{"name": account, "password": "${SHARE_PASSWORD}"}],
                "allow_private": True,
                "degraded_over_s": SLOW_OVER_S,
            }
        case "canary":
            spec = test_canary.spec(told["plain"])
            spec["write"][1]["expect"] |= {"degraded_over_s": SLOW_OVER_S}
            return spec
        case "alert":
            return test_alert.spec(told["plain"], wait_s=2, degraded_over_s=SLOW_OVER_S)
        case _:
            return {
                "component": "login",
                "host": "localhost",
                "port": int(told["tls"].rpartition(":")[2]),
                "authorities": told["authority"],
                "allow_private": True,
            }


def journey(url: str, account: str) -> list[dict[str, Any]]:
    token = {"path": "token", "type": "string", "min_length": 8, "not_equals": ZERO_UUID}
    return [
        {
            "name": "log in",
            "component": "login",
            "method": "POST",
            "url": f"{url}/auth/login",
            "json": {"user": account, "password": "${SHARE_PASSWORD}"},
            "expect": {"status": 200, "body": [token], "degraded_over_s": SLOW_OVER_S},
            "save": {"token": "token"},
        },
        {
            "name": "newest reading",
            "component": "follow",
            "url": f"{url}/follow/latest",
            "headers": {"Authorization": "Bearer {token}"},
            "expect": {
                "status": 200,
                "content_type": "application/json",
                "body": [
                    {"path": "[0].value", "between": [20, 600]},
                    {"path": "[0].time", "max_age_s": 660, "max_future_s": 60},
                ],
                "degraded_over_s": SLOW_OVER_S,
            },
        },
    ]


def look(
    kind: str, follow: Follow, account: str = "probe", timeout_s: float = TIMEOUT_S
) -> Observation:
    async def scene() -> Observation:
        memory = Memory({"SHARE_PASSWORD": PASSWORD})
        check = CheckSpec("check", kind, 30, timeout_s, 0, spec_of(kind, follow, account))
        try:
            return await kinds.load(kind).run(check, memory, datetime.now(UTC), timeout_s)
        finally:
            await memory.close()

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        pytest.param(row, kind, id=f"{row}: {kind}", marks=[pytest.mark.slow] * row.takes_long)
        for row in ROWS
        for kind in row.seen
    ],
)
def test_every_shape_has_its_outcome_and_its_name(follow: Follow, row: Row, kind: str) -> None:
    assert follow.put_faults({row.target: {"shape": row.shape, **row.options}}).status == 200

    timeout_s = HANG_TIMEOUT_S if row.options == HANG else TIMEOUT_S
    found = look(kind, follow, row.account, timeout_s)

    blamed = next((step for step in found.steps if step.outcome == found.outcome), None)
    assert blamed is not None, found.reason
    assert (found.outcome.value, blamed.shape) == row.seen[kind]
    assert bool(blamed.reason) == (row.seen[kind] != WELL)
    assert PASSWORD not in repr(found)


def test_no_shape_that_the_demo_can_show_is_left_out() -> None:
    shown = {(target, shape) for target, shapes in MENU.shapes.items() for shape in shapes}

    assert {(row.target, row.shape) for row in ROWS} == shown


@pytest.mark.parametrize("kind", ["http", "share", "canary", "alert", "tls"])
def test_a_service_that_is_well_is_ok_to_every_kind(follow: Follow, kind: str) -> None:
    assert look(kind, follow).outcome.value == "ok"


@pytest.mark.parametrize("kind", ["http", "share"])
def test_every_phase_of_every_step_is_timed(follow: Follow, kind: str) -> None:
    for step in look(kind, follow).steps:
        assert set(step.phases_ms) == {"dns", "connect", "tls", "first_byte", "total"}


@pytest.mark.parametrize(
    ("faults", "known"),
    [
        pytest.param({"login": "F1"}, {"dns", "connect", "tls", "total"}, id="no first byte"),
        pytest.param({"all": "F1"}, {"total"}, id="no connection"),
    ],
)
def test_a_failing_step_is_timed_as_far_as_it_came(
    follow: Follow, faults: Mapping[str, str], known: set[str]
) -> None:
    follow.put_faults(faults)

    for kind in ("http", "share"):
        assert set(look(kind, follow).steps[0].phases_ms) == known


def test_a_failing_answer_is_shown_by_both_kinds(follow: Follow) -> None:
    follow.put_faults({"read": "F11"})

    for kind in ("http", "share"):
        assert "Checking your browser" in look(kind, follow).answer


def test_a_changed_form_is_a_warning_of_share(follow: Follow) -> None:
    follow.put_faults({"read": "F12"})

    assert look("share", follow).warnings == (
        "the form of a reading changed: [0].Trend was no text",
    )
