"""Who is still to be woken: each rule of the ladder as a row, and the nights in which the clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications import ladder
from notifications.ladder import Call, Climb, Done, Ended, Phone, Quiet, Rank, Ring, Step, Wait

T0 = datetime(2026, 11, 30, 6, 0, tzinfo=UTC)
MUM, DAD, AUNT = 1, 2, 3
OWN = Phone(MUM)
FRIEND = Phone(AUNT, contact=True)
NEW_YORK = "America/New_York"


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def rings(*spans: tuple[int, float, float | None]) -> list[Ring]:
    return [
        Ring(who, at(begun), None if ended is None else at(ended)) for who, begun, ended in spans
    ]


TWICE = [(MUM, 2, 3), (MUM, 3.5, 4.5)]


@pytest.mark.parametrize(
    ("climb", "minutes", "expected"),
    [
        pytest.param(Climb(T0, True, [OWN]), 1, Wait(at(2)), id="a text has two minutes to be answered"),
        pytest.param(Climb(T0, True, [OWN]), 2, Call(MUM, Rank.FIRST, at(2)), id="then a call"),
        pytest.param(Climb(T0, False, [OWN]), 0, Call(MUM, Rank.FIRST, T0), id="without text and push at once"),
        pytest.param(
            Climb(T0, True, [OWN], rings((MUM, 2, None))), 3, Wait(at(4.5)), id="never two calls at once"
        ),
        pytest.param(
            Climb(T0, True, [OWN], rings((MUM, 2, None))), 4.6, Call(MUM, Rank.AGAIN, at(4.5) + ladder.AGAIN_AFTER),
            id="a call of which nothing more is heard is over after two and a half minutes",
        ),
        pytest.param(
            Climb(T0, True, [OWN, FRIEND], rings((MUM, 2, 3))), 3, Wait(at(3) + ladder.AGAIN_AFTER),
            id="the line gets five seconds to be free again",
        ),
        pytest.param(
            Climb(T0, True, [OWN, FRIEND], rings((MUM, 2, 3))), 3.1, Call(MUM, Rank.AGAIN, at(3) + ladder.AGAIN_AFTER),
            id="the same number again, before anybody else",
        ),
        pytest.param(
            Climb(T0, True, [OWN, FRIEND], rings(*TWICE)), 4.5, Call(AUNT, Rank.CONTACT, at(4.5)),
            id="after two rings the next contact",
        ),
        pytest.param(
            Climb(T0, True, [OWN, FRIEND], rings(*TWICE, (AUNT, 5, 6))), 6.5,
            Call(AUNT, Rank.AGAIN, at(6) + ladder.AGAIN_AFTER), id="a contact is rung twice as well",
        ),
        pytest.param(
            Climb(T0, True, [OWN, FRIEND], rings(*TWICE, (AUNT, 5, 6), (AUNT, 6.5, 7))), 7, Done(Ended.UNHEARD),
            id="four calls are the end",
        ),
        pytest.param(
            Climb(T0, True, [OWN, FRIEND], rings(*TWICE, (AUNT, 5, 6), (AUNT, 6.5, None))), 7, Wait(at(9)),
            id="but the fourth may still be answered",
        ),
        pytest.param(
            Climb(T0, True, [OWN], rings(*TWICE)), 5, Wait(at(19.5)), id="a lone telephone rests a quarter of an hour"
        ),
        pytest.param(
            Climb(T0, True, [OWN], rings(*TWICE)), 20, Call(MUM, Rank.LATER, at(19.5)), id="and is rung a second pair"
        ),
        pytest.param(
            Climb(T0, True, [OWN], rings(*TWICE)), 47, Done(Ended.UNHEARD), id="45 minutes are the end"
        ),
        pytest.param(
            Climb(T0, True, [FRIEND], rings((MUM, 2, 3))), 3.1, Call(AUNT, Rank.CONTACT, at(3)),
            id="who said STOP after the first ring is not rung again: the next contact",
        ),
        pytest.param(
            Climb(T0, True, [], rings((MUM, 2, 3))), 3.1, Done(Ended.NOBODY), id="nobody is left who agreed"
        ),
        pytest.param(Climb(T0, True, []), 0, Done(Ended.NOBODY), id="nobody ever agreed"),
        pytest.param(Climb(T0, True, [OWN], heard=True), 2, Done(Ended.HEARD), id="who has heard is let sleep"),
        pytest.param(
            Climb(T0, True, [OWN], rings((MUM, 2, None)), heard=True), 2.5, Done(Ended.HEARD),
            id="heard while it rings",
        ),
        pytest.param(Climb(T0, True, [OWN], over=True), 2, Done(Ended.OVER), id="resolved within two minutes wakes nobody"),
    ],
)  # fmt: skip
def test_one_step_of_the_ladder(climb: Climb, minutes: float, expected: Step) -> None:
    assert ladder.step(climb, at(minutes)) == expected


def test_a_contact_in_their_quiet_hours_is_passed_over_and_rung_when_they_end() -> None:
    asleep = Phone(AUNT, contact=True, quiet=Quiet(time(22), time(7), "UTC"))
    awake = Phone(DAD, contact=True)
    called_twice = rings(*TWICE)
    assert ladder.step(Climb(T0, True, [OWN, asleep, awake], called_twice), at(5)) == Call(
        DAD, Rank.CONTACT, at(4.5)
    )
    assert ladder.step(Climb(T0, False, [asleep]), T0) == Wait(T0.replace(hour=7))


def test_the_second_ring_goes_before_a_first_and_the_longest_wait_before_a_shorter() -> None:
    calls = [
        (1, Call(1, Rank.LATER, at(1))),
        (2, Call(2, Rank.FIRST, at(4))),
        (3, Call(3, Rank.CONTACT, at(2))),
        (4, Call(4, Rank.AGAIN, at(9))),
        (5, Call(5, Rank.FIRST, at(3))),
        (6, Call(6, Rank.FIRST, at(3))),
    ]
    assert [row for row, _ in ladder.order(calls)] == [4, 5, 6, 2, 3, 1]


@pytest.mark.parametrize(
    ("per_s", "waiting", "expected"),
    [
        pytest.param(10, 0, 30, id="three seconds ahead"),
        pytest.param(10, 25, 5, id="what waits already counts"),
        pytest.param(10, 40, 0, id="never less than none"),
        pytest.param(0.2, 0, 1, id="a slow account still calls"),
        pytest.param(1000, 0, 100, id="no more than a tick can bear"),
        pytest.param(None, 0, 100, id="no rate known"),
    ],
)
def test_how_many_calls_are_handed_to_the_line(
    per_s: float | None, waiting: int, expected: int
) -> None:
    assert ladder.room(per_s, waiting, most=100) == expected


def test_what_people_are_told_about_the_rate() -> None:
    assert ladder.called_within(10, 1.0) == 300
    assert ladder.minutes_for(10_000, 1.0) == pytest.approx(333.3, abs=0.1)


NIGHT = Quiet(time(22), time(7), NEW_YORK)


@pytest.mark.parametrize(
    ("quiet", "instant", "expected"),
    [
        pytest.param(NIGHT, "2026-11-30T03:00Z", "2026-11-30T12:00Z", id="22:00 to 07:00 in New York"),
        pytest.param(NIGHT, "2026-11-30T02:59Z", None, id="a minute before"),
        pytest.param(NIGHT, "2026-11-30T12:00Z", None, id="the end is outside"),
        pytest.param(Quiet(time(9), time(17), "UTC"), "2026-11-30T10:00Z", "2026-11-30T17:00Z", id="a day's window"),
        pytest.param(Quiet(time(9), time(9), "UTC"), "2026-11-30T10:00Z", None, id="equal ends are no quiet hours"),
        pytest.param(NIGHT, "2026-11-01T06:30Z", "2026-11-01T12:00Z", id="the night that is an hour longer"),
        pytest.param(NIGHT, "2026-03-08T07:30Z", "2026-03-08T11:00Z", id="the night that is an hour shorter"),
        pytest.param(
            Quiet(time(23), time(1, 30), NEW_YORK), "2026-11-01T05:45Z", "2026-11-01T06:30Z",
            id="between the two half past ones it stays quiet",
        ),
        pytest.param(
            Quiet(time(1, 15), time(6), NEW_YORK), "2026-11-01T05:15Z", "2026-11-01T11:00Z",
            id="it begins at the first quarter past one",
        ),
        pytest.param(
            Quiet(time(22), time(2, 30), NEW_YORK), "2026-03-08T06:59Z", "2026-03-08T07:30Z",
            id="half past two does not come: as much after the gap",
        ),
        pytest.param(Quiet(time(22), time(7), "Asia/Kathmandu"), "2026-11-30T20:00Z", "2026-12-01T01:15Z", id="a quarter-hour zone"),
    ],
)  # fmt: skip
def test_quiet_hours(quiet: Quiet, instant: str, expected: str | None) -> None:
    now = datetime.fromisoformat(instant)
    assert ladder.is_quiet(quiet, now) == (expected is not None)
    until = ladder.quiet_ends_at(quiet, now)
    assert until.astimezone(UTC) == datetime.fromisoformat(expected or instant)


@given(
    minutes=st.integers(0, 366 * 24 * 60),
    begins=st.times(),
    ends=st.times(),
    zone=st.sampled_from([NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "UTC", "America/Sao_Paulo"]),
)  # fmt: skip
def test_quiet_hours_end_and_never_last_longer_than_a_day_and_an_hour(
    minutes: int, begins: time, ends: time, zone: str
) -> None:
    quiet = Quiet(begins, ends, zone)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    until = ladder.quiet_ends_at(quiet, now).astimezone(UTC)
    assert timedelta() <= until - now <= timedelta(hours=25)
    if ladder.is_quiet(quiet, now):
        assert until > now
        assert until.astimezone(ZoneInfo(zone)).second == ends.second


@given(answers=st.lists(st.floats(0.1, 2.4), min_size=4, max_size=4), contacts=st.integers(0, 3))
def test_a_whole_climb_never_doubles_and_ends(answers: list[float], contacts: int) -> None:
    """Walks the ladder to its end with calls of any length: at most four, in 45 minutes, each pair within three minutes."""
    phones = [OWN, *(Phone(10 + number, contact=True) for number in range(contacts))]
    so_far: list[Ring] = []
    now = T0
    for _ in range(100):
        match ladder.step(Climb(T0, True, phones, so_far), now):
            case Done(why):
                assert why is Ended.UNHEARD
                break
            case Wait(until):
                assert until > now
                now = until
            case Call(subscription):
                assert all(ring.ended_at and ring.ended_at <= now for ring in so_far)
                ended = now + timedelta(minutes=answers[len(so_far)])
                so_far.append(Ring(subscription, now, ended))
    assert len(so_far) == ladder.CALLS_MAX
    assert so_far[-1].at - so_far[0].at <= ladder.CLIMB_MAX
    for first, second in zip(so_far[::2], so_far[1::2], strict=True):
        assert first.subscription == second.subscription
        assert second.at - first.at <= ladder.AGAIN_WITHIN
