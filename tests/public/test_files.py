"""Files that go to their places together, and who goes before whom."""

import gzip
import os
import sys
import threading
from pathlib import Path

import pytest

from public import files, yielding
from public.publish import Publisher
from tests.public.cast import incident, snapshot


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_nothing_is_in_its_place_before_the_batch_is_finished(tmp_path: Path) -> None:
    batch = files.Batch()
    batch.write(tmp_path, "a/page", b"news")
    assert "a/page" not in names(tmp_path)
    assert batch.finish() == {}
    assert names(tmp_path) == {"a/page", "a/page.gz", "a/page.br"}
    assert gzip.decompress((tmp_path / "a/page.gz").read_bytes()) == b"news"


def test_the_newer_of_two_contents_stays(tmp_path: Path) -> None:
    batch = files.Batch()
    batch.write(tmp_path, "page", b"old")
    batch.write(tmp_path, "page", b"new")
    assert batch.finish() == {}
    assert (tmp_path / "page").read_bytes() == b"new"


def test_more_than_a_batch_holds_needs_no_more_descriptors(tmp_path: Path) -> None:
    batch = files.Batch()
    before = opened = len(os.listdir("/dev/fd"))
    for number in range(2 * files.BATCH_MAX + 1):
        batch.write(tmp_path, f"page{number}", b"x")
        opened = max(opened, len(os.listdir("/dev/fd")))
    assert batch.finish() == {}
    assert len(names(tmp_path)) == 3 * (2 * files.BATCH_MAX + 1)
    assert before < opened <= before + 3 * files.BATCH_MAX


def test_what_fails_holds_back_the_last_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()  # a folder where the file should be
    batch = files.Batch()
    batch.write(tmp_path, "taken", b"x")
    batch.write(tmp_path, "other", b"x")
    batch.write(tmp_path, "index.html", b"x", last=True)
    failed = batch.finish()
    assert set(failed) == {"taken", "index.html"}
    assert (tmp_path / "other").exists()
    assert not (tmp_path / "index.html").exists()
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]
    batch.write(tmp_path, "index.html", b"x", last=True)
    assert batch.finish() == {}


def test_the_index_waits_for_what_could_not_be_written_and_comes_with_it(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    (tmp_path / "history.rss").mkdir()
    for _ in range(2):
        with pytest.raises(OSError):
            publisher.publish(snapshot(incident()))
        assert not (tmp_path / "index.html").exists()
    (tmp_path / "history.rss").rmdir()
    publisher.publish(snapshot(incident()))
    assert (tmp_path / "history.rss").is_file()
    assert (tmp_path / "index.html").is_file()


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere threads have no priority of their own"
)
def test_a_thread_that_steps_back_takes_no_other_with_it() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    seen: list[int] = []

    def work() -> None:
        yielding.step_back()
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [min(19, before + yielding.STEPS)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
