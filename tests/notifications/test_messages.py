"""What we say, and how long it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.facts import ComponentChange, ComponentFact, IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import Audience, CallReason, ComponentStatus, Impact, Status
from notifications import messages
from notifications.messages import LetterKind, Notice

NEW_YORK = ZoneInfo("America/New_York")
FAULT_AT = datetime(2019, 11, 30, 6, 2, tzinfo=UTC)
PAGE = PageFact(
    uid="p",
    name="Follow status",
    url="https://status.example.org",
    time_zone="America/New_York",
    languages=("en",),
    updated_at=FAULT_AT,
    created_at=FAULT_AT,
)
FOLLOW = ComponentFact(
    uid="c1",
    slug="follow",
    name="Readings and alerts",
    description="",
    status=ComponentStatus.MAJOR_OUTAGE,
    position=1,
    critical=True,
    group=None,
    created_at=FAULT_AT,
    updated_at=FAULT_AT,
)
WHAT_TO_DO = "Check the wearer's own device. Do not delete or re-install the app."


def update(**changes: object) -> UpdateFact:
    first = UpdateFact(
        uid="u1",
        incident="i1",
        number=1,
        status=Status.INVESTIGATING,
        body="Followers may not receive readings or alerts.",
        what_to_do=WHAT_TO_DO,
        created_at=FAULT_AT,
        updated_at=FAULT_AT,
        display_at=FAULT_AT,
        published_at=FAULT_AT,
        next_update_by=FAULT_AT + timedelta(minutes=20),
        audience=Audience.EVERYONE,
        automatic=False,
        speaker="Ada",
        changes=(
            ComponentChange(
                "c1", FOLLOW.name, ComponentStatus.OPERATIONAL, ComponentStatus.MAJOR_OUTAGE
            ),
        ),
    )
    return replace(first, **changes)  # type: ignore[arg-type] # a table's values


def incident(*updates: UpdateFact, **changes: object) -> IncidentFact:
    night = IncidentFact(
        uid="i1",
        name="Follow is down",
        status=Status.INVESTIGATING,
        impact=Impact.CRITICAL,
        created_at=FAULT_AT,
        updated_at=FAULT_AT,
        started_at=FAULT_AT,
        monitoring_at=None,
        resolved_at=None,
        automatic=False,
        updates=updates,
        components=(FOLLOW,),
    )
    return replace(night, **changes)  # type: ignore[arg-type] # a table's values


def told(said: UpdateFact, *earlier: UpdateFact, **changes: object) -> Notice:
    return messages.update_notice(
        PAGE,
        incident(said, *earlier, **changes),
        said,
        language="en",
        url="https://status.example.org/incidents/i1",
    )


def test_the_first_word_of_the_night() -> None:
    notice = told(update())
    assert notice.subject == "Follow is down: check the wearer's own device"
    assert notice.headline == notice.title == "Follow is down"
    assert notice.state == "Not working: Readings and alerts. We are investigating."
    assert notice.next_update_by == "01:22 EST (06:22 UTC)"
    assert notice.what_to_do == WHAT_TO_DO
    assert (notice.thread, notice.sequence, notice.kind) == ("i1", 1, "update")
    assert f"{notice.published_at:%H:%M %Z}" == "01:02 EST"
    assert notice.critical
    assert not notice.final


@pytest.mark.parametrize(
    ("changes", "headline", "final"),
    [
        pytest.param({}, "Follow is down", False, id="first word"),
        pytest.param(
            {"status": Status.IDENTIFIED}, "Follow is down", False, id="first, cause known"
        ),
        pytest.param({"number": 2}, "Still investigating: Follow is down", False, id="nothing new"),
        pytest.param(
            {"number": 2, "status": Status.IDENTIFIED},
            "Cause found: Follow is down",
            False,
            id="cause",
        ),
        pytest.param(
            {"number": 3, "status": Status.MONITORING},
            "Recovering: Follow is down",
            False,
            id="mending",
        ),
        pytest.param(
            {"number": 4, "status": Status.RESOLVED},
            "Resolved: Follow is down",
            True,
            id="all-clear",
        ),
        pytest.param(
            {"number": 4, "status": Status.RESOLVED, "retraction": True},
            "False alarm: Follow is down",
            True,
            id="retracted",
        ),
        pytest.param(
            {"number": 5, "status": Status.POSTMORTEM},
            "What happened: Follow is down",
            False,
            id="after",
        ),
        pytest.param(
            {"status": Status.COMPLETED},
            "Maintenance is finished: Follow is down",
            True,
            id="work done",
        ),
    ],
)
def test_the_headline_says_state_and_thing(
    changes: dict[str, object], headline: str, final: bool
) -> None:
    notice = told(update(**changes))
    assert notice.headline == headline
    assert notice.subject.startswith(headline)
    assert notice.final is final


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_words(status: Status) -> None:
    notice = told(update(status=status, number=2))
    assert notice.headline
    assert notice.state.endswith(".")


@pytest.mark.parametrize("change", list(ComponentStatus))
def test_every_component_status_has_words(change: ComponentStatus) -> None:
    changed = ComponentChange("c2", "Log in", ComponentStatus.OPERATIONAL, change)
    assert "Log in" in told(update(changes=(changed,))).state


@pytest.mark.parametrize("unknown_since", [None, FAULT_AT])
def test_nothing_is_called_working_that_the_page_shows_as_hurt_or_unknown(
    unknown_since: datetime | None,
) -> None:
    shown = ComponentStatus.OPERATIONAL if unknown_since else ComponentStatus.MAJOR_OUTAGE
    part = replace(FOLLOW, status=shown, unknown_since=unknown_since)
    ended = ComponentChange(part.uid, part.name, ComponentStatus.UNDER_MAINTENANCE, messages.WORKS)
    other = ComponentChange("c2", "Log in", ComponentStatus.UNDER_MAINTENANCE, messages.WORKS)
    over = update(status=Status.COMPLETED, changes=(ended, other))
    assert "Working: Log in." in told(over, components=(part,)).state


def test_a_window_taken_back_is_called_off_and_no_false_alarm() -> None:
    off = update(number=2, status=Status.COMPLETED, retraction=True)
    notice = told(off, name="Move", status=Status.COMPLETED)
    assert (notice.headline, notice.state) == (
        "Called off: Move",
        "This maintenance is called off.",
    )


def test_a_relapse_says_again() -> None:
    resolved = update(number=2, status=Status.RESOLVED)
    assert told(update(number=3), resolved, update()).headline == "Again: Follow is down"
    assert told(update(number=2), update()).headline == "Still investigating: Follow is down"


def test_components_are_named_worst_first() -> None:
    working, not_working = ComponentStatus.OPERATIONAL, ComponentStatus.MAJOR_OUTAGE
    changes = (
        ComponentChange("c2", "Web site", working, ComponentStatus.DEGRADED_PERFORMANCE),
        ComponentChange("c1", "Alerts", working, not_working),
        ComponentChange("c3", "Log in", working, not_working),
    )
    state = told(update(changes=changes)).state
    assert state == "Not working: Alerts, Log in. Slow: Web site. We are investigating."


def test_components_are_named_although_the_update_changes_none() -> None:
    statuses = (("c1", ComponentStatus.PARTIAL_OUTAGE),)
    assert told(update(changes=()), component_statuses=statuses).state.startswith(
        "Partly working: Readings and alerts."
    )
    assert told(update(changes=())).state == "We are investigating."


def test_a_maintenance_tells_its_window() -> None:
    window = {
        "scheduled_for": FAULT_AT + timedelta(days=1),
        "scheduled_until": FAULT_AT + timedelta(days=1, hours=2),
    }
    notice = told(update(status=Status.SCHEDULED, changes=()), **window)
    assert notice.state == (
        "Work is planned. From Sun 1 Dec, 01:02 EST (06:02 UTC) to Sun 1 Dec, 03:02 EST (08:02 UTC)."
    )


def test_a_subject_is_never_longer_than_a_lock_screen_shows() -> None:
    long = told(update(what_to_do="Check " + "and check again " * 20))
    assert long.subject == "Follow is down"
    assert len(told(update(), name="Follow " * 40).subject) <= 90


def test_a_headline_with_a_colon_gets_no_second_one() -> None:
    resolved = told(update(number=2, status=Status.RESOLVED, what_to_do="Open Follow."))
    assert resolved.subject == "Resolved: Follow is down. Open Follow"


def test_a_name_after_the_colon_keeps_its_capital() -> None:
    assert told(update(what_to_do="Dexcom G6 works.")).subject == "Follow is down: Dexcom G6 works"


def test_an_automatic_text_is_marked() -> None:
    assert told(update(automatic=True)).automatic
    assert not told(update()).automatic


def test_times_are_in_the_readers_zone_when_one_is_given() -> None:
    said = update()
    notice = messages.update_notice(
        PAGE, incident(said), said, language="en", url="", time_zone="Europe/Berlin"
    )
    assert notice.next_update_by == "07:22 CET (06:22 UTC)"


@pytest.mark.parametrize(
    ("moment", "zone", "expected"),
    [
        pytest.param(datetime(2019, 11, 30, 7, 30, tzinfo=UTC), "UTC", "07:30 UTC", id="UTC once"),
        pytest.param(
            datetime(2019, 11, 30, 7, 30, tzinfo=UTC),
            "Asia/Kathmandu",
            "13:15 UTC+0545 (07:30 UTC)",
            id="a zone without letters",
        ),
        pytest.param(
            datetime(2019, 12, 1, 5, 30, tzinfo=UTC),
            "America/New_York",
            "Sun 1 Dec, 00:30 EST (05:30 UTC)",
            id="the next day",
        ),
        pytest.param(
            datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
            "America/New_York",
            "Sun 1 Nov, 01:30 EDT (05:30 UTC)",
            id="01:30 the first time",
        ),
        pytest.param(
            datetime(2026, 11, 1, 6, 30, tzinfo=UTC),
            "America/New_York",
            "Sun 1 Nov, 01:30 EST (06:30 UTC)",
            id="01:30 the second time",
        ),
    ],
)
def test_times_are_absolute_with_zone(moment: datetime, zone: str, expected: str) -> None:
    assert messages.clock_time(moment, ZoneInfo(zone), on=FAULT_AT) == expected


def test_the_short_text_says_first_what_to_do_and_is_cut_between_words() -> None:
    notice = told(update())
    assert notice.short.startswith(WHAT_TO_DO)
    assert len(notice.short) <= 140
    assert notice.short.endswith("…")
    assert (
        notice.short.removesuffix("…")
        in f"{WHAT_TO_DO} Next update by 01:22 EST (06:22 UTC). {notice.body}"
    )


def test_the_short_text_of_an_all_clear_says_first_what_is() -> None:
    notice = told(update(number=2, status=Status.RESOLVED, body="Alerts arrive again."))
    assert notice.short.startswith("Alerts arrive again.")


def test_the_short_text_of_an_update_without_words_is_its_state() -> None:
    notice = told(update(body="", what_to_do="", next_update_by=None))
    assert notice.short == notice.state


@pytest.mark.parametrize("reason", list(CallReason))
@pytest.mark.parametrize("due_at", [None, FAULT_AT + timedelta(minutes=2)], ids=["now", "due"])
def test_every_call_has_words(reason: CallReason, due_at: datetime | None) -> None:
    notice = messages.call_notice(
        PAGE,
        reason=reason,
        about="Follow is down",
        detail="3 of 3 locations see it.",
        called_at=FAULT_AT,
        due_at=due_at,
        language="en",
        url="https://status.example.org/desk/",
    )
    assert "Follow is down" in notice.subject
    assert notice.kind == "call"
    assert notice.thread == ""
    assert notice.what_to_do
    assert "{" not in notice.subject + notice.what_to_do + notice.state
    assert "at ." not in notice.state + notice.what_to_do


def test_a_call_about_a_draft_says_when_it_goes_out() -> None:
    notice = messages.call_notice(
        PAGE,
        reason=CallReason.DRAFT_WAITS,
        about="Follow is down",
        called_at=FAULT_AT,
        due_at=FAULT_AT + timedelta(minutes=2),
        language="en",
        url="",
    )
    assert notice.subject == "Goes out at 01:04 EST: Follow is down"


@pytest.mark.parametrize("kind", list(LetterKind))
def test_every_letter_has_words_and_its_link(kind: LetterKind) -> None:
    notice = messages.letter_notice(
        PAGE, kind=kind, written_at=FAULT_AT, language="en", link="https://s.example/x", code="4711"
    )
    assert notice.kind == "letter"
    assert notice.url == "https://s.example/x"
    assert "4711" in notice.what_to_do
    assert "{" not in notice.subject + notice.state + notice.body + notice.what_to_do
    assert not notice.critical


@given(st.text())
def test_a_clean_line_is_one_line_without_controls(text: str) -> None:
    line = messages.clean_line(text)
    assert line == line.strip()
    assert len(line.splitlines()) <= 1
    assert line.isprintable() or "\u200c" in line or "\u200d" in line
    line.encode()


def test_a_clean_line_keeps_emoji_together_and_drops_what_turns_text_around() -> None:
    assert messages.clean_line("👨‍👩‍👧 \u202egnp.exe\u202c") == "👨‍👩‍👧 gnp.exe"


def test_a_clean_block_keeps_paragraphs() -> None:
    assert messages.clean_block("a\r\nb\x00\r\r\r\r\nc ") == "a\nb\n\nc"


@given(st.text(max_size=300), st.integers(2, 200))
def test_cut_never_exceeds_its_limit(text: str, limit: int) -> None:
    assert len(messages.cut(text, limit)) <= limit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", ("GSM-7", 1), id="nothing"),
        pytest.param("a" * 160, ("GSM-7", 1), id="160 fit one"),
        pytest.param("a" * 161, ("GSM-7", 2), id="161 do not"),
        pytest.param("a" * 306, ("GSM-7", 2), id="153 in each of several"),
        pytest.param("a" * 307, ("GSM-7", 3), id="one too many"),
        pytest.param("€" * 80, ("GSM-7", 1), id="the euro costs two"),
        pytest.param("€" * 81, ("GSM-7", 2), id="81 euros"),
        pytest.param("a" * 152 + "€" + "a" * 152, ("GSM-7", 3), id="a euro is not torn apart"),
        pytest.param("’" + "a" * 69, ("UCS-2", 1), id="one curly apostrophe: 70"),
        pytest.param("’" + "a" * 101, ("UCS-2", 2), id="102 characters with one: two parts"),
        pytest.param("漢" * 135, ("UCS-2", 3), id="67 in each of several"),
        pytest.param("😀" * 35, ("UCS-2", 1), id="an emoji costs two"),
        pytest.param("😀" * 36, ("UCS-2", 2), id="and is not torn apart"),
        pytest.param("äöñüàÄÖÑÜ§¿èéùìòÇØøÅå", ("GSM-7", 1), id="the letters GSM-7 has"),
    ],
)
def test_parts_of_a_text_message(text: str, expected: tuple[str, int]) -> None:
    assert messages.sms_segments(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the wearer’s “own” device – now…", 'the wearer\'s "own" device - now...'),
        ("02:30\u00a0EST", "02:30 EST"),
        ("e\u0301", "é"),
        ("año, niño, ça", "año, niño, ça"),
    ],
)
def test_typography_is_made_plain_and_letters_are_kept(text: str, expected: str) -> None:
    assert messages.gsm7(text) == expected


def test_what_gsm7_cannot_say_is_reported_once() -> None:
    assert messages.gsm7_misfits(messages.gsm7("ça va’ çç 漢")) == ("ç", "漢")


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        pytest.param("a" * 280, 280, id="Latin"),
        pytest.param("é", 1, id="Latin 1"),
        pytest.param("e\u0301", 1, id="composed first"),
        pytest.param("漢字", 4, id="Chinese"),
        pytest.param("😀", 2, id="emoji"),
        pytest.param("👨‍👩‍👧‍👦", 2, id="a family is one emoji"),
        pytest.param("👍🏽", 2, id="with its colour"),
        pytest.param("🇺🇸", 2, id="a flag"),
        pytest.param("https://status.example.org/incidents/" + "x" * 200, 23, id="a link"),
        pytest.param("See https://a.example/b. ", 4 + 23 + 2, id="the stop is not the link's"),
        pytest.param("a.example", 23, id="a bare name becomes a link"),
        pytest.param("“quoted” – so…", 15, id="typography is light, but not its ellipsis"),
    ],
)
def test_weights_on_x(text: str, weight: int) -> None:
    assert messages.weighted_length(text) == weight
