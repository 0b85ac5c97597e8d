"""docs/capacity.md says what its program says, and the model predicts nights that it was not fitted to."""

import json
from pathlib import Path

import pytest

from benchmarks import capacity

ROOT = Path(__file__).resolve().parents[2]
FIGURES = json.loads(capacity.FIGURES.read_text(encoding="utf-8"))


def test_the_document_holds_what_the_program_prints() -> None:
    text = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
    assert capacity.table(FIGURES) in text


def test_a_line_is_fitted_through_what_lies_on_it() -> None:
    line = capacity.fitted([(0, 2.0), (1_000, 3.0), (2_000, 4.0)])
    assert line.start_s == pytest.approx(2.0)
    assert line.pace == pytest.approx(1_000)
    assert capacity.error(line, (3_000, 4.0)) == pytest.approx(0.25)


def test_no_night_is_both_fitted_to_and_predicted() -> None:
    assert not {people for people, _ in FIGURES["fit"]} & {people for people, _ in FIGURES["check"]}


def test_nights_it_was_not_fitted_to_are_predicted_within_a_quarter() -> None:
    line = capacity.fitted([tuple(night) for night in FIGURES["fit"]])
    assert all(abs(capacity.error(line, tuple(night))) < 0.25 for night in FIGURES["check"])


def test_a_provider_slower_than_the_line_is_what_breaks_first() -> None:
    line = capacity.Line(2.0, 1_000)
    wish = capacity.Wish(100_000, 0, 10, 1, 50, cdn=False)
    assert capacity.need(wish, line, FIGURES).breaks_first == "the mail account's rate"
