"""Staff with a real browser: what no test client sees, such as an Origin that is refused."""

import shutil
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone
from playwright.sync_api import Page, ViewportSize, sync_playwright
from pytest_django.live_server_helper import LiveServer

from incidents.models import Incident
from notifications import outbox
from tests import world

PHONE = ViewportSize(width=360, height=740)
DESKTOP = ViewportSize(width=1280, height=900)
WAIT_MS = 10_000
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture(params=[pytest.param(PHONE, id="phone"), pytest.param(DESKTOP, id="desktop")])
def screen(
    request: pytest.FixtureRequest, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A phone or a desk screen before ann, who is logged in."""
    # Playwright keeps a loop of its own in this thread; Django would take it for ours.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    User.objects.create_superuser("ann", password="a long password")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=request.param, base_url=live_server.url)
        page.set_default_timeout(WAIT_MS)
        page.goto("/desk/")
        page.fill("input[name=username]", "ann")
        page.fill("input[name=password]", "a long password")
        page.click("button[type=submit]")
        page.wait_for_url("**/desk/")
        yield page
        # Inside of Playwright's loop Django keeps connections apart from those it closes itself.
        connections.close_all()
        browser.close()


def test_an_incident_is_declared_previewed_published_and_followed(screen: Page) -> None:
    follow = world.component()
    world.person()
    screen.keyboard.press("d")
    screen.fill("input[name=name]", "Followers may not receive readings")
    screen.fill("textarea[name=body]", "We are looking.")
    screen.select_option(f"select[name=component_{follow.pk}]", "major_outage")
    screen.wait_for_selector("text=Publish: 1 address")
    assert "Do not rely on any app." in screen.inner_text("#outlook")
    banner = banner_of(screen)
    assert "Readings and alerts" in banner or "Follow" in banner
    assert "Do not rely on any app." in banner
    screen.click("button.danger")
    screen.wait_for_url("**/desk/incidents/**")
    assert Incident.objects.get().published_at
    later = timezone.now() + timedelta(seconds=6)
    outbox.open_entries(later)
    outbox.fan_out(later)
    screen.goto("/desk/")
    screen.wait_for_selector("text=0 accepted, 1 waiting, 0 failed")


def banner_of(screen: Page) -> str:
    """Return what an app's banner would say, drawn by its own script from what is typed."""
    with screen.expect_popup() as opened:
        screen.click("text=The banner in an app")
    opened.value.wait_for_selector("status-banner[state=outage]")
    said = opened.value.evaluate("document.querySelector('status-banner').shadowRoot.textContent")
    opened.value.close()
    return str(said)


def test_a_draft_is_vetoed_with_one_thumb_and_nothing_is_wider_than_the_screen(
    screen: Page,
) -> None:
    draft = world.incident(world.component(), published=False)
    broken: list[str] = []
    screen.on("pageerror", lambda error: broken.append(str(error)))
    screen.on(
        "console", lambda said: broken.append(said.text) if "Security Policy" in said.text else None
    )
    screen.goto("/desk/")
    assert screen.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    screen.click("text=Veto")
    screen.wait_for_selector("text=Vetoed, does not go out")
    draft.refresh_from_db()
    assert draft.vetoed_at
    assert broken == []
