"""Staff with a real browser: what no test client sees, such as an Origin that is refused."""

import shutil
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Page, ViewportSize, sync_playwright
from pytest_django.live_server_helper import LiveServer

from incidents.models import Incident
from tests import world

PHONE = ViewportSize(width=360, height=740)
WAIT_MS = 10_000
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def phone(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A phone in the hand of ann, who is logged in."""
    # Playwright keeps a loop of its own in this thread; Django would take it for ours.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    User.objects.create_superuser("ann", password="a long password")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=PHONE, base_url=live_server.url)
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


def test_an_incident_is_declared_from_the_desk_on_a_phone(phone: Page) -> None:
    follow = world.component()
    phone.keyboard.press("d")
    phone.fill("input[name=name]", "Followers may not receive readings")
    phone.fill("textarea[name=body]", "We are looking.")
    phone.select_option(f"select[name=component_{follow.pk}]", "major_outage")
    phone.click("button[name=_preview]")
    assert phone.locator(".desk-preview").is_visible()
    phone.click(".desk-preview button[name=_publish]")
    phone.wait_for_url("**/change/**")
    assert Incident.objects.get().published_at


def test_a_draft_is_vetoed_with_one_thumb_and_nothing_is_wider_than_the_phone(phone: Page) -> None:
    draft = world.incident(world.component(), published=False)
    broken: list[str] = []
    phone.on("pageerror", lambda error: broken.append(str(error)))
    phone.on(
        "console", lambda said: broken.append(said.text) if "Security Policy" in said.text else None
    )
    phone.goto("/desk/")
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    phone.click("text=Veto")
    phone.wait_for_selector("text=Vetoed, does not go out")
    draft.refresh_from_db()
    assert draft.vetoed_at
    assert broken == []
