"""The banner in Chromium: source stopped, mirror, all stopped, and a whole healthy day in simulated time."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks import face_site, face_states
from public import statusapi
from public.snapshot import Snapshot

STATIC = Path(statusapi.__file__).resolve().parent / "static"
WATCHED = timedelta(hours=24)
STEP = timedelta(
    seconds=9
)  # under the banner's own timeout of 10 s, which runs on the same simulated clock
WAIT_MS = 20_000.0
# Each state that the banner ever had, and when its requests are answered: simulated time must not overtake them.
_WATCH = """
const states = (window.states = []);
const real = window.fetch;
let open = 0;
let last = Promise.resolve();
const whole = async (...all) => {
  open++;
  try {
    const answer = await real(...all);
    return new Response(await answer.arrayBuffer(), { status: answer.status, headers: answer.headers });
  } finally {
    open--;
  }
};
window.fetch = (...all) => (last = whole(...all));
window.settled = async () => { while (open) await last.catch(() => 0); };
new MutationObserver(() => {
  const banner = document.querySelector("status-banner");
  const state = banner && banner.getAttribute("state");
  if (state && states.at(-1) !== state) states.push(state);
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


@dataclass(slots=True)
class House:
    """A web server with a host page, banner.js and banner.json, whose clock is `now`."""

    now: datetime
    snapshot: Snapshot | None = None  # None: banner.json is not answered
    asked: int = 0
    port: int = 0
    mirrors: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str) -> tuple[str, bytes] | None:
        if path == "/banner.js":
            return "text/javascript", (STATIC / "banner.js").read_bytes()
        if path == "/banner.json":
            with self.lock:
                self.asked += 1
                if self.snapshot is None:
                    return None
                now = self.now
            body = statusapi.banner(replace(self.snapshot, now=now), "en")
            return "application/json", statusapi.encode(body)
        tag = (
            f'<status-banner src="/banner.json" mirrors="{self.mirrors}" lang="en"></status-banner>'
        )
        page = f'<!doctype html><html lang="en"><title>An app</title><script src="/banner.js" defer></script>{tag}'
        return "text/html", page.encode()


@contextmanager
def _open(house: House) -> Iterator[House]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = house.answer(self.path)
            self.send_response(200 if found else 503)
            kind, body = found or ("text/plain", b"")
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("Access-Control-Allow-Origin", "*"),
                ("Access-Control-Expose-Headers", "Date"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(house.now, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    house.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield house
    finally:
        server.shutdown()
        server.server_close()


# --- what is watched --------------------------------------------------------------------------


def falls_back(browser: Browser) -> dict[str, str]:
    """Stop the source, then the mirror; return what the banner said at each station."""
    now = datetime.now(UTC).replace(microsecond=0)
    first = face_states.down(now)
    newer = replace(first, incidents=(replace(first.incidents[0], name="Told by the mirror"),))
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="sp-banner-", ignore_cleanup_errors=True) as name:
        folders = [Path(name) / "source", Path(name) / "mirror"]
        for folder, taken in zip(folders, (first, newer), strict=True):
            face_site.publish(folder, taken)
        mirror = face_site.serving(folders[1])
        source = face_site.serving(folders[0])
        app = House(now)
        try:
            app.mirrors = f"{mirror.__enter__()}/banner.json"
            url = source.__enter__()
            with _open(app), _page(browser, app, now, f"{url}/banner.json") as page:
                said["source"] = _until(page, "may not receive readings")
                source.__exit__(None, None, None)
                _forward(page, timedelta(seconds=75))
                said["mirror"] = _until(page, "Told by the mirror")
                mirror.__exit__(None, None, None)
                for _ in range(6):
                    _forward(page, timedelta(seconds=75))
                said["nobody"] = _until(page, "no answer since")
                said["state"] = page.get_attribute("status-banner", "state") or ""
        finally:
            for server in (source, mirror):
                server.gen.close()
    return said


def a_healthy_day(browser: Browser, watched: timedelta = WATCHED) -> dict[str, object]:
    """Watch a banner whose source is well; return which states it had, and how often it asked."""
    begun = datetime.now(UTC).replace(microsecond=0)
    house = House(begun, face_states.working(begun))
    with _open(house), _page(browser, house, begun, "/banner.json") as page:
        page.wait_for_function("window.states.length > 0", timeout=WAIT_MS)
        while house.now - begun < watched:
            with house.lock:
                house.now += STEP
            page.clock.run_for(int(STEP.total_seconds() * 1000))
            page.evaluate("window.settled()")
        states = page.evaluate("window.states")
    return {"states": states, "asked": house.asked, "hours": watched / timedelta(hours=1)}


@contextmanager
def _page(browser: Browser, house: House, now: datetime, source: str) -> Iterator[Page]:
    context = browser.new_context(timezone_id="America/New_York", locale="en-US")
    page = context.new_page()
    page.clock.install(time=now)
    page.add_init_script(_WATCH)
    page.goto(house.url)
    if source != "/banner.json":
        page.evaluate(
            "src => document.querySelector('status-banner').setAttribute('src', src)", source
        )
    try:
        yield page
    finally:
        context.close()


def _forward(page: Page, by: timedelta) -> None:
    page.clock.fast_forward(int(by.total_seconds() * 1000))
    page.evaluate("window.settled()")


def _until(page: Page, words: str) -> str:
    """Return the banner's text once it says `words`; raises TimeoutError of Playwright."""
    text = "document.querySelector('status-banner').shadowRoot.textContent"
    page.wait_for_function(f"words => {text}.includes(words)", arg=words, timeout=WAIT_MS)
    return str(page.evaluate(text))
