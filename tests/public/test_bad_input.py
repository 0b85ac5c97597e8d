"""Whatever operators write: page, feeds, JSON, badge and banner stay whole, read back with real parsers."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import feedparser
import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from icalendar import Calendar

from incidents.lifecycle import Status
from public import badges, feeds, ical, pages, shown, statusapi
from public.richtext import markdown
from public.snapshot import Snapshot
from tests.public.cast import MAJOR, NOW, PAGE, component, incident, snapshot, update

pytestmark = pytest.mark.slow  # Hypothesis tries a few hundred texts

SCHEMAS = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "schemas"
JSON_FEED = json.loads((SCHEMAS / "jsonfeed.json").read_text(encoding="utf-8"))
TAGS = {
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "main", "section", "div", "h1", "h2",
    "h3", "p", "span", "svg", "circle", "path", "rect", "ol", "ul", "li", "footer", "nav", "time", "bdi", "strong",
    "em", "code", "pre", "blockquote", "br", "hr", "figure", "figcaption", "details", "summary", "table", "thead",
    "tbody", "tr", "th", "td", "form", "label", "select", "option", "input", "button", "article",
}  # fmt: skip
OUR_SCRIPTS = ("/page.js?",)

# Alone and in each other's company: markup, marks that turn the direction, emoji of many code points, line ends,
# what ends a comment, a CDATA section or a script, what templates, formats and spreadsheets would take for theirs.
BITS = st.sampled_from(
    [
        "<script>alert(1)</script>", "</script>", "</title>", "<img src=x onerror=alert(1)>", "<!--", "-->", "]]>",
        '"', "'", "&", "&amp;", "&#0;", "{{ 7*7 }}", "{% load x %}", "{name}", "%s", "\\", "\u202e", "\u2067",
        "مرحبا بالعالم", "שלום", "👩‍👩‍👧‍👦", "🇪🇸", "a\u0301", "\u200b", "\ufeff", "\r\n", "\n\n", "\t", "\x0b", "\x00",
        "\x1b[31m", "\ud7ff", "\ufffe", "x" * 300, "[a](javascript:alert(1))", "[b](data:text/html,<b>)",
        "![i](https://evil.example/beacon.gif)", "<https://evil.example>", "[c](JaVaScRiPt:alert(1))",
        "[d](//evil.example)", "@@SINCE_ISO@@", "=1+1", "BEGIN:VEVENT", "`", "*", "# h", "- ", "> ",
    ]
)  # fmt: skip
TEXTS = st.lists(BITS | st.text(max_size=40), max_size=8).map("".join) | st.text(
    min_size=300, max_size=330
)
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


class _Parser(HTMLParser):
    """Collects every element with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Parser()
    parser.feed(html)
    parser.close()
    return parser.found


def world(name: str, text: str) -> Snapshot:
    """A page on which everything that a person can write is written by this one."""
    hurt = component(status=MAJOR, name=name, description=text, unknown_why=text)
    said = update(body=text, what_to_do=text, speaker=name)
    over = incident(
        hurt, uid="incident0002", name=name, status=Status.RESOLVED, resolved_at=NOW,
        updates=(replace(said, uid="update000002"),), postmortem_body=text,
    )  # fmt: skip
    page = replace(PAGE, name=name, headline=text, languages=("en", "es"))
    return snapshot(incident(hurt, name=name, updates=(said,)), over, components=(hurt,), page=page)


def rendered(taken: Snapshot) -> list[str]:
    found = []
    for view in shown.views(taken):
        found += [pages.index(view), pages.index(view, silent=True), pages.widget(view)]
        found += [pages.history(view), pages.component(taken.components[0], view)]
        found += [pages.incident(one, view) for one in taken.incidents]
    return [html.decode() for html in found]


@SETTINGS
@given(name=TEXTS, text=TEXTS)
@example(name="<script>alert(1)</script>", text="![x](https://evil.example/a.gif)")
@example(name="x" * 300, text="\u202e" * 300)
def test_a_page_holds_our_elements_and_no_others(name: str, text: str) -> None:
    shape = None
    for html in rendered(world(name, text)):
        for tag, attributes in elements(html):
            assert tag in TAGS
            assert not any(each.startswith("on") or each == "style" for each in attributes)
            if tag == "script":
                assert (attributes["src"] or "").startswith(OUR_SCRIPTS)
            if tag in ("a", "form"):
                target = attributes.get("href") or attributes.get("action") or ""
                assert urlsplit(target).scheme in ("", "http", "https", "mailto", "tel")
        # The frame around what was written is the same whatever was written.
        shape = shape or html[: html.index("<title>")].count("<meta")
        assert html.count("</body>") == html.count("</main>") == 1


@SETTINGS
@given(name=TEXTS.filter(str.strip), text=TEXTS)
def test_feeds_stay_feeds(name: str, text: str) -> None:
    taken = world(name, text)
    for feed in (feeds.of_page(taken), feeds.of_component(taken.components[0], taken)):
        for written in (feeds.rss(feed), feeds.atom(feed)):
            ElementTree.fromstring(written)
            read = feedparser.parse(written, sanitize_html=False)
            assert not read.bozo, read.bozo_exception
            assert len(read.entries) == 2
        document = json.loads(feeds.json_feed(feed, "feed.json"))
        jsonschema.validate(document, JSON_FEED)
        assert document["items"][0]["title"] == name


@SETTINGS
@given(name=TEXTS, text=TEXTS)
def test_a_feed_s_html_has_no_element_of_the_writer(name: str, text: str) -> None:
    for item in json.loads(feeds.json_feed(feeds.of_page(world(name, text)), "feed.json"))["items"]:
        tags = {tag for tag, _ in elements(item["content_html"])}
        assert tags <= {"p", "small", "var", "br", "strong"}


@SETTINGS
@given(name=TEXTS, text=TEXTS)
def test_a_calendar_stays_a_calendar_of_two_events(name: str, text: str) -> None:
    written = ical.calendar(feeds.of_page(world(name, text)))
    read = Calendar.from_ical(written)
    events = read.walk("VEVENT")
    assert [str(event["uid"]).partition("@")[0] for event in events] == [
        "incident0001",
        "incident0002",
    ]
    assert not [error for event in events for error in event.errors]
    assert all(len(line) <= 75 for line in written.split(b"\r\n"))


@SETTINGS
@given(name=TEXTS, text=TEXTS)
def test_json_gives_back_what_was_written(name: str, text: str) -> None:
    taken = world(name, text)
    documents = {
        path: json.loads(body)
        for path, body in (
            *statusapi.documents(taken),
            *statusapi.frequent_documents(taken),
            *statusapi.banners(taken),
            *statusapi.silent_documents(taken),
        )
        if path.endswith(".json")
    }
    assert documents["api/v2/incidents.json"]["incidents"][0]["name"] == name
    assert documents["api/v2/incidents.json"]["incidents"][0]["incident_updates"][0]["body"] == text
    assert documents["banner.json"]["components"][0]["name"] == name
    assert documents["banner.es.json"]["incident"]["name"] == name


@SETTINGS
@given(name=TEXTS, text=TEXTS)
def test_a_badge_stays_a_drawing(name: str, text: str) -> None:
    for _, body in badges.badges(world(name, text)):
        root = ElementTree.fromstring(body)
        tags = {one.tag.rpartition("}")[2] for one in root.iter()}
        assert tags <= {"svg", "title", "rect", "path", "circle", "g", "text", "clipPath"}


@SETTINGS
@given(text=TEXTS)
@example(text="[x](java\nscript:alert(1))")
@example(text="[x](&#106;avascript:alert(1))")
@example(text='[x](https://a.example "onmouseover=alert(1)")')
@example(text="<a href=javascript:alert(1)>x</a>")
def test_markdown_leaves_plain_tags_and_dead_links(text: str) -> None:
    html = str(markdown(text))
    for tag, attributes in elements(html):
        assert tag in {
            "p",
            "br",
            "strong",
            "em",
            "a",
            "ul",
            "ol",
            "li",
            "code",
            "pre",
            "blockquote",
        }
        assert set(attributes) <= {"href", "rel"}
        scheme = urlsplit((attributes.get("href") or "").strip()).scheme
        assert scheme in ("", "http", "https", "mailto", "tel")


@pytest.mark.parametrize(
    "target", ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "JAVASCRIPT:alert(1)"]
)
def test_a_link_that_would_act_is_dead(target: str) -> None:
    assert "href" not in markdown(f"[look]({target})")


def test_a_link_that_leads_somewhere_lives() -> None:
    assert 'href="https://help.example.org/"' in markdown("[look](https://help.example.org/)")


@pytest.mark.parametrize(
    "text", ["![x](https://evil.example/a.gif)", "<img src=https://evil.example/a.gif>"]
)
def test_no_picture_calls_home(text: str) -> None:
    assert re.search("<img|<picture|url\\(", str(markdown(text))) is None
