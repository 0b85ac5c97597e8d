"""The pages of a check in a real browser: a phone in the dark, a desk in the light, and no script."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page, ViewportSize, sync_playwright
from pytest_django.live_server_helper import LiveServer

from probes import services
from probes.models import Check, Location, Policy, Result, VerdictChange
from tests import world
from tests.desk.test_checks import SPEC, STALE, record, run

WAIT_MS = 10_000
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@dataclass(frozen=True, slots=True)
class Screen:
    size: ViewportSize
    scheme: str


PHONE = Screen(ViewportSize(width=360, height=740), "dark")
DESK = Screen(ViewportSize(width=1280, height=900), "light")


@pytest.fixture(
    params=[pytest.param(PHONE, id="phone, dark"), pytest.param(DESK, id="desk, light")]
)
def screen(
    request: pytest.FixtureRequest, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A screen without JavaScript before ann, who is logged in."""
    # Playwright keeps a loop of its own in this thread; Django would take it for ours.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    User.objects.create_superuser("ann", password="a long password")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            viewport=request.param.size, color_scheme=request.param.scheme, base_url=live_server.url,
            java_script_enabled=False,
        )  # fmt: skip
        # The admin's own login needs a script; what must work without one is the desk.
        visitor = Client()
        visitor.force_login(User.objects.get())
        cookie = visitor.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies(
            [{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}]
        )
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        yield page
        # Inside of Playwright's loop Django keeps connections apart from those it closes itself.
        connections.close_all()
        browser.close()


def a_day(now: datetime) -> Check:
    """A day of a check at two places: an hour of trouble, an hour of silence, and trouble now."""
    for slug in ("login", "follow"):
        world.component(slug)
    for name in ("frankfurt", "new-york"):
        services.create_location(name=name, now=now)
    check = Check.objects.create(
        page=world.page(), slug="follow-journey", kind="http", spec=SPEC, interval_s=300,
        locations=["frankfurt", "new-york"], changed_at=now - timedelta(days=2),
        rule={"recover_after_s": 300},
    )  # fmt: skip
    Policy.objects.create(
        page=check.page, component=world.component("follow"), verdicts=["outage", "stale"],
        publish="notify",
    )  # fmt: skip
    chance = random.Random(7)
    for name in ("frankfurt", "new-york"):
        results = []
        for minutes in range(24 * 60, 10, -5):
            if 600 < minutes < 660 and name == "frankfurt":
                continue
            reason = "HTTP 503, expected 200" if 300 < minutes < 360 else ""
            each = run(
                now - timedelta(minutes=minutes), reason, total_ms=chance.lognormvariate(5.5, 0.4)
            )
            results.append(each)
        record(name, [_of(check, each) for each in results], now=now - timedelta(minutes=10))
        record(name, [_of(check, run(now - timedelta(minutes=m), STALE)) for m in (6, 1)], now=now)
    follow = world.component("follow")
    for old, new, minutes in (("up", "outage", 355), ("outage", "up", 300)):
        VerdictChange.objects.create(
            of_check=check, component=follow, old=old, new=new, at=now - timedelta(minutes=minutes),
            reasoning="2 of 2 probes from frankfurt and new-york failed: HTTP 503, expected 200.",
        )  # fmt: skip
    Result.objects.filter(at__gt=now - timedelta(minutes=10)).update(
        answer='[{"value": 104, "trend": "Flat", "time": "2026-11-23T22:10:00.000Z", "token": "•••"}]'
    )
    assert Location.objects.count() == 2
    return check


def _of(check: Check, result: services.NewResult) -> services.NewResult:
    return replace(result, check=check.slug)


def test_a_check_is_read_tried_and_replayed(screen: Page) -> None:
    check = a_day(timezone.now())
    broken: list[str] = []
    screen.on(
        "console", lambda said: broken.append(said.text) if "Security Policy" in said.text else None
    )

    screen.goto("/desk/")
    screen.click("text=Checks")
    screen.click(f"text={check.slug}")
    assert STALE in screen.inner_text("main")
    screen.click("text=The answer, without secrets >> nth=0")
    assert screen.locator("pre.answer >> nth=0").is_visible()
    screen.click("text=By the hour >> nth=0")
    assert screen.locator("table >> nth=0").is_visible()
    _fits(screen)

    screen.click("button:has-text('Try now')")
    screen.wait_for_selector("text=Asked: agents look within 10 s.")
    check.refresh_from_db()
    assert check.try_id

    screen.click("text=What would this rule have done?")
    screen.wait_for_selector("h2:has-text('How often')")
    assert "Not clean" in screen.inner_text("main")
    _fits(screen)
    assert broken == []


def _fits(screen: Page) -> None:
    """Nothing is wider than the screen: told by the boxes, as no script runs there."""
    size = screen.viewport_size
    assert size is not None
    boxes = [each.bounding_box() for each in screen.locator("main *:visible").all()]
    wide = [box for box in boxes if box and box["x"] + box["width"] > size["width"] + 1]
    assert wide == []
