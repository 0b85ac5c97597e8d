"""What a machine can see of accessibility: nothing serious on any page of the desk and the records, light and dark."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.desk import staff
from tests.desk.routes import ADMIN, DESK, make_names

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
WAIT_MS = 30_000
GRAVE = ("serious", "critical")
OUTSIDE = ["/admin/login/"]  # seen by who is not logged in
ACCOUNT = ["/accounts/2fa/", "/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/", "/accounts/password/change/",
           "/accounts/reauthenticate/"]  # fmt: skip
# The quick way looks at some of the records, which are all drawn by the same hand; `./run accept desk` at all.
SOME = 8


@pytest.fixture
def chromium(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # Playwright keeps a loop of its own in this thread; Django would take it for ours.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        connections.close_all()
        browser.close()


def addresses(names: dict[str, Any]) -> list[str]:
    desk = [path.format(**names) for method, path, _ in DESK if method == "GET"]
    # In the sandbox of a look no script runs, axe's neither; mail and page are looked at where they are made.
    desk = [path for path in desk if not path.startswith("/desk/look/")]
    shown = [path for path in desk if not path.partition("?")[0].endswith((".csv", ".json"))]
    records = [path.format(**names) for method, path, _ in ADMIN if method == "GET"]
    records += [
        f"/admin/incidents/{name}/change/"
        for name in (f"incident/{names['open_pk']}", f"component/{names['component']}")
    ]
    if os.environ.get("AXE_PAGES") != "all":
        records = records[:: len(records) // SOME]
    return [*shown, *ACCOUNT, *records]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_is_wrong_on_any_page(
    chromium: Browser, live_server: LiveServer, theme: Any
) -> None:
    User.objects.create_superuser("ann", password=staff.PASSWORD)
    names = make_names()
    page = chromium.new_page(
        viewport={"width": 360, "height": 740}, color_scheme=theme, base_url=live_server.url
    )
    page.set_default_timeout(WAIT_MS)
    blocked: list[str] = []
    page.on(
        "console",
        lambda said: blocked.append(said.text) if "Content Security Policy" in said.text else None,
    )
    found = {path: serious(page, path) for path in OUTSIDE}
    page.fill("input[name=username]", "ann")
    page.fill("input[name=password]", staff.PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url("**/desk/")
    paths = addresses(names)
    found |= {path: serious(page, path) for path in paths}
    wide = (
        [
            path
            for path in paths
            if path.startswith(("/desk/", "/accounts/")) and is_too_wide(page, path)
        ]
        if theme == "light"
        else []
    )
    print(f"looked at {len(found)} pages, {theme}")
    assert {path: rules for path, rules in found.items() if rules} == {}
    assert wide == []
    assert blocked == []


def serious(page: Page, path: str) -> list[str]:
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == 200, path
    results = Axe().run(page)
    return [
        f"{rule['id']}: {rule['nodes'][0]['html'][:160]}"
        for rule in results.response["violations"]
        if rule["impact"] in GRAVE
    ]


def is_too_wide(page: Page, path: str) -> bool:
    page.goto(path)
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))
