"""Repeated runs are judged by their logs alone: too few is not done, one red among them fails, half ones are none."""

import os
from pathlib import Path

import pytest

from benchmarks import repeats

COMMIT = "a" * 40
GREEN = "===== 7 passed in 3.10s ====="


def _log(
    folder: Path, name: str, *said: str, commit: str = COMMIT, end: str = "exit 0 after 3 s", at: int = 1
) -> None:  # fmt: skip
    file = folder / name
    file.write_text("\n".join([f"commit {commit}", *said, f"repeats: {end}"]) + "\n", "utf-8")
    os.utime(file, (at, at))


def _as_promised(folder: Path) -> None:
    for kind, (_, often, _) in repeats.KINDS.items():
        for n in range(often):
            _log(folder, f"{kind}-{n}.log", GREEN, at=n)


def test_as_many_green_runs_as_promised_are_a_pass(tmp_path: Path) -> None:
    _as_promised(tmp_path)
    passed, said = repeats.judged(repeats.read(tmp_path), COMMIT)
    assert passed is True
    assert "quick: 20 green of 20, longest 3 s" in said


def test_an_empty_folder_is_not_done(tmp_path: Path) -> None:
    passed, said = repeats.judged(repeats.read(tmp_path / "none"), COMMIT)
    assert passed is None
    assert "ci: 0 green of 1" in said


def test_runs_of_another_commit_do_not_count(tmp_path: Path) -> None:
    _as_promised(tmp_path)
    passed, said = repeats.judged(repeats.read(tmp_path), "b" * 40)
    assert passed is None
    assert "20 more of other commits" in said


@pytest.mark.parametrize(
    ("said", "end"),
    [
        (("===== 1 failed, 6 passed in 3.10s =====",), "exit 1 after 3 s"),
        ((GREEN, "ci: once more, alone: tests/x.py::test_y", GREEN), "exit 0 after 3 s"),
        ((), "exit 0 after 3 s"),
        ((GREEN,), "exit 0 after 4501 s"),
    ],
    ids=["a failure", "green at the second try only", "no test ran", "too slow"],
)
def test_one_red_run_among_them_fails(tmp_path: Path, said: tuple[str, ...], end: str) -> None:
    _as_promised(tmp_path)
    _log(tmp_path, "ci-9.log", *said, end=end, at=99)
    assert repeats.judged(repeats.read(tmp_path), COMMIT)[0] is False


def test_a_run_that_was_cut_off_is_none(tmp_path: Path) -> None:
    (tmp_path / "quick-1.log").write_text(f"commit {COMMIT}\n{GREEN}\n", "utf-8")
    assert repeats.read(tmp_path) == []
