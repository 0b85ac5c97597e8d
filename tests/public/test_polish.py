"""Quick twins are replaced by the best ones, once it is quiet."""

import threading
from pathlib import Path

import brotli
import pytest

from public import polish
from public.files import write
from public.polish import BEST, Polisher
from tests.public.waiting import until

BODY = b"<p>Followers may not receive readings or alerts. We are looking.</p>\n" * 60


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polish, "QUIET_S", 0.0)


def test_a_page_that_stays_is_compressed_at_its_best(tmp_path: Path) -> None:
    write(tmp_path, "history", BODY)
    best = brotli.compress(BODY, quality=BEST)
    assert (tmp_path / "history.br").read_bytes() != best
    Polisher(tmp_path, threading.Lock(), lambda path, body: True).put("history", BODY)
    until(lambda: (tmp_path / "history.br").read_bytes() == best)


def test_what_is_not_current_any_more_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "history", b"newer " * 300)
    asked: list[str] = []

    def is_current(path: str, body: bytes) -> bool:
        asked.append(path)
        return False

    Polisher(tmp_path, threading.Lock(), is_current).put("history", BODY)
    until(lambda: asked == ["history"])
    assert brotli.decompress((tmp_path / "history.br").read_bytes()) == b"newer " * 300
