"""Second factors with a real browser: an authenticator app, and a security key that Chromium plays."""

import shutil
import time
from collections.abc import Iterator

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.core.cache import cache
from django.db import connections
from playwright.sync_api import Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from desk.roles import Role
from tests.desk import staff

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
WAIT_MS = 30_000
KEY = {
    "protocol": "ctap2", "transport": "usb", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
    "automaticPresenceSimulation": True,
}  # fmt: skip


@pytest.fixture
def screen(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A phone before pam, who may publish and has a password only."""
    # Playwright keeps a loop of its own in this thread; Django would take it for ours.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    cache.clear()
    staff.person("pam", Role.PUBLISHER)
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 740}, base_url=live_server.url)
        page.set_default_timeout(WAIT_MS)
        log_in(page)
        page.wait_for_url("**/desk/")
        yield page
        connections.close_all()
        browser.close()


def log_in(page: Page) -> None:
    page.goto("/desk/")
    page.fill("input[name=username]", "pam")
    page.fill("input[name=password]", staff.PASSWORD)
    page.click("button[type=submit]")


def log_out(page: Page) -> None:
    page.context.clear_cookies()


def test_a_security_key_is_added_and_asked_for_under_the_strict_policy(screen: Page) -> None:
    blocked: list[str] = []
    screen.on(
        "console",
        lambda said: blocked.append(said.text) if "Content Security Policy" in said.text else None,
    )
    session = screen.context.new_cdp_session(screen)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    screen.goto("/accounts/2fa/webauthn/add/")
    screen.fill("input[name=name]", "The key on my ring")
    screen.click("#mfa_webauthn_add")
    screen.wait_for_url(lambda url: "webauthn/add" not in url)
    assert Authenticator.objects.filter(type="webauthn", user__username="pam").count() == 1
    log_out(screen)
    log_in(screen)
    screen.wait_for_url("**/accounts/2fa/authenticate/")
    screen.click("#mfa_webauthn_authenticate")
    screen.wait_for_url("**/desk/")
    assert blocked == []


def test_an_authenticator_app_is_added_and_asked_for(screen: Page) -> None:
    screen.goto("/accounts/2fa/totp/activate/")
    secret = screen.input_value("#authenticator_secret")
    assert screen.evaluate("document.querySelector('main img').naturalWidth > 0"), (
        "the QR code is not shown"
    )
    screen.fill("input[name=code]", code(secret))
    screen.click("main button[type=submit]")
    screen.wait_for_url(lambda url: "activate" not in url)
    log_out(screen)
    cache.clear()  # the same half minute's code would count as used
    log_in(screen)
    screen.wait_for_url("**/accounts/2fa/authenticate/")
    screen.fill("input[name=code]", code(secret))
    screen.click("main button[type=submit]")
    screen.wait_for_url("**/desk/")


def code(secret: str) -> str:
    return str(totp.format_hotp_value(totp.hotp_value(secret, int(time.time()) // 30)))
