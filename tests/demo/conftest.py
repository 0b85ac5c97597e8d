"""The stand-ins that several files use: started once a file, whole and empty after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from demo import follow as follow_service
from demo import providers as stand_ins
from demo.follow import Follow, FollowOptions
from demo.providers import Providers

TIMEOUT_S = 5


@pytest.fixture(scope="module")
def follow_running() -> Iterator[Follow]:
    """One service for the whole file; every test mends it again."""
    with follow_service.running(FollowOptions(upload_every_s=0.5, locked_s=0.5)) as follow:
        yield follow


@pytest.fixture
def follow(follow_running: Follow) -> Iterator[Follow]:
    """The service, whole again afterwards."""
    yield follow_running
    follow_running.put_faults({})
    follow_running.service.alerts.devices.clear()
    follow_running.service.alerts.sent.clear()


@pytest.fixture(scope="module")
def providers_running() -> Iterator[Providers]:
    """One set of stand-ins for the whole file."""
    with stand_ins.running(step_s=0.002) as providers:
        yield providers


@pytest.fixture
def providers(providers_running: Providers) -> Iterator[Providers]:
    """The stand-ins, whole and empty again afterwards."""
    yield providers_running
    providers_running.put_faults({})
    providers_running.put_phones({})
    requests.delete(f"{providers_running.url}/ledger", timeout=TIMEOUT_S)
