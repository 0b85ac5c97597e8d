"""The record's measurement: what it fills by hand has to be what the models say."""

import pytest

from benchmarks import growth_record


@pytest.mark.slow
def test_a_filled_table_is_recorded_into_as_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As measured, with few rows and rounds."""
    monkeypatch.setattr(growth_record, "ROUNDS", 2)
    monkeypatch.setattr(growth_record, "WARM_UP_ROUNDS", 1)

    found = growth_record.measure(rows=2000)

    assert found["stored"] == 2000
    assert found["rollups"] > 0
    assert min(found["empty_ms"], found["full_ms"]) > 0
    assert found["queries"] > 3
