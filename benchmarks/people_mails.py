"""The mails of people: weighed by SpamAssassin, held against the RFCs, and drawn as three kinds of readers see them."""

import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

from playwright.sync_api import Browser, Request

from benchmarks import rfc_mail
from demo.night import House

SCORE_MAX = 1.0
SPAM_S = 300
WIDTHS = (320, 800)


@dataclass(frozen=True, slots=True)
class Mail:
    name: str
    raw: bytes
    one_click: bool


def fetch(house: House, name: str, number: int, *, one_click: bool) -> Mail:
    with urllib.request.urlopen(
        f"{house.facts['mailbox']}/messages/{number}.eml", timeout=10
    ) as answer:
        return Mail(name, answer.read(), one_click)


def score(mail: Mail) -> tuple[float, str]:
    """Return SpamAssassin's score by its offline rules, and which rules struck."""
    done = subprocess.run(
        ["spamassassin", "--local", "--test-mode"], input=mail.raw, capture_output=True, timeout=SPAM_S, check=False
    )  # fmt: skip
    said = done.stdout.decode("utf-8", "replace")
    found = re.search(
        r"score=(-?[\d.]+) required=[\d.]+\s+tests=([\w,\s]*?)\s*(?:autolearn|version)", said
    )
    if found is None:
        return 99.0, f"no answer: {done.stderr.decode('utf-8', 'replace')[:200]}"
    return float(found.group(1)), re.sub(r"\s+", "", found.group(2))


def faults(mail: Mail) -> list[str]:
    return rfc_mail.faults(mail.raw, now=datetime.now(UTC), one_click=mail.one_click)


def draw(mail: Mail, browser: Browser, folder: Path) -> list[str]:
    """Draw the mail narrow and wide, light and dark, and as text; return what does not fit."""
    folder.mkdir(parents=True, exist_ok=True)
    message = message_from_bytes(mail.raw, policy=policy.default)
    plain, html = (message.get_body(preferencelist=(kind,)) for kind in ("plain", "html"))
    if plain is None or html is None:
        return ["a part is missing"]
    text = str(plain.get_content())
    (folder / f"{mail.name}.txt").write_text(text, encoding="utf-8")
    wrong = [
        f"a text line of {len(line)}"
        for line in text.splitlines()
        if len(line) > 78 and "://" not in line
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as page_file:
        page_file.write(str(html.get_content()))
        page_file.flush()
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": 600}, color_scheme=scheme, java_script_enabled=True
                )  # fmt: skip
                page = context.new_page()
                asked: list[str] = []
                page.on("request", _noting(asked))
                page.goto(f"file://{page_file.name}")
                if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                    wrong.append(f"scrolls sideways at {width} px")
                strange = [url for url in asked if not url.startswith("file:")]
                wrong += [f"fetches {url}" for url in strange]
                page.screenshot(
                    path=str(folder / f"{mail.name}-{width}-{scheme}.png"), full_page=True
                )
                context.close()
    return wrong


def _noting(asked: list[str]) -> Callable[[Request], None]:
    return lambda request: asked.append(request.url)
