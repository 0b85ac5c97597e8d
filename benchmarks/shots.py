"""`./run bench shots`: every state of the page as pictures: light and dark, phone and desk, each language."""

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks import face_site, face_states
from benchmarks.face_states import Scene

SCHEMES = ("light", "dark")
WIDTHS = (360, 1280)
HEIGHT = 800
KEPT = Path("var/shots")
# The six of docs/img: what stands on the first screen.
SHOWN = (
    ("down", "light", 360, "en"),
    ("overdue", "dark", 360, "en"),
    ("silent", "light", 360, "es"),
    ("working", "light", 360, "en"),
    ("several", "dark", 1280, "en"),
    ("component", "light", 1280, "es"),
)
IMAGES = Path(__file__).resolve().parent.parent / "docs" / "img"
ZONE = "America/New_York"


def run(folder: Path = KEPT) -> dict[str, object]:
    """Take all pictures into `folder`; raises RuntimeError when one is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    scenes = face_states.scenes(datetime.now(UTC).replace(microsecond=0))
    complaints: list[str] = []
    with (
        face_site.browsing() as browser,
        tempfile.TemporaryDirectory(prefix="sp-shots-", ignore_cleanup_errors=True) as name,
    ):
        for scene in scenes:
            public = Path(name) / scene.name
            face_site.publish(public, scene.snapshot, is_silent=scene.is_silent)
            with face_site.serving(public) as url:
                complaints += _taken(scene, url, browser, folder)
    expected = {f"{_stem(scene, *kind)}.png" for scene in scenes for kind in _kinds()}
    there = {file.name for file in folder.glob("*.png") if file.stat().st_size > 0}
    if there != expected:
        raise RuntimeError(
            f"{len(there)} pictures instead of {len(expected)}: {sorted(expected ^ there)[:3]}"
        )
    if complaints:
        raise RuntimeError(f"Chromium complains: {complaints[0]}")
    return {
        "value": float(len(there)),
        "unit": f"pictures in {folder}",
        "limit": len(expected),
        "ratio_to_limit": len(there) / len(expected),
        "figures": {"scenes": len(scenes), "each": len(list(_kinds()))},
        "run": f"{len(scenes)} scenes × {SCHEMES} × {WIDTHS} px × {face_states.LANGUAGES}, Debian's Chromium",
    }


def for_docs() -> None:
    """Take the six pictures of docs/img anew."""
    known = {one.name: one for one in face_states.scenes(datetime.now(UTC).replace(microsecond=0))}
    with (
        face_site.browsing() as browser,
        tempfile.TemporaryDirectory(prefix="sp-shots-", ignore_cleanup_errors=True) as name,
    ):
        for scene_name, scheme, width, language in SHOWN:
            scene, public = known[scene_name], Path(name) / scene_name
            stem = _stem(scene, scheme, width, language)
            face_site.publish(public, scene.snapshot, is_silent=scene.is_silent)
            with face_site.serving(public) as url:
                page = _opened(scene, url, browser, scheme, width, language)
                page.screenshot(path=IMAGES / f"page-{stem}.png")
                page.context.close()


def _kinds() -> Iterator[tuple[str, int, str]]:
    return product(SCHEMES, WIDTHS, face_states.LANGUAGES)


def _stem(scene: Scene, scheme: str, width: int, language: str) -> str:
    return f"{scene.name}-{scheme}-{width}-{language}"


def _taken(scene: Scene, url: str, browser: Browser, folder: Path) -> list[str]:
    """Take one scene's pictures; return what the console said, and what does not fit the screen."""
    said: list[str] = []
    for scheme, width, language in _kinds():
        heard: list[str] = []
        page = _opened(scene, url, browser, scheme, width, language, heard)
        stem = _stem(scene, scheme, width, language)
        across = page.evaluate("document.documentElement.scrollWidth")
        if across > width:
            heard.append(f"{across} px wide")
        said += [f"{stem}: {each}" for each in heard]
        page.screenshot(path=folder / f"{stem}.png", full_page=True)
        page.context.close()
    return said


def _opened(
    scene: Scene, url: str, browser: Browser, scheme: str, width: int, language: str,
    heard: list[str] | None = None,
) -> Page:  # fmt: skip
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme=scheme,  # type: ignore[arg-type]  # one of SCHEMES
        timezone_id=ZONE,
        locale={"en": "en-US", "es": "es-ES"}[language],
    )
    page = context.new_page()
    page.clock.set_fixed_time(scene.snapshot.now)  # taking them all may take minutes
    face_site.listen(page, [] if heard is None else heard)
    page.goto(f"{url}/{'' if language == 'en' else f'{language}/'}{scene.path}")
    return page


if __name__ == "__main__":
    if sys.argv[1:] == ["--docs"]:
        for_docs()
    else:
        print(run(Path(sys.argv[1]) if sys.argv[1:] else KEPT))
