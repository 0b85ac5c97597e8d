"""A folder of public files for each test."""

from pathlib import Path

import pytest
from pytest_django import Settings

from public import measured


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.PUBLISH_DIR = tmp_path / "public"
    settings.PUBLISH_MIRRORS = ()
    return tmp_path / "public"


@pytest.fixture(autouse=True)
def _nothing_measured_is_remembered() -> None:
    measured.forget()
