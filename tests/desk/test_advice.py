"""What to do, chosen by what is known: every combination that matters, and what is locked."""

from datetime import UTC, datetime

import pytest

from desk import advice
from desk.advice import Known

ALL_UNKNOWN: dict[str, str] = {}
FINE = dict.fromkeys(advice.VARIABLES, "working")


@pytest.mark.parametrize(
    ("said", "first", "own"),
    [
        pytest.param(ALL_UNKNOWN, advice.CHECK_DEVICE, advice.NO_APP, id="nothing is known"),
        pytest.param(FINE, advice.OWN_ALARMS, advice.OWN_ALARMS, id="everything works"),
        pytest.param(FINE | {"remote_alerts": "failing"}, advice.ALERTS_LATE, advice.OWN_ALARMS, id="readings without alerts"),
        pytest.param(FINE | {"remote_alerts": "unknown"}, advice.ALERTS_LATE, advice.OWN_ALARMS, id="alerts not known"),
        pytest.param(FINE | {"remote_data": "failing"}, advice.CHECK_DEVICE, advice.OWN_ALARMS, id="alerts without readings"),
        pytest.param({"primary_device_alarms": "working"}, advice.CHECK_DEVICE, advice.OWN_ALARMS, id="own alarms verified"),
        pytest.param({"primary_device_alarms": "failing"}, advice.CHECK_DEVICE, advice.NO_APP, id="own alarms fail"),
        pytest.param(
            {"primary_device_alarms": "working", "primary_device_readings": "failing"}, advice.CHECK_WEARER, advice.NO_APP,
            id="alarms on readings that fail are no alarms",
        ),
        pytest.param({"remote_data": "perhaps"}, advice.CHECK_DEVICE, advice.NO_APP, id="no word of ours is unknown"),
    ],
)  # fmt: skip
def test_the_block_is_chosen_by_what_is_known(said: dict[str, str], first: str, own: str) -> None:
    text = advice.block(advice.read(said))
    assert text.startswith(first)
    assert own in text
    assert (advice.OWN_ALARMS in text) != (advice.NO_APP in text)
    for always in (advice.KEEP_APPS, advice.EMERGENCY, advice.NO_ADVICE):
        assert always in text


def test_who_is_logged_in_is_told_to_stay_so_only_while_log_in_fails() -> None:
    for word in Known:
        text = advice.block(advice.read({"app_login": word.value}))
        assert (advice.STAY_IN in text) == (word is Known.FAILING)


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        pytest.param((30, 6, 2), (30, 11, 12), "Alerts from 01:02 to 06:12 EST may have been missed.", id="one night"),
        pytest.param((30, 4, 2), (30, 11, 12), "Alerts from 29 Nov 23:02 to 30 Nov 06:12 EST may have been missed.", id="over midnight"),
    ],
)  # fmt: skip
def test_the_end_says_the_window_in_the_pages_own_time(
    start: tuple[int, int, int], end: tuple[int, int, int], said: str
) -> None:
    window = (
        datetime(2019, 11, *start, tzinfo=UTC),
        datetime(2019, 11, *end, tzinfo=UTC),
    )
    text = advice.all_clear(window, time_zone="America/New_York")
    assert text == f"{advice.LOOK_AGAIN} {said} {advice.BURST}"
    assert "missed" not in advice.all_clear(None, time_zone="America/New_York")
