"""Conditions as a table: what an answer was, what was expected, and the words of the difference."""

from datetime import UTC, datetime
from typing import Any

import pytest

from probes.conditions import BadCondition, compile_path, compile_pattern, find, instant, unmet

NOW = datetime(2019, 11, 30, 6, 0, 0, tzinfo=UTC)
AN_HOUR_AGO = "2019-11-30T04:59:48Z"
IN_TWO_MINUTES = "2019-11-30T06:02:00Z"


@pytest.mark.parametrize(
    ("expectation", "value"),
    [
        pytest.param({"equals": "ok"}, "ok", id="equal text"),
        pytest.param({"equals": None}, None, id="null is expected and there is none"),
        pytest.param({"not_equals": 0}, 1, id="another number"),
        pytest.param({"type": "string"}, "x", id="a string is a string"),
        pytest.param({"type": "number"}, 1.5, id="a fraction is a number"),
        pytest.param({"type": "boolean"}, True, id="true is a boolean"),
        pytest.param({"type": "null"}, None, id="null has a type"),
        pytest.param({"min_length": 2}, "ab", id="just long enough"),
        pytest.param({"between": [20, 600]}, 20, id="the lower bound is inside"),
        pytest.param({"between": [20, 600]}, 600, id="the upper bound is inside"),
        pytest.param({"matches": "^[0-9a-f]{4}$"}, "00ff", id="the pattern matches"),
        pytest.param({"contains": "b"}, "abc", id="text inside text"),
        pytest.param({"contains": 2}, [1, 2], id="an element of a list"),
        pytest.param({"contains": "key"}, {"key": 1}, id="a key of an object"),
        pytest.param({"exists": True}, 0, id="zero exists"),
        pytest.param({"exists": False}, None, id="nothing is expected and there is nothing"),
        pytest.param({"max_age_s": 3612}, AN_HOUR_AGO, id="just young enough"),
        pytest.param({"max_age_s": 60}, IN_TWO_MINUTES, id="the future is not old"),
        pytest.param({"max_future_s": 120}, IN_TWO_MINUTES, id="just not too far ahead"),
    ],
)
def test_what_was_expected_is_met(expectation: dict[str, Any], value: Any) -> None:
    assert unmet(expectation, value, NOW, subject="it") == []


@pytest.mark.parametrize(
    ("expectation", "value", "condition", "words"),
    [
        pytest.param(
            {"equals": "ok"}, "no", "equals", 'it was "no", expected "ok"', id="other text"
        ),
        pytest.param(
            {"equals": 1}, True, "equals", "it was true, expected 1", id="true is not one"
        ),
        pytest.param(
            {"not_equals": 0}, 0, "not_equals", "it was 0, expected anything else", id="the same"
        ),
        pytest.param(
            {"type": "string"}, 3, "type", "it was number, expected string", id="another type"
        ),
        pytest.param(
            {"type": "number"}, True, "type", "it was boolean, expected number", id="true, a number"
        ),
        pytest.param(
            {"type": "string", "min_length": 8},
            None,
            "missing",
            "it was missing, expected string, 8 or more long",
            id="nothing there is one sentence, not two",
        ),
        pytest.param(
            {"min_length": 3}, "ab", "min_length", "it was 2 long, expected 3 or more", id="short"
        ),
        pytest.param(
            {"between": [20, 600]},
            19,
            "between",
            "it was 19, expected between 20 and 600",
            id="below",
        ),
        pytest.param(
            {"between": [20, 600]},
            float("nan"),
            "between",
            "it was NaN, expected between 20 and 600",
            id="not a number is between nothing",
        ),
        pytest.param(
            {"between": [20, 600]},
            "100",
            "between",
            "it was string, expected between 20 and 600",
            id="a number as text",
        ),
        pytest.param(
            {"matches": "^a+$"}, "ab", "matches", 'it was "ab", expected ^a+$', id="no match"
        ),
        pytest.param({"contains": 3}, [1], "contains", "it did not contain 3", id="not in it"),
        pytest.param({"exists": False}, 1, "exists", "it was there, expected nothing", id="there"),
        pytest.param(
            {"max_age_s": 660},
            AN_HOUR_AGO,
            "max_age_s",
            "it was 3,612 s old, allowed 660",
            id="an old reading",
        ),
        pytest.param(
            {"max_age_s": 660},
            "yesterday",
            "type",
            'it was "yesterday", expected a time',
            id="a time that is none is not stale, it is wrong",
        ),
        pytest.param(
            {"max_age_s": 660},
            None,
            "missing",
            "it was missing, expected a time",
            id="an empty list is not stale, it is empty",
        ),
        pytest.param(
            {"max_future_s": 60},
            IN_TWO_MINUTES,
            "max_future_s",
            "it was 120 s in the future, allowed 60",
            id="a reading from the future",
        ),
    ],
)
def test_what_was_not_met_is_said_in_words(
    expectation: dict[str, Any], value: Any, condition: str, words: str
) -> None:
    (failure,) = unmet(expectation, value, NOW, subject="it")

    assert (failure.condition, failure.words) == (condition, words)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("2015-03-13T19:40:16Z", id="ISO 8601 in UTC"),
        pytest.param("2015-03-13T12:40:16-07:00", id="ISO 8601 with an offset"),
        pytest.param("2015-03-13T19:40:16", id="ISO 8601 without an offset is UTC"),
        pytest.param("/Date(1426275616000)/", id="the wire's own form"),
        pytest.param("/Date(1426275616000-0700)/", id="its offset moves nothing"),
        pytest.param("Date(1426275616000)", id="without slashes"),
        pytest.param(1426275616, id="seconds since 1970"),
        pytest.param(1426275616000, id="milliseconds since 1970"),
    ],
)
def test_every_form_of_a_time_is_the_same_moment(written: str | int) -> None:
    assert instant(written) == datetime(2015, 3, 13, 19, 40, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    "written", [True, None, [], "/Date(x)/", "soon", 1e300, "/Date(" + "9" * 16 + ")/"]
)
def test_what_is_no_time_is_none(written: Any) -> None:
    assert instant(written) is None


def test_a_secret_is_hidden_before_the_value_is_cut() -> None:
    secret = "s" * 200

    (failure,) = unmet(
        {"equals": "x"}, secret, NOW, subject="it", hide=lambda text: text.replace(secret, "•••")
    )

    assert failure.words == 'it was "•••", expected "x"'


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("(a+)+$", id="a repeat in a repeat"),
        pytest.param("(a|aa)+$", id="a choice in a repeat"),
        pytest.param("a?" * 9 + "a" * 9, id="nine choices"),
        pytest.param(".*.*.*.*x", id="four open repeats"),
        pytest.param(r"(a)\1", id="a reference back"),
        pytest.param("(", id="no pattern at all"),
        pytest.param("a" * 201, id="too long a pattern"),
    ],
)
def test_a_pattern_that_could_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(BadCondition):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "chars_max"),
    [
        pytest.param("a+b", 4000, id="one open repeat"),
        pytest.param(".*" + "a?" * 8 + "b", 250, id="and eight choices: 27 s on 4,000"),
        pytest.param(".*.*" + "a?" * 4 + "b", 158, id="two and four"),
        pytest.param("ok|up|well", 262_144, id="a choice of words"),
        pytest.param("a?" * 8 + "b", 65_536, id="eight choices"),
    ],
)
def test_the_more_a_pattern_could_try_the_shorter_its_text(pattern: str, chars_max: int) -> None:
    assert compile_pattern(pattern)[1] == chars_max


def test_an_ordinary_pattern_is_taken() -> None:
    assert compile_pattern(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def test_too_long_a_text_for_a_pattern_is_said_and_not_tried() -> None:
    (failure,) = unmet({"matches": "^a+b+$"}, "a" * 401, NOW, subject="it")

    assert "401 characters long" in failure.words


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("[0", id="no path at all"),
        pytest.param("|".join(["[@,@]"] * 12), id="a path that doubles twelve times"),
        pytest.param("a." * 100 + "b", id="too long a path"),
    ],
)
def test_a_path_that_could_grow_without_bound_is_refused(path: str) -> None:
    with pytest.raises(BadCondition):
        compile_path(path)


def test_a_path_into_a_list_finds_its_value() -> None:
    assert find("[0].time", [{"time": 1}]) == 1


def test_a_path_that_meets_another_type_finds_nothing() -> None:
    assert find("length(@)", 3) is None
