"""The promised points of the face."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser
from playwright.sync_api import Error as BrowserError

from benchmarks import (
    face_banner,
    face_dark,
    face_judges,
    face_site,
    face_states,
    page_servers,
    publishing,
    shots,
    stage,
)
from benchmarks.accept import Point
from benchmarks.alone import alone
from benchmarks.page_servers import ROOT
from benchmarks.probes_stage import NotHere

NGINX_RATIO_MIN, APP_RATIO_MIN, P99_RATIO_MAX = 0.9, 0.8, 2.0
PUBLISH_S_MAX, HISTORY_RATIO_MAX = 0.5, 2.0
INDEX_BYTES_MAX, INDEX_BROTLI_MAX = 64 * 1024, 14 * 1024
SCORE_MIN = 98.0
BANNER_GZIP_MAX = 6 * 1024
UNKNOWN_WITHIN_S = 120.0
HISTORY_DAYS = 5 * 365
TESTS_S = 600.0
LOOKS = 3  # of Lighthouse; the median counts


def points() -> Iterator[Point]:
    """Measure every point; the whole takes about half an hour on two cores."""
    with tempfile.TemporaryDirectory(prefix="sp-face-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield from _tried("publishing", lambda: _publishing(folder))
        yield from _tried("the page, judged", lambda: _judged(folder))
    yield from _tried("every state, judged", _scenes)
    yield from _tried("the banner", _banner)
    yield from _tried("all behind nginx killed", _dark)
    yield from _tried("how many readers", _readers)
    yield from _tried("pictures", _pictures)
    yield from _bad_input()


def _tried(what: str, measure: Callable[[], Iterator[Point]]) -> Iterator[Point]:
    """Yield the points of one part; what breaks is a failure of that part, and the others go on."""
    broken = (
        NotHere, stage.NotStarted, BrowserError, RuntimeError, OSError,
        subprocess.SubprocessError, ValueError,
    )  # fmt: skip
    try:
        yield from measure()
    except broken as error:
        words = " ".join(str(error).split())[:300]
        yield Point(
            f"{what}: measured to its end", False, words or type(error).__name__, "as below"
        )


# --- publishing and sizes -----------------------------------------------------------------------


def _publishing(folder: Path) -> Iterator[Point]:
    ran = "benchmarks.publishing: 500 incidents in 5 years, 40 components, median of 5 updates"
    month = publishing.measured(30, folder / "month")
    years = publishing.measured(HISTORY_DAYS, folder / "years")
    took, ratio = years["publish_s"], years["publish_s"] / month["publish_s"]
    yield Point(
        f"publishing with 5 years of history ≤ {PUBLISH_S_MAX} s", took <= PUBLISH_S_MAX,
        f"{took:.3f} s (best {years['best_s']:.3f}, worst {years['worst_s']:.3f}; {years['cpu_s']:.3f} s of processor time)",
        ran,
    )  # fmt: skip
    yield Point(
        f"and ≤ {HISTORY_RATIO_MAX:g} × the cost with one month", ratio <= HISTORY_RATIO_MAX,
        f"{ratio:.2f} (one month {month['publish_s']:.3f} s)", ran,
    )  # fmt: skip
    size, packed = years["index_bytes"], years["index_brotli_bytes"]
    yield Point(
        "index with 40 components and an open incident ≤ 64 KB, ≤ 14 KB brotli",
        size <= INDEX_BYTES_MAX and packed <= INDEX_BROTLI_MAX,
        f"{size:,.0f} bytes, {packed:,.0f} brotli (quality 5)", ran,
    )  # fmt: skip
    script = (folder / "years" / "public" / "banner.js.gz").stat().st_size
    yield Point(
        "banner.js ≤ 6 KB gzipped", script <= BANNER_GZIP_MAX, f"{script:,} bytes", "its .gz as published"
    )  # fmt: skip


# --- judged by strangers ------------------------------------------------------------------------


def _judged(folder: Path) -> Iterator[Point]:
    """Show the page of 40 components and 5 years, from nginx with our configuration, to those who judge pages."""
    public = folder / "years" / "public"
    ran = "5 years of history behind nginx with docker/nginx.conf"
    with ExitStack() as stack:
        port = page_servers.free_port()
        nginx = stack.enter_context(
            page_servers.started(page_servers.ours(folder, public, port), port)
        )
        publishing.publish_once(folder / "years")
        yield from _fetched(nginx.url)
        stack.enter_context(alone())
        for desktop in (False, True):
            yield _scored(nginx.url, folder / "years", desktop=desktop)
    errors = face_judges.nu_errors(face_judges.html_files(public))
    count = len(face_judges.html_files(public))
    yield Point(
        "Nu HTML checker: no error", not errors, errors[0] if errors else f"0 in {count} pages",
        f"vnu-jar, every page of {ran}",
    )  # fmt: skip
    faults = face_judges.feed_faults(public, "history", "feed.json")
    faults += face_judges.feed_faults(public, "components/part-7", "components/part-7.json")
    yield Point(
        "feeds valid against their schemas", not faults, faults[0] if faults else "0 faults in 8 feeds",
        "Jing with benchmarks/schemas, feedparser, jsonschema, icalendar",
    )  # fmt: skip
    yield _policy(ran)


def _fetched(url: str) -> Iterator[Point]:
    with face_site.browsing() as browser:
        seen = face_judges.loaded(f"{url}/", browser)
    css, js = len(seen.of(".css")), len(seen.of(".js"))
    foreign = [one for one in seen.addresses if not one.startswith(url)]
    yield Point(
        "one CSS, one JS, nothing from elsewhere, nothing on the console",
        css == js == 1 and not foreign and not seen.complaints,
        f"{css} CSS, {js} JS, {len(foreign)} from elsewhere, {len(seen.complaints)} complaints", "Chromium",
    )  # fmt: skip


def _scored(url: str, data: Path, *, desktop: bool) -> Point:
    looks = []
    for _ in range(LOOKS):
        publishing.publish_once(data)  # as fresh as the clock keeps it; nobody publishes meanwhile
        looks.append(face_judges.lighthouse(url, desktop=desktop))
    scores = {name: sorted(one[name] for one in looks)[LOOKS // 2] for name in looks[0]}
    kind = "desktop" if desktop else "phone"
    return Point(
        f"Lighthouse, {kind}: four categories ≥ {SCORE_MIN:g}", min(scores.values()) >= SCORE_MIN,
        ", ".join(f"{name} {score:.0f}" for name, score in scores.items()),
        f"lighthouse of npm, Chromium, median of {LOOKS}",
    )  # fmt: skip


def _policy(ran: str) -> Point:
    """The policy is what docker/nginx.conf and serve.py send; that it holds is what the console told above."""
    from public import serve

    policies = (serve._HTML_POLICY, serve._WIDGET_POLICY, serve._OTHER_POLICY)
    conf = (ROOT / "docker" / "nginx.conf").read_text(encoding="utf-8")
    sent = all(policy in conf for policy in policies)
    loose = re.search(
        r"unsafe-|\*(?!;)|https?:", " ".join(policies).replace("frame-ancestors *", "")
    )
    strict = all(policy.startswith("default-src 'none'") for policy in policies) and loose is None
    return Point(
        "strict CSP without unsafe-inline", sent and strict,
        policies[0][:90] + " …" if sent and strict else f"sent: {sent}, strict: {strict}", ran,
    )  # fmt: skip


def _scenes() -> Iterator[Point]:
    """Show every state of the page to axe-core, the Nu HTML checker and the feeds' judges."""
    now = datetime.now(UTC).replace(microsecond=0)
    scenes = face_states.scenes(now)
    wrong: list[str] = []
    files: list[Path] = []
    faults: list[str] = []
    with (
        face_site.browsing() as browser,
        tempfile.TemporaryDirectory(prefix="sp-scenes-", ignore_cleanup_errors=True) as name,
    ):
        for scene in scenes:
            public = Path(name) / scene.name
            face_site.publish(public, scene.snapshot, is_silent=scene.is_silent)
            with face_site.serving(public) as url:
                wrong += face_judges.axe_of(scene, url, browser)
            if not scene.path or scene.is_silent:
                files += face_judges.html_files(public)
            if not scene.path:
                faults += face_judges.feed_faults(public, "history", "feed.json")
        errors = face_judges.nu_errors(files)
    yield Point(
        "axe-core finds nothing", not wrong, wrong[0] if wrong else f"0 in {4 * len(scenes)} pages",
        f"{len(scenes)} scenes: light and dark, 360 and 1,280 px, English and Spanish, all details open",
    )  # fmt: skip
    yield Point(
        "Nu HTML checker, every state: no error", not errors,
        errors[0] if errors else f"0 in {len(files)} pages", "vnu-jar, all scenes",
    )  # fmt: skip
    yield Point(
        "feeds of every state are valid", not faults, faults[0] if faults else "0 faults", "as above, all scenes"
    )  # fmt: skip


# --- the banner ---------------------------------------------------------------------------------


def _banner() -> Iterator[Point]:
    with face_site.browsing() as browser:
        said = face_banner.falls_back(browser)
        yield Point(
            "banner: source stopped → mirror → all stopped → unknown since",
            said["state"] == "unknown" and "no answer since" in said["nobody"],
            f"{said['mirror'][:40]} … then: {said['nobody'][:70]}", "benchmarks.face_banner, Chromium",
        )  # fmt: skip
        yield _healthy(browser)


def _healthy(browser: Browser) -> Point:
    seen = face_banner.a_healthy_day(browser)
    states = seen["states"]
    return Point(
        "a healthy banner over 24 simulated hours never says unknown", states == ["operational"],
        f"states {states}, asked {seen['asked']} times", "simulated time, steps of 9 s",
    )  # fmt: skip


# --- everything behind nginx is gone ------------------------------------------------------------


def _dark() -> Iterator[Point]:
    seen = face_dark.fall()
    ran = f"kill -9 of {', '.join(seen.killed)}; nginx and watchdog go on"
    yield Point(
        "all killed: nginx still serves page, API, feeds, banner", not seen.failed,
        f"{len(seen.failed)} of {seen.asked:,} requests failed {seen.failed[:1] or ''}", ran,
    )  # fmt: skip
    late = sorted(set(face_dark.UNKNOWN) - set(seen.unknown_after_s))
    last = max(seen.unknown_after_s.values(), default=0.0)
    yield Point(
        f"and within {UNKNOWN_WITHIN_S:g} s they say unknown since",
        not late and last <= UNKNOWN_WITHIN_S,
        f"the last of {len(seen.unknown_after_s)} after {last:.1f} s" + (f"; never: {late}" if late else ""), ran,
    )  # fmt: skip


# --- how many -----------------------------------------------------------------------------------


def _readers() -> Iterator[Point]:
    ran = "./run bench page --json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "page", "--json"], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=900,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:])
    found = json.loads(done.stdout)
    figures, ran = found["figures"], f"{ran}; {found['run'].rpartition('; ')[2]}"
    nginx, app, publishing_ = figures["nginx"], figures["app_server"], figures["publishing"]
    for name, measured, least in (
        ("nginx with our configuration ≥ 0.9 of one plain file", nginx, NGINX_RATIO_MIN),
        ("without nginx ≥ 0.8 of a bare WSGI ok", app, APP_RATIO_MIN),
    ):
        yield Point(
            name, measured["ratio"] >= least,
            f"{measured['ratio']:.2f} by processor time ({measured['ratio_lowest']:.2f} to {measured['ratio_highest']:.2f}), "
            f"{measured['ratio_by_clock']:.2f} by the clock ({measured['by_clock_lowest']:.2f} to "
            f"{measured['by_clock_highest']:.2f}); {measured['ours_per_s']:,.0f} pages/s", ran,
        )  # fmt: skip
    yield Point(
        "bytes on the wire equal", nginx["wire_bytes"] == nginx["limit_wire_bytes"],
        f"{nginx['wire_bytes']:,.0f} and {nginx['limit_wire_bytes']:,.0f}", ran,
    )  # fmt: skip
    yield Point(
        "back-to-back publishing: no failed request", publishing_["failed"] == 0,
        f"{publishing_['failed']:.0f} failed", ran,
    )  # fmt: skip
    yield Point(
        "and p99 ≤ 2 × quiet", publishing_["p99_ratio"] <= P99_RATIO_MAX,
        f"{publishing_['publishing_p99_ms']:.2f} ms, quiet {publishing_['quiet_p99_ms']:.2f} ms: "
        f"{publishing_['p99_ratio']:.2f}", ran,
    )  # fmt: skip
    took = publishing_["read_at_full_rate_publish_s"]
    yield Point(
        f"an update is published in ≤ {PUBLISH_S_MAX} s while the page is read at full rate",
        took <= PUBLISH_S_MAX,
        f"{took:.3f} s (worst {publishing_['read_at_full_rate_worst_s']:.3f}), "
        f"{publishing_['read_per_s']:,.0f} pages/s", ran,
    )  # fmt: skip


# --- pictures, and what people write ------------------------------------------------------------


def _pictures() -> Iterator[Point]:
    found = shots.run()
    shown = sorted(file.name for file in (ROOT / "docs" / "img").glob("page-*.png"))
    yield Point(
        "every state × light/dark × 360/1,280 px × English/Spanish as a screenshot",
        found["ratio_to_limit"] == 1.0, f"{found['value']:.0f} files, as many as expected", "./run bench shots",
    )  # fmt: skip
    yield Point("six of them in docs/", len(shown) == 6, ", ".join(shown), "docs/img")


def _bad_input() -> Iterator[Point]:
    ran = "pytest tests/public/test_bad_input.py"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/public/test_bad_input.py"],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=TESTS_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        yield Point("bad input", False, str(error), ran)
        return
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "it said nothing"
    yield Point(
        "names of 300 characters, right-to-left, emoji, <script>: page, feeds, JSON, badge and banner stay whole",
        done.returncode == 0, last, ran,
    )  # fmt: skip
