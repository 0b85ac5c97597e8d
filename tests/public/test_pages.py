"""What the pages say, as a reader meets it: text in order, without markup."""

import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest

from incidents.facts import GroupFact
from incidents.lifecycle import Status
from public import pages, shown, words
from public.richtext import markdown
from public.snapshot import Checked, Snapshot
from public.times import Moments
from tests.public.cast import (
    HOUR_AGO,
    LONG_AGO,
    MAJOR,
    NOW,
    component,
    incident,
    maintenance,
    snapshot,
    update,
)


class _Reader(HTMLParser):
    """Collects the text and all tags, and notices what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "img", "input", "path", "circle", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "rect":
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: bytes) -> _Reader:
    reader = _Reader()
    reader.feed(html.decode())
    assert not reader.open
    return reader


def told(html: bytes) -> str:
    return re.sub(r"\s+", " ", " ".join(read(html).text))


def view(taken: Snapshot) -> shown.View:
    return shown.views(taken)[0]


def index(taken: Snapshot) -> str:
    return told(pages.index(view(taken)))


HURT = component(status=MAJOR, name="Readings and alerts")


def down(**words: object) -> Snapshot:
    said = update(what_to_do="Check the wearer.\n\n- Keep the phone near.", automatic=True)
    fact = incident(HURT, updates=(said,), next_update_by=NOW + timedelta(minutes=20))
    return snapshot(replace(fact, **words), components=(HURT,))  # type: ignore[arg-type]  # a word of the fact


def test_the_answer_comes_first() -> None:
    text = index(down())
    order = [
        "Followers may not receive readings",
        "Since 01:10 EST (1 h 00 min)",
        "What to do now Check the wearer.",
        "Next update by 02:30 EST · in 20 min",
        "Readings and alerts not working",
        "Text 1.",
        "Posted automatically",
        "Planned maintenance",
        "Past incidents",
    ]
    places = [text.find(part, text.find("Subscribe")) for part in order]
    assert -1 not in places
    assert places == sorted(places)


def test_a_promise_that_is_not_kept_is_called_overdue() -> None:
    text = index(down(next_update_by=NOW - timedelta(minutes=2)))
    assert "The next update is overdue since 02:08 EST" in text
    assert "Next update by" not in text


def test_a_quiet_page_speaks() -> None:
    text = index(snapshot())
    assert "Everything is working" in text
    assert "Nothing is planned." in text
    assert "No incidents in the last 15 days." in text
    assert "What to do" not in text


@pytest.mark.parametrize(
    ("checked", "blind", "expected"),
    [
        pytest.param(None, False, None, id="without checks nothing is claimed"),
        pytest.param(
            Checked(NOW - timedelta(seconds=9), 5),
            False,
            "Last checked 9 s ago from 5 places",
            id="fresh",
        ),
        pytest.param(
            Checked(NOW - timedelta(seconds=9), 1),
            False,
            "Last checked 9 s ago from 1 place",
            id="one place",
        ),
        pytest.param(
            Checked(NOW - timedelta(minutes=5), 0),
            False,
            "Last checked 5 min ago",
            id="a slow check",
        ),
        pytest.param(
            Checked(NOW - timedelta(minutes=5), 0), True, "Not checked since 02:05 EST", id="blind"
        ),
        pytest.param(
            Checked(NOW - timedelta(hours=1), 0),
            False,
            "Not checked since 01:10 EST",
            id="long ago",
        ),
    ],
)
def test_the_page_says_when_it_last_looked(
    checked: Checked | None, blind: bool, expected: str | None
) -> None:
    parts = (component(unknown_since=HOUR_AGO),) if blind else (component(),)
    text = index(snapshot(components=parts, checked=checked))
    assert (expected in text) if expected else ("checked" not in text)


def test_an_unknown_component_says_why() -> None:
    why = 'not checked while "log in" fails'
    blind = component(unknown_since=HOUR_AGO, unknown_why=why)
    assert f"unknown: {why} (since 01:10 EST )" in index(snapshot(components=(blind,)))


def test_components_stand_under_their_groups_and_hidden_ones_do_not_stand() -> None:
    group = GroupFact("group0000001", "Follow app", "For followers", 1, LONG_AGO, LONG_AGO)
    parts = (
        component("web", name="Web site"),
        component(name="Readings", group=group.uid),
        component("spare", name="Spare", only_show_if_degraded=True),
        component("hurt", name="Hurt spare", only_show_if_degraded=True, status=MAJOR),
    )
    text = index(snapshot(components=parts, groups=(group,)))
    assert text.find("Web site") < text.find("Follow app") < text.find("Readings")
    assert "Hurt spare" in text
    assert " Spare" not in text


def test_who_speaks_is_told() -> None:
    said = (update(3, speaker="Dana"), update(2), update(1, automatic=True, edited_at=NOW))
    text = index(down(updates=said))
    assert "Posted by Dana" in text
    assert "Posted by Follow status" in text
    assert "Posted automatically, edited 02:10 EST" in text


def test_a_bar_tells_its_day_in_words_and_a_table_repeats_it() -> None:
    changes = (
        (NOW - timedelta(days=20), "operational"),
        (NOW - timedelta(days=2, hours=2), "major_outage"),
        (NOW - timedelta(days=2, hours=1), "operational"),
    )
    taken = snapshot(components=(HURT,), history=((HURT.uid, changes),))
    html = pages.index(view(taken))
    said = "28 Nov: not working 1 h 00 min"
    assert f"<title>{said}</title>" in html.decode()
    assert "28 Nov not working 1 h 00 min" in told(html)
    assert "99.79 %" in told(html)


def test_uptime_is_never_rounded_up_to_all() -> None:
    changes = (
        (NOW - timedelta(days=90), "operational"),
        (NOW - timedelta(seconds=40), "major_outage"),
        (NOW - timedelta(seconds=39), "operational"),
    )
    assert "99.99 %" in index(snapshot(components=(HURT,), history=((HURT.uid, changes),)))


def test_markdown_of_operators_becomes_plain_tags() -> None:
    html = markdown("**Down**\nsince [noon](https://example.org/x)")
    assert html == (
        '<p><strong>Down</strong><br>\nsince <a href="https://example.org/x" rel="nofollow noopener noreferrer">noon</a></p>\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<script>alert(1)</script>", id="a script"),
        pytest.param("<img src=x onerror=alert(1)>", id="an image with a handler"),
        pytest.param("[x](javascript:alert(1))", id="a script as a link"),
        pytest.param("[x](data:text/html;base64,PHNjcmlwdD4=)", id="data as a link"),
        pytest.param("![x](https://tracker.example/pixel.png)", id="a tracking pixel"),
        pytest.param("{{ page.name }} {% include 'x' %}", id="a template's words"),
        pytest.param("<svg/onload=alert(1)>", id="a drawing with a handler"),
    ],
)
def test_a_hostile_text_stays_text_everywhere(text: str) -> None:
    for hurt, well in zip(every_page(text), every_page("harmless"), strict=True):
        extra = Counter(tag for tag, _ in hurt.tags) - Counter(tag for tag, _ in well.tags)
        assert set(extra) <= {"a"}  # a picture's address may still be followed by who wants to
        assert not [name for _, attrs in hurt.tags for name in attrs if name.startswith("on")]
        links = [attrs.get("href") or "" for tag, attrs in hurt.tags if tag == "a"]
        assert all(link.startswith(("/", "#", "http")) for link in links)
        assert text in " ".join(hurt.text)


def every_page(text: str) -> list[_Reader]:
    """Render all pages of a world in which everything that a person may write is `text`."""
    hurt = component(name=text, description=text, unknown_since=HOUR_AGO, unknown_why=text)
    said = update(body=text, what_to_do=text, speaker=text)
    fact = incident(hurt, name=text, updates=(said,), postmortem_body=text)
    seen = view(snapshot(fact, components=(hurt,)))
    made = (
        pages.index(seen),
        pages.incident(fact, seen),
        pages.component(hurt, seen),
        pages.history(seen),
    )
    return [read(html) for html in made]


def test_nothing_on_a_page_is_inline_or_from_elsewhere() -> None:
    for tag, attrs in read(pages.index(view(down()))).tags:
        assert tag != "style"
        assert "style" not in attrs
        if tag == "script":
            assert (attrs["src"] or "").startswith("/page.js?")
        if tag == "link" and attrs["rel"] in ("stylesheet", "icon"):
            assert (attrs["href"] or "").startswith("/")


def test_an_incident_has_a_page_of_its_own_with_full_dates() -> None:
    fact = incident(
        HURT, status=Status.RESOLVED, resolved_at=NOW, postmortem_body="We **learnt** much."
    )
    text = told(pages.incident(fact, view(snapshot(fact))))
    assert "Over · 30 Nov 2019, 01:10 EST until 30 Nov 2019, 02:10 EST (1 h 00 min)" in text
    assert "Concerned Readings and alerts" in text
    assert "Looking back We learnt much." in text


def test_a_retracted_incident_says_that_it_was_a_false_alarm() -> None:
    fact = incident(status=Status.RESOLVED, resolved_at=NOW, retracted_at=NOW)
    assert "Taken back: it was a false alarm" in told(pages.incident(fact, view(snapshot(fact))))


def test_a_window_taken_back_was_called_off() -> None:
    fact = maintenance(Status.COMPLETED, resolved_at=NOW, retracted_at=NOW)
    text = told(pages.incident(fact, view(snapshot(fact))))
    assert "Called off" in text
    assert "false alarm" not in text


def test_a_planned_maintenance_tells_its_window() -> None:
    text = index(snapshot(maintenance()))
    assert "New servers 1 Dec, 02:10 EST until 1 Dec, 04:10 EST · Planned" in text


def test_a_running_maintenance_is_the_sentence_when_nothing_is_wrong() -> None:
    running = maintenance(Status.IN_PROGRESS, scheduled_for=HOUR_AGO)
    assert "New servers Since 01:10 EST" in index(snapshot(running))


def test_past_incidents_go_by_month_in_the_history() -> None:
    november = incident(status=Status.RESOLVED, resolved_at=NOW)
    march = incident(uid="incident0002", name="Spring", started_at=LONG_AGO + timedelta(days=70))
    text = told(pages.history(view(snapshot(november, march))))
    assert (
        text.find("November 2019")
        < text.find(november.name)
        < text.find("March 2019")
        < text.find("Spring")
    )


def test_an_empty_history_speaks() -> None:
    assert "No incidents so far." in told(pages.history(view(snapshot())))


def test_the_page_for_silence_is_unknown_and_keeps_the_advice() -> None:
    text = told(pages.index(view(down()), silent=True))
    assert f"no news since {words.SINCE_CLOCK} UTC" in text
    assert "Last known: Followers may not receive readings" in text
    assert "Check the wearer." in text
    assert "Readings and alerts unknown" in text
    assert "not working" not in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 00 min"),
     (4080, "1 h 08 min"), (172_800, "2 days"), (183_600, "2 days 3 h")],
)  # fmt: skip
def test_spans_in_words(seconds: int, expected: str) -> None:
    assert Moments(NOW, ZoneInfo("UTC")).span(timedelta(seconds=seconds)) == expected


def test_what_the_sentence_says_is_not_said_twice() -> None:
    why = "not checked while “log in” fails"
    blind = component(unknown_since=HOUR_AGO, unknown_why=why)
    alone = snapshot(components=(blind, component("login")))
    state = shown.state(view(alone))
    assert why in state["sentence"]
    assert state["blind"] == []
    beside = snapshot(incident(component("login", MAJOR)), components=(blind,))
    assert [why in line for line in shown.state(view(beside))["blind"]] == [True]


def test_the_archive_says_that_a_false_alarm_was_taken_back() -> None:
    gone = incident(status=Status.RESOLVED, resolved_at=NOW, retracted_at=NOW)
    assert "Taken back: it was a false alarm" in told(pages.history(view(snapshot(gone))))
    assert "Taken back" not in told(pages.history(view(snapshot(replace(gone, retracted_at=None)))))
