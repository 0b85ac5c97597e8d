"""Kind dns with the names that every machine has."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from probes import kinds
from probes.kinds import BadSpec, CheckSpec, Memory, Observation, Outcome


def look(host: str, *addresses: str) -> Observation:
    spec = {"component": "follow", "host": host, "addresses": list(addresses)}
    check = CheckSpec("name", "dns", 30, 5, 0, spec)
    return asyncio.run(kinds.load("dns").run(check, Memory({}), datetime.now(UTC), 5))


@pytest.mark.parametrize(
    ("host", "addresses", "outcome"),
    [
        pytest.param("localhost", (), Outcome.OK, id="any address"),
        pytest.param("localhost", ("127.0.0.1", "::1"), Outcome.OK, id="one of those expected"),
        pytest.param("127.0.0.1", ("127.0.0.1",), Outcome.OK, id="an address leads to itself"),
        pytest.param("localhost", ("192.0.2.1",), Outcome.TARGET_FAIL, id="another address"),
        pytest.param("nobody.invalid", (), Outcome.TARGET_FAIL, id="no such name"),
    ],
)
def test_a_name_is_resolved_and_compared(
    host: str, addresses: tuple[str, ...], outcome: Outcome
) -> None:
    assert look(host, *addresses).outcome is outcome


def test_an_unexpected_address_is_told_in_words() -> None:
    found = look("127.0.0.1", "192.0.2.1")

    assert found.steps[0].reason == "the name led to 127.0.0.1, expected only 192.0.2.1"
    assert found.steps[0].failed == ("addresses",)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        pytest.param({"component": "c"}, "host", id="no name"),
        pytest.param({"host": "h"}, "component", id="no component"),
        pytest.param(
            {"component": "c", "host": "h", "addresses": ["h"]}, "addresses[0]", id="no address"
        ),
    ],
)
def test_a_wrong_check_names_its_key(spec: dict[str, Any], key: str) -> None:
    with pytest.raises(BadSpec) as caught:
        kinds.load("dns").watches(spec)

    assert caught.value.problems[0].key == key
