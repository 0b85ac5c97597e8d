"""A parent's way through the pages in Chromium, keyboard only: subscribe, confirm, change, leave."""

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from demo.night import House

WAIT_MS = 20_000
MAIL_S = 30.0
TABS_MAX = 120
SERIOUS = ("serious", "critical")
INPUTS_MAX = 3


class Lost(Exception):
    """The way could not be gone on; the text says where."""


@dataclass(slots=True)
class Journey:
    """One way, what axe-core found on it, and how many inputs the sign-up took."""

    house: House
    page: Page
    language: str
    script: bool
    address: str
    inputs: int = 0
    found: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def go(self) -> None:
        self._subscribe()
        link = self._mailed("confirm/")
        self._open(link, "confirm")
        self._press("main form button.main", "confirmed")
        self._press("main a.button.main", "settings")
        self._press("main section details summary", "")
        self._focus("main input[name=digest]")
        self.page.keyboard.press("Space")
        self._press("main button[value=save]", "saved")
        self._expect(".saved[role=status]")
        if not self.page.locator("main input[name=digest]").first.is_checked():
            raise Lost("what was changed is not shown as changed")
        self._press("main button[value=unsubscribe]", "unsubscribed")
        self._expect(".saved[role=status]")
        if self.page.locator("main input[name=subscription]").count():
            raise Lost("unsubscribed, but the subscription is still shown")

    def _subscribe(self) -> None:
        self._open(f"/subscribe?lang={self.language}", "subscribe")
        if self.page.get_attribute("html", "lang") != self.language:
            raise Lost(f"the page does not speak {self.language}")
        self._focus("#address")
        self.page.keyboard.type(self.address)
        self.inputs += 1
        with self.page.expect_navigation(timeout=WAIT_MS):
            self.page.keyboard.press("Enter")
        self.inputs += 1
        if self.page.locator("h1").count() == 0 or self.page.locator("#address").count():
            raise Lost("the form did not lead to the page that says to check the mail")
        self._look("asked")

    def _mailed(self, part: str) -> str:
        deadline = time.monotonic() + MAIL_S
        while time.monotonic() < deadline:
            for mail in self.house.get(
                f"{self.house.facts['mailbox']}/messages.json?since=0&limit=10000"
            )["messages"]:
                if self.address in mail["to"]:
                    raw = raw_mail(self.house, mail["n"])
                    if found := re.search(
                        rf"{re.escape(self.house.facts['page'])}\S*?{part}\S+", raw
                    ):
                        return found.group().rstrip(">")
            time.sleep(0.2)
        raise Lost("no mail came")

    def _open(self, path: str, name: str) -> None:
        self.page.goto(path)
        self._look(name)

    def _focus(self, selector: str) -> None:
        """Press Tab until the element has the focus, as who uses no mouse does."""
        for _ in range(TABS_MAX):
            self.page.keyboard.press("Tab")
            if self.page.locator(f"{selector}:focus").count():
                return
        raise Lost(f"{selector} cannot be reached by the keyboard")

    def _press(self, selector: str, name: str) -> None:
        self._focus(selector)
        if not name:
            self.page.keyboard.press("Enter")
            return
        with self.page.expect_navigation(timeout=WAIT_MS):
            self.page.keyboard.press("Enter")
        self._look(name)

    def _expect(self, selector: str) -> None:
        if not self.page.locator(selector).count():
            raise Lost(f"{selector} is not on {self.page.title()!r}")

    def _look(self, name: str) -> None:
        wide = (
            self.page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")
            if self.script
            else False
        )
        if wide:
            self.found.append(f"{name}: scrolls sideways")
        if self.script:
            found = Axe().run(self.page).response["violations"]
            self.found += [f"{name}: {each['id']}" for each in found if each["impact"] in SERIOUS]
        self.seen.append(name)


def raw_mail(house: House, number: int) -> str:
    """Return a mail's text with its transfer encoding undone."""
    import urllib.request
    from email import message_from_bytes, policy

    with urllib.request.urlopen(
        f"{house.facts['mailbox']}/messages/{number}.eml", timeout=10
    ) as answer:
        message = message_from_bytes(answer.read(), policy=policy.default)
    body = message.get_body(preferencelist=("plain",))
    return str(body.get_content()) if body else ""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def walk(
    house: House, browser: Browser, *, language: str, width: int, script: bool
) -> tuple[Journey, str]:
    """Walk one journey; return it and why it was lost ("" when it was not)."""
    context = browser.new_context(
        base_url=house.facts["page"],
        viewport={"width": width, "height": 800},
        java_script_enabled=script,
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    name = f"walk-{language}-{width}-{'js' if script else 'plain'}-{int(time.time())}@walks.example"
    journey = Journey(house, page, language, script, name)
    why = ""
    try:
        journey.go()
    except Lost as error:
        why = str(error)
    except Exception as error:  # a time-out of the browser says where it stood
        why = f"{type(error).__name__} after {journey.seen}: {str(error).splitlines()[0]}"
    finally:
        context.close()
    return journey, why


Walks: list[dict[str, Any]] = [
    {"language": "en", "width": 360, "script": True},
    {"language": "en", "width": 1280, "script": True},
    {"language": "ar", "width": 360, "script": True},
    {"language": "ar", "width": 1280, "script": True},
    {"language": "en", "width": 360, "script": False},
    {"language": "ar", "width": 360, "script": False},
]
