"""Kind tcp against real ports."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from probes import kinds
from probes.kinds import BadSpec, CheckSpec, Memory, Observation, Outcome
from tests.probes.site import serving


async def probe(**spec: Any) -> Observation:
    asked = {"component": "follow", "host": "127.0.0.1", "allow_private": True} | spec
    check = CheckSpec("port", "tcp", 30, 5, 0, asked)
    return await kinds.load("tcp").run(check, Memory({}), datetime.now(UTC), 5)


def look(*, is_open: bool = True, **spec: Any) -> Observation:
    """Probe a port of ours, open or just closed."""

    async def run() -> Observation:
        async with serving() as url:
            port = int(url.rpartition(":")[2])
            if is_open:
                return await probe(port=port, **spec)
        return await probe(port=port, **spec)

    return asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_open_port_is_ok_and_its_phases_are_timed(host: str) -> None:
    found = look(host=host)

    assert found.outcome is Outcome.OK
    assert set(found.steps[0].phases_ms) == {"dns", "connect", "total"}


def test_a_closed_port_is_a_failure_in_words() -> None:
    found = look(is_open=False)

    assert found.outcome is Outcome.TARGET_FAIL
    assert (found.steps[0].shape, found.steps[0].reason) == (
        "refused",
        "the connection was refused",
    )


def test_a_slow_connection_is_slow() -> None:
    assert look(degraded_over_s=1e-9).outcome is Outcome.SLOW


def test_a_name_that_is_none_does_not_resolve() -> None:
    found = look(host="nobody.invalid")

    assert found.steps[0].shape == "dns"
    assert found.outcome is Outcome.TARGET_FAIL


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "::ffff:127.0.0.1"])
def test_a_private_address_is_not_probed_unless_allowed(host: str) -> None:
    assert look(host=host, allow_private=False).outcome is Outcome.PROBER_FAULT


@pytest.mark.parametrize("host", ["169.254.169.254", "fe80::1", "0.0.0.0"])
def test_link_local_and_metadata_are_never_probed(host: str) -> None:
    assert look(host=host).outcome is Outcome.PROBER_FAULT


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        pytest.param({"component": "c", "host": "h"}, "port", id="no port"),
        pytest.param({"component": "c", "host": "h", "port": 70_000}, "port", id="no such port"),
        pytest.param({"host": "h", "port": 1}, "component", id="no component"),
        pytest.param({"component": "c", "host": "http://h", "port": 1}, "host", id="a url"),
        pytest.param({"component": "c", "host": "h", "port": 1, "prot": 1}, "prot", id="misspelt"),
    ],
)
def test_a_wrong_check_names_its_key(spec: dict[str, Any], key: str) -> None:
    with pytest.raises(BadSpec) as caught:
        kinds.load("tcp").watches(spec)

    assert caught.value.problems[0].key == key
