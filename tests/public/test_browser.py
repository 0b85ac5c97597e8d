"""The page and the banner in a real browser, under the policy they are served with."""

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from public.files import write
from public.publish import Publisher
from public.serve import CHECK_EVERY_S, PublishedFiles
from public.snapshot import Checked, Snapshot
from tests.public.cast import MAJOR, SLOW, component, incident, snapshot, update

pytestmark = [pytest.mark.slow, pytest.mark.browser]

NOW = datetime.now(UTC).replace(microsecond=0)
WAIT_S = 30.0
HURT = component(status=MAJOR, name="Readings and alerts", created_at=NOW - timedelta(days=30))
WELL = component("login", name="Log in")
HOST_PAGE = b"""<!doctype html><html lang="en"><title>An app</title><script src="%s/banner.js" defer></script>
<status-banner src="%s/banner.json" %s></status-banner>"""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128  # five, as it is by default, resets a browser that opens many at once


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Site:
    """A folder of public files on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = make_server(
            "127.0.0.1", 0, PublishedFiles(self._app, folder), _Server, _Quiet
        )
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.attributes = b""
        self.worker = b""  # of the app
        self.policy = f"default-src 'none'; script-src {self.url}; connect-src {self.url}; require-trusted-types-for 'script'"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def _app(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """An app of somebody else, with a strict policy of its own, that shows our banner."""
        kind = "text/javascript" if environ["PATH_INFO"] == "/worker" else "text/html"
        start("200 OK", [("Content-Type", kind), ("Content-Security-Policy", self.policy)])
        if kind != "text/html":
            return [self.worker]
        origin = self.url.encode()
        return [HOST_PAGE % (origin, origin, self.attributes)]

    def publish(self, taken: Snapshot) -> None:
        Publisher(self.folder).publish(taken)


def chromium() -> str:
    path = os.environ.get("CHROMIUM") or which("chromium") or which("chromium-browser")
    if path is None:
        pytest.fail("no Chromium on the PATH")
    return path


def until(page: Page, is_so: str) -> None:
    """Wait until an expression holds; wait_for_function evaluates it again within the page, which our policy forbids."""
    deadline = time.monotonic() + WAIT_S
    while not page.evaluate(is_so):
        assert time.monotonic() < deadline, f"never so: {is_so}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Playwright runs a loop of its own; Django would refuse queries there, and this file makes none.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "public")
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A phone in New York, closed before its site is; whatever the console complains of fails the test."""
    context = browser.new_context(
        viewport={"width": 360, "height": 640}, timezone_id="America/New_York", locale="en-GB"
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert said == []


def down(**words: Any) -> Snapshot:
    said = update(what_to_do="Check the wearer.", display_at=NOW, published_at=NOW)
    fact = incident(HURT, updates=(said,), started_at=NOW - timedelta(minutes=68), created_at=NOW)
    changes = (
        (NOW - timedelta(days=30), "operational"),
        (NOW - timedelta(minutes=68), "major_outage"),
    )
    taken = snapshot(
        fact,
        components=(HURT, WELL),
        now=NOW,
        checked=Checked(NOW, 5),
        history=((HURT.uid, changes),),
    )
    return Snapshot(**{name: getattr(taken, name) for name in Snapshot.__slots__} | words)


def test_a_phone_reads_what_to_do_without_scrolling_sideways_or_down(
    page: Page, site: Site
) -> None:
    site.publish(down())
    page.goto(site.url)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    advice = page.get_by_text("Check the wearer.").first.bounding_box()
    assert advice is not None
    assert advice["y"] + advice["height"] < 640


def test_times_are_the_reader_s_own_and_utc_is_kept(page: Page, site: Site) -> None:
    site.publish(down())
    page.goto(site.url)
    since = page.locator(".since time").first
    began = NOW - timedelta(minutes=68)
    assert since.get_attribute("datetime") == began.strftime("%Y-%m-%dT%H:%M:%SZ")
    expected = page.evaluate(
        "at => new Date(at).toLocaleTimeString('en-GB', {hour: '2-digit', minute: '2-digit'})",
        began.isoformat(),
    )
    assert expected in (since.text_content() or "")


def test_an_old_page_says_that_it_may_be_out_of_date(page: Page, site: Site) -> None:
    site.publish(down(now=NOW - timedelta(minutes=5)))
    page.goto(site.url)
    page.get_by_text("This page may be out of date").wait_for(timeout=5000)


def test_a_fresh_page_does_not(page: Page, site: Site) -> None:
    site.publish(down(now=datetime.now(UTC)))
    page.goto(site.url)
    assert page.locator("#old").is_hidden()


def test_a_page_that_is_written_on_change_only_is_not_called_old(page: Page, site: Site) -> None:
    site.publish(snapshot(now=NOW - timedelta(days=3)))
    fresh = {"generated_at": datetime.now(UTC).isoformat(), "revision": "x", "checked_at": None}
    write(site.folder, "now.json", json.dumps(fresh).encode())
    with page.expect_response("**/now.json"):
        page.goto(f"{site.url}/history")
    until(page, "Date.now() - Date.parse(document.body.dataset.generatedAt) < 60000")
    assert page.locator("#old").is_hidden()


def test_news_appear_by_themselves_and_the_sentence_is_not_read_out_again(
    page: Page, site: Site
) -> None:
    site.publish(down())
    page.clock.install()
    page.goto(site.url)
    page.evaluate("window.sentence = document.querySelector('[role=status] h1')")
    said = (update(2, body="We have found the cause."), update())
    fact = incident(HURT, updates=said, started_at=NOW - timedelta(minutes=68))
    site.publish(down(incidents=(fact,)))
    time.sleep(CHECK_EVERY_S)  # the server may remember what it has just read for so long
    page.clock.fast_forward(31_000)
    page.locator(".update").get_by_text("We have found the cause.").wait_for(timeout=10_000)
    assert page.locator("#news").text_content() == "We have found the cause."
    assert page.evaluate("window.sentence.isConnected")


def test_what_is_being_read_stays_where_it_is_when_news_come(page: Page, site: Site) -> None:
    said = tuple(
        update(number, body=f"Text {number}.\n\n" + "More of it. " * 40)
        for number in range(12, 0, -1)
    )
    fact = incident(HURT, updates=said, started_at=NOW - timedelta(minutes=68))
    site.publish(down(incidents=(fact,)))
    page.clock.install()
    page.goto(site.url)
    read = f"document.getElementById('{said[6].uid}').getBoundingClientRect().top"
    page.evaluate(f"document.getElementById('{said[6].uid}').scrollIntoView()")
    before = page.evaluate(read)
    news = update(13, body="News. " * 200)
    site.publish(down(incidents=(replace(fact, updates=(news, *said)),)))
    time.sleep(CHECK_EVERY_S)
    page.clock.fast_forward(31_000)
    until(page, f"document.getElementById('{news.uid}') !== null")
    assert page.evaluate(read) == pytest.approx(before, abs=1)


def test_a_theme_changes_colours_and_shows_the_logo(page: Page, site: Site, tmp_path: Path) -> None:
    theme = tmp_path / "theme"
    theme.mkdir()
    (theme / "theme.css").write_text(":root { --ground: rgb(1, 2, 3); }")
    logo = b'<svg xmlns="http://www.w3.org/2000/svg" width="28" height="28"><path d="M0 0h28v28H0z"/></svg>'
    (theme / "logo.svg").write_bytes(logo)
    Publisher(site.folder, theme=theme).publish(down())
    page.goto(site.url)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(1, 2, 3)"
    assert page.evaluate("document.querySelector('.logo').naturalWidth") == 28


def test_the_page_works_without_scripts(browser: Browser, site: Site) -> None:
    site.publish(down())
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 640})
    page = context.new_page()
    page.goto(site.url)
    text = page.inner_text("main")
    context.close()
    for part in (
        "Followers may not receive readings",
        "What to do now",
        "not working",
        "Last checked",
    ):
        assert part in text


def test_a_bad_day_takes_the_focus_and_is_read(page: Page, site: Site) -> None:
    site.publish(down())
    page.goto(site.url)
    bar = page.locator(".bars rect").last
    bar.focus()
    assert "not working 1 h" in (page.locator("[data-said]").first.text_content() or "")
    assert "not working 1 h" in (bar.text_content() or "")
    bar.blur()
    assert page.locator("[data-said]").first.text_content() == "90 days"


def banner(page: Page, site: Site, attributes: str = "") -> str:
    """Open an app that shows the banner; return what it shows, empty when it is hidden."""
    site.attributes = attributes.encode()
    page.goto(f"{site.url}/an-app")
    page.wait_for_selector("status-banner[state]", state="attached", timeout=5000)
    if page.locator("status-banner").is_hidden():
        return ""
    return str(page.evaluate("document.querySelector('status-banner').shadowRoot.textContent"))


def test_the_banner_tells_under_a_strict_policy_what_is_wrong(page: Page, site: Site) -> None:
    site.publish(down(now=datetime.now(UTC)))
    text = banner(page, site)
    assert "Followers may not receive readings" in text
    assert "Check the wearer." in text
    assert page.get_attribute("status-banner", "state") == "outage"
    assert page.evaluate(
        "document.querySelector('status-banner').shadowRoot.querySelector('[role=alert]') !== null"
    )


def test_the_banner_is_silent_while_all_is_well(page: Page, site: Site) -> None:
    site.publish(snapshot(now=datetime.now(UTC)))
    assert banner(page, site) == ""


def test_the_banner_of_one_component_is_silent_about_another(page: Page, site: Site) -> None:
    site.publish(down(now=datetime.now(UTC)))
    assert banner(page, site, 'components="login"') == ""
    assert "Readings and alerts: not working" in banner(page, site, 'components="follow"')


def test_an_incident_that_names_no_component_concerns_every_banner(page: Page, site: Site) -> None:
    site.publish(snapshot(incident(), now=datetime.now(UTC)))
    assert "Followers may not receive" in banner(page, site, 'components="follow"')


def test_an_incident_that_names_no_component_concerns_every_banner_also_when_a_part_is_hurt(
    page: Page, site: Site
) -> None:
    parts = (component("follow"), component("login", status=SLOW))
    site.publish(snapshot(incident(), components=parts, now=datetime.now(UTC)))
    assert "Followers may not receive" in banner(page, site, 'components="follow"')


def test_a_stale_answer_is_unknown_and_never_green(page: Page, site: Site) -> None:
    site.publish(snapshot(now=datetime.now(UTC) - timedelta(seconds=301)))
    assert "We cannot tell how things are: no answer since" in banner(page, site)
    assert page.get_attribute("status-banner", "state") == "unknown"


def test_a_mirror_answers_when_the_source_is_stale(page: Page, site: Site) -> None:
    site.publish(down(now=datetime.now(UTC)))
    write(site.folder, "banner.mirror.json", (site.folder / "banner.json").read_bytes())
    document = json.loads((site.folder / "banner.json").read_bytes())
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    write(site.folder, "banner.json", json.dumps(document | {"generated_at": old}).encode())
    assert "Followers may not receive" in banner(
        page, site, f'mirrors="{site.url}/banner.mirror.json"'
    )


def test_a_banner_with_a_key_believes_what_is_signed_and_no_lie(page: Page, site: Site) -> None:
    Publisher(site.folder, secret="ours").publish(down(now=datetime.now(UTC)))
    key = (site.folder / "banner.key").read_text()
    assert "Followers may not receive" in banner(page, site, f'key="{key}"')
    document = json.loads((site.folder / "banner.json").read_bytes())
    lie = json.dumps(document | {"headline": "All is well", "state": "operational"}).encode()
    write(site.folder, "banner.json", lie)
    time.sleep(CHECK_EVERY_S)
    page.evaluate("localStorage.clear()")
    assert "does not answer" in banner(page, site, f'key="{key}"')
    assert page.get_attribute("status-banner", "state") == "unknown"


def test_a_hostile_banner_stays_text(page: Page, site: Site) -> None:
    hostile = component(status=MAJOR, name="<img src=x onerror=alert(1)>")
    site.publish(
        snapshot(
            incident(hostile, name="<b>bold</b>"), components=(hostile,), now=datetime.now(UTC)
        )
    )
    assert "<b>bold</b>" in banner(page, site, 'components="follow"')
    assert (
        page.evaluate("document.querySelector('status-banner').shadowRoot.querySelector('b, img')")
        is None
    )


def test_the_banner_speaks_the_language_it_is_told(page: Page, site: Site) -> None:
    site.publish(down(now=datetime.now(UTC)))
    assert "Desde" in banner(page, site, 'lang="es"')
