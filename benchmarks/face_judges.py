"""Strangers that judge the public page: Lighthouse, axe-core, the Nu HTML checker, Jing, feed readers, Chromium itself."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import feedparser
import jsonschema
from axe_playwright_python.sync_playwright import Axe
from icalendar import Calendar
from playwright.sync_api import Browser, Page

from benchmarks import face_site
from benchmarks.face_states import Scene
from benchmarks.probes_stage import NotHere

HERE = Path(__file__).resolve().parent
WANTED = HERE / "browser"  # package.json and its lock
SCHEMAS = HERE / "schemas"
# Outside the tree, kept between runs: 150 packages are a minute of somebody's time.
TOOLS = Path(tempfile.gettempdir()) / "statuspage-page-checks"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
INSTALL_S, JUDGE_S = 300.0, 240.0
_JING = "nu.validator.vendor.thaiopensource.relaxng.util.Driver"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What Chromium fetched for one page, and what it complained of."""

    addresses: tuple[str, ...]
    complaints: tuple[str, ...]

    def of(self, ending: str) -> list[str]:
        return [one for one in self.addresses if urlsplit(one).path.endswith(ending)]


def installed() -> Path:
    """Return node_modules with the judges from npm, installed when the lock is another. Raises NotHere."""
    for program in ("npm", "node", "java"):
        if shutil.which(program) is None:
            raise NotHere(
                f"{program} is not on this machine; Debian: apt-get install nodejs npm default-jre-headless"
            )
    lock = (WANTED / "package-lock.json").read_bytes()
    there = TOOLS / "package-lock.json"
    if there.exists() and there.read_bytes() == lock and (TOOLS / ".whole").exists():
        return TOOLS / "node_modules"
    shutil.rmtree(TOOLS, ignore_errors=True)
    TOOLS.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(WANTED / name, TOOLS / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=TOOLS, check=True, timeout=INSTALL_S, capture_output=True)
    (TOOLS / ".whole").touch()
    return TOOLS / "node_modules"


# --- Lighthouse ---------------------------------------------------------------------------------


def lighthouse(url: str, *, desktop: bool = False) -> dict[str, float]:
    """Return the scores of the four categories, 0 to 100."""
    command = [
        str(installed() / ".bin" / "lighthouse"), url, "--output=json", "--quiet",
        f"--only-categories={','.join(CATEGORIES)}", "--chrome-flags=--headless=new --no-sandbox --disable-gpu",
        *(["--preset=desktop"] if desktop else []),
    ]  # fmt: skip
    env = {**os.environ, "CHROME_PATH": face_site.chromium()}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, check=True, timeout=JUDGE_S
    )
    report: dict[str, Any] = json.loads(done.stdout)  # Any: JSON of a stranger
    if "runtimeError" in report:
        raise RuntimeError(report["runtimeError"]["message"])
    return {name: 100 * float(report["categories"][name]["score"] or 0) for name in CATEGORIES}


# --- in Chromium --------------------------------------------------------------------------------


def axe(page: Page) -> list[str]:
    """Return what axe-core finds wrong with the page as it is shown: rule and first place."""
    violations = Axe().run(page).response["violations"]
    return [f"{one['id']} at {one['nodes'][0]['target']}" for one in violations]


def axe_of(scene: Scene, url: str, browser: Browser) -> Iterator[str]:
    """Yield what is wrong with a scene, light and dark, on a phone and a desk, in each language."""
    kinds = (("light", 360, ""), ("dark", 1280, ""), ("dark", 360, "es/"), ("light", 1280, "es/"))
    for scheme, width, language in kinds:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]  # "light" or "dark"
            bypass_csp=True,  # axe is put in as a script
        )
        page = context.new_page()
        page.clock.set_fixed_time(scene.snapshot.now)
        page.goto(f"{url}/{language}{scene.path}")
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for found in axe(page):
            yield f"{scene.name}, {scheme}, {width} px, {language or 'en/'}: {found}"
        context.close()


def loaded(url: str, browser: Browser) -> Loaded:
    context = browser.new_context()
    page = context.new_page()
    addresses: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    face_site.listen(page, complaints)
    page.goto(url, wait_until="networkidle")
    context.close()
    return Loaded(tuple(addresses), tuple(complaints))


# --- files --------------------------------------------------------------------------------------


def html_files(public: Path) -> list[Path]:
    """Return the published pages: files without an ending, and the indexes."""
    own = (path for path in public.rglob("*") if path.is_file())
    return [
        path
        for path in own
        if not any(part.startswith(".") for part in path.relative_to(public).parts)
        and (path.suffix == "" or path.name == "index.html")
    ]


def nu_errors(pages: Sequence[Path]) -> list[str]:
    """Return the errors of the Nu HTML checker, which tells pages by their ending: they are copied."""
    with tempfile.TemporaryDirectory(prefix="sp-nu-") as name:
        for number, page in enumerate(pages):
            shutil.copy(page, Path(name) / f"{number:05}-{page.stem}.html")
        done = _java("-jar", str(_nu()), "--format", "json", "--stdout", "--exit-zero-always", name)
        messages = json.loads(done.stdout)["messages"]
    return [
        f"{one['message']} ({one.get('url', '')})" for one in messages if one["type"] == "error"
    ]


def not_valid(feed: Path, schema: str) -> list[str]:
    """Return what Jing finds in a feed against one of our schemas."""
    done = _java("-cp", str(_nu()), _JING, "-c", str(SCHEMAS / schema), str(feed))
    return [] if done.returncode == 0 else done.stdout.splitlines()[:3] or [done.stderr[-200:]]


def feed_faults(public: Path, stem: str, json_name: str) -> list[str]:
    """Return what is wrong with the four feeds of the same news, to schemas and to readers."""
    faults = [
        *not_valid(public / f"{stem}.rss", "rss.rnc"),
        *not_valid(public / f"{stem}.atom", "atom.rnc"),
    ]
    counts = {}
    for ending in ("rss", "atom"):
        read = feedparser.parse((public / f"{stem}.{ending}").read_bytes())
        counts[ending] = len(read.entries)
        if read.bozo:
            faults.append(f"feedparser, {stem}.{ending}: {read.bozo_exception}")
    if len(set(counts.values())) > 1:
        faults.append(f"{stem}: RSS and Atom tell of different numbers: {counts}")
    schema = json.loads((SCHEMAS / "jsonfeed.json").read_text(encoding="utf-8"))
    for error in jsonschema.Draft202012Validator(schema).iter_errors(
        json.loads((public / json_name).read_bytes())
    ):
        faults.append(f"{json_name}: {error.message}")
    calendar = Calendar.from_ical((public / f"{stem}.ics").read_bytes())
    faults += [f"{stem}.ics: {error}" for event in calendar.walk() for error in event.errors]
    return faults


def _nu() -> Path:
    return installed() / "vnu-jar" / "build" / "dist" / "vnu.jar"


def _java(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["java", *arguments], capture_output=True, text=True, check=False, timeout=JUDGE_S
    )
