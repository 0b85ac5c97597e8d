"""The promised points of the desk."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from playwright.sync_api import Page, sync_playwright

from benchmarks import stage
from benchmarks.accept import Point
from benchmarks.stage import ROOT, Stage

PRESSES_MAX, INPUTS_MAX = 2, 6
CONSOLE_MS, DELIVERIES = 150.0, 1_000_000
PICTURES = 6
WAIT_MS = 30_000
TESTS_S, FILL_S = 900.0, 900.0
TYPED = "Half a sentence that nobody has sent"


def points() -> Iterator[Point]:
    """Measure every point: a demo with a browser, a million rows, then the tables of the tests."""
    yield from _demo()
    yield from _console()
    yield from _pictures()
    for promise, paths, env in TESTED:
        yield _tested(promise, paths, env)


# Promise, what proves it, and with which variables.
TESTED: list[tuple[str, list[str], dict[str, str]]] = [
    ("every route × every role × logged out; every refusal in words", ["tests/desk/test_access.py"], {}),
    ("axe-core: nothing serious on every desk and admin page, light and dark", ["tests/desk/test_axe.py"], {"AXE_PAGES": "all"}),
    ("two publish at once, 100 seeds: one update, one fan-out, the other sees the difference", ["tests/desk/test_race.py"], {}),
    ("what is typed survives reload, logout, a late press; templates, locked advice, looks", ["tests/desk/test_compose.py", "tests/desk/test_advice.py"], {}),
    ("security key and authenticator app in Chromium; OIDC against a real provider", ["tests/desk/test_factors_browser.py", "tests/desk/test_oidc.py"], {}),
    ("two people for wake-all, 120 s to one; recipients in the audit", ["tests/desk/test_waking.py"], {}),
    ("the audit's chain; the database refuses UPDATE and DELETE (PostgreSQL)", ["tests/incidents/test_sealing.py", "tests/incidents/test_services.py", "-k", "audit or seal or link or tamper"], {}),
    ("the database refuses UPDATE and DELETE (SQLite)", ["tests/incidents/test_sealing.py", "tests/incidents/test_services.py", "-k", "audit or seal or link"], {"TEST_DATABASE": "sqlite"}),
    ("promises: called before, three in a row, scored; recurring, reminders, merge", ["tests/incidents/test_promises.py", "tests/incidents/test_recurring.py"], {}),
    ("drills by schedule, missed and failed call; reports as page, CSV, JSON", ["tests/desk/test_drill.py", "tests/desk/test_reports.py"], {}),
]  # fmt: skip


def _tested(promise: str, arguments: list[str], env: dict[str, str]) -> Point:
    ran = f"{' '.join(f'{name}={value} ' for name, value in env.items())}./run test {' '.join(arguments)}"
    missing = [
        path for path in arguments if path.startswith("tests/") and not (ROOT / path).exists()
    ]
    if missing:
        return Point(promise, None, f"{missing[0]} is not there", ran)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=TESTS_S,
        )
    except subprocess.TimeoutExpired:
        return Point(promise, False, f"not done within {TESTS_S:.0f} s", ran)
    lines = [
        line
        for line in done.stdout.strip().splitlines()
        if re.search(r"\d+ (passed|failed|error|skipped)", line)
    ]
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    figure = (lines[-1].strip("= ") if lines else "no answer") + (
        "; " + failed[0][:200] if failed else ""
    )
    return Point(promise, done.returncode == 0, figure, ran)


# --- a phone before the demo ------------------------------------------------------------------------------------------


class Thumb:
    """A person with a phone; counts what they press, choose and type."""

    def __init__(self, page: Page) -> None:
        self.page, self.inputs = page, 0

    def press(self, selector: str) -> None:
        self.page.click(selector)
        self.inputs += 1

    def choose(self, selector: str, value: str) -> None:
        self.page.select_option(selector, value)
        self.inputs += 1


def _demo() -> Iterator[Point]:
    ran = "./run demo, Chromium at 360 px"
    env = {"DRILL_RECIPIENTS": "email:drill@example.org,sms:+15005550011,voice:+15005550012"}
    try:
        with stage.running(env=env) as running, _phone(running) as page:
            yield _from_a_draft(page, ran)
            yield _from_nothing(page, ran)
            yield _live(page, ran)
            yield _crash(page, running, ran)
            yield _drill(running)
            yield _audit(running)
    except stage.NotStarted as error:
        yield Point("a demo to try the desk on", False, str(error), ran)


@contextmanager
def _phone(running: Stage) -> Iterator[Page]:
    facts = json.loads((running.data_dir / "demo.json").read_text(encoding="utf-8"))
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 740}, base_url=facts["page"])
        page.set_default_timeout(WAIT_MS)
        page.goto("/desk/")
        page.fill("input[name=username]", facts["user"])
        page.fill("input[name=password]", facts["password"])
        page.click("button[type=submit]")
        page.wait_for_url("**/desk/")
        yield page
        browser.close()


def _from_a_draft(page: Page, ran: str) -> Point:
    page.goto("/desk/declare?template=login-down")
    page.click("button[name=_draft]")
    page.wait_for_url("**/desk/")
    thumb = Thumb(page)
    thumb.press(".draft button:has-text('Publish now')")
    page.wait_for_selector("text=Published: Log-in")
    promise = f"from “draft waiting” to published ≤ {PRESSES_MAX} presses"
    return Point(promise, thumb.inputs <= PRESSES_MAX, f"{thumb.inputs}", ran)


def _from_nothing(page: Page, ran: str) -> Point:
    page.goto("/desk/")
    thumb = Thumb(page)
    thumb.press("a:has-text('Declare an incident')")
    page.wait_for_url("**/desk/declare")
    thumb.choose("#template", "follow-down")
    page.wait_for_url("**template=follow-down")
    thumb.press("button.danger")
    page.wait_for_url("**/desk/incidents/**")
    shown = "Readings and alerts for followers: major outage" in page.inner_text("main")
    promise = f"from nothing to published with a template ≤ {INPUTS_MAX} inputs"
    return Point(promise, shown and thumb.inputs <= INPUTS_MAX, f"{thumb.inputs}", ran)


def _live(page: Page, ran: str) -> Point:
    """The screen follows without being loaded again, under its policy."""
    page.goto("/desk/")
    page.evaluate("window.loadedOnce = true")
    before = page.inner_text("#live")
    page.wait_for_function(
        "before => document.getElementById('live').innerText !== before", arg=before
    )
    same = page.evaluate("window.loadedOnce === true")
    return Point(
        "live without reload, strict policy",
        bool(same),
        "the live part changed, the page did not load",
        ran,
    )


def _crash(page: Page, running: Stage, ran: str) -> Point:
    """Kill every web process while somebody types."""
    page.goto("/desk/schedule")
    page.fill("textarea[name=body]", TYPED)
    page.wait_for_selector("text=Kept as you type.")
    page.wait_for_timeout(1500)
    _kill_web(running)
    page.fill("textarea[name=body]", f"{TYPED}, and more")
    _await(page, "/desk/schedule")
    kept = page.input_value("textarea[name=body]")
    promise = "nothing typed is lost when the web process crashes"
    return Point(
        promise, kept == f"{TYPED}, and more", f"after kill -9 and a reload: “{kept}”", ran
    )


def _kill_web(running: Stage) -> None:
    for child in psutil.Process(running.process.pid).children(recursive=True):
        if "gunicorn" in " ".join(child.cmdline()):
            child.send_signal(signal.SIGKILL)


def _await(page: Page, path: str) -> None:
    deadline = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < deadline:
        try:
            answer = page.goto(path)
            if answer is not None and answer.status == 200:
                return
        except Exception as error:  # noqa: BLE001  # the server is on its way up
            last = error
        time.sleep(0.3)
    raise stage.NotStarted(f"the web process did not come back: {last}")


def _manage(running: Stage, *arguments: str) -> "subprocess.CompletedProcess[str]":
    given = json.loads((running.data_dir / "environment.json").read_text(encoding="utf-8"))
    env = {**os.environ, **{name: value for name, value in given.items() if value}}
    env["DRILL_RECIPIENTS"] = "email:drill@example.org,sms:+15005550011,voice:+15005550012"
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=TESTS_S
    )


def _drill(running: Stage) -> Point:
    done = _manage(running, "drill")
    said = "; ".join(
        line for line in done.stdout.splitlines() if " s" in line and "not rehearsed" not in line
    )
    return Point(
        "drill: every channel with a test recipient, times told",
        done.returncode == 0,
        said or done.stderr.strip(),
        "./run manage drill on the demo",
    )


def _audit(running: Stage) -> Point:
    done = _manage(running, "audit", "verify")
    return Point(
        "audit verify on the demo",
        done.returncode == 0,
        (done.stdout or done.stderr).strip(),
        "./run manage audit verify",
    )


# --- a million --------------------------------------------------------------------------------------------------------


def _console() -> Iterator[Point]:
    ran = f"python -m benchmarks.console_time {DELIVERIES}: PostgreSQL, Django's test client, median of 15"
    promise = f"console ≤ {CONSOLE_MS:.0f} ms of server time with {DELIVERIES:,} deliveries in the running broadcast"
    command = [sys.executable, "-m", "benchmarks.console_time", str(DELIVERIES)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=FILL_S
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        yield Point(promise, False, f"no answer: {error}", ran)
        return
    worst = max(found["console_ms"], found["live_ms"], found["incident_ms"])
    figure = (
        f"{found['console_ms']} ms whole, {found['live_ms']} ms the live part, {found['incident_ms']} ms an incident's page; "
        f"{found['deliveries']:,} deliveries, counting them once takes {found['counting_once_ms']} ms"
    )
    yield Point(promise, worst <= CONSOLE_MS and found["deliveries"] >= DELIVERIES, figure, ran)


def _pictures() -> Iterator[Point]:
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\((img/desk-[\w-]+\.png)\)", text)
    there = [name for name in named if (ROOT / "docs" / name).exists()]
    yield Point(
        f"{PICTURES} screenshots in docs/operate.md",
        len(there) >= PICTURES,
        f"{len(there)}",
        "docs/operate.md",
    )
