"""The promised points of the doors."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import doors_history
from benchmarks.accept import Point
from benchmarks.doors_history import POSTGRES, SQLITE
from benchmarks.stage import ROOT

STRANGERS_MIN = 6
LIST_MS, LISTED, UPDATES_EACH = 50.0, 5_000, 10
IMPORT_S, IMPORTED = 60.0, 1_000
EXAMPLES = "16"  # ways of each call that Schemathesis tries
TESTS_S = 900.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What pytest said of some tests."""

    words: str
    passed: int
    failed: int
    said: tuple[str, ...]

    @property
    def is_green(self) -> bool:
        return bool(self.passed) and not self.failed


def points() -> Iterator[Point]:
    """Measure every point; about a quarter of an hour."""
    yield from _strangers()
    yield from _alertmanager()
    yield from _schemathesis()
    yield from _published()
    yield from _list()
    yield from _import()
    yield from _by_tests()


def _tests(*paths: str, only: str = "", env: dict[str, str] | None = None) -> Ran:
    """Run tests as ./run test does; what could not be run has failed."""
    words = [*paths, *(["-k", only] if only else [])]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *words]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=TESTS_S
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Ran(" ".join(words), 0, 1, (f"not done within {TESTS_S:.0f} s",))
    lines = done.stdout.splitlines()
    counts = {
        name: int(number)
        for number, name in re.findall(r"(\d+) (passed|failed|error)", lines[-1] if lines else "")
    }
    failed = counts.get("failed", 0) + counts.get("error", 0) + (done.returncode != 0)
    said = tuple(line for line in lines if re.match(r"(client|calls|storm|alertmanager):", line))
    wrong = tuple(line for line in lines if line.startswith(("FAILED", "ERROR")))
    return Ran(" ".join(words), counts.get("passed", 0), failed, said or wrong)


def _green(promise: str, ran: Ran, figure: str = "") -> Point:
    counted = f"{ran.passed} tests passed, {ran.failed} failed"
    return Point(
        promise,
        ran.is_green,
        f"{figure or '; '.join(ran.said)} {counted}".strip(),
        f"pytest {ran.words}",
    )


def _strangers() -> Iterator[Point]:
    ran = _tests("tests/clients")
    clients = [line for line in ran.said if line.startswith("client:")]
    for line in clients:
        yield Point(
            line.removeprefix("client: "),
            ran.is_green,
            "its answers are as expected",
            f"pytest {ran.words}",
        )
    names = {line.split()[1] for line in clients}
    yield Point(
        f"at least {STRANGERS_MIN} unmodified clients of Statuspage by base URL only",
        ran.is_green and len(names) >= STRANGERS_MIN, f"{len(names)} clients, {ran.passed} tests passed", f"pytest {ran.words}",
    )  # fmt: skip


def _alertmanager() -> Iterator[Point]:
    place = "tests/desk/test_alertmanager.py"
    yield _green(
        "a real Alertmanager fires, fires again, restarts, resolves: one incident, once",
        _tests(place, only="restarted_and_resolved"),
    )
    yield _green("a storm of 10,000 alerts makes one incident", _tests(place, only="storm"))
    yield _green("alerts that end, come back, or meet a person", _tests(place, "tests/desk/test_doors.py", only="not storm and not restarted"))  # fmt: skip


def _schemathesis() -> Iterator[Point]:
    ran = _tests("tests/desk/test_schemathesis.py", env={"SCHEMATHESIS_EXAMPLES": EXAMPLES})
    yield _green("Schemathesis, stateful: no 5xx, no schema violation, every 4xx as described", ran)


def _published() -> Iterator[Point]:
    ran = _tests("tests/desk/test_published.py")
    yield _green(
        "our answers as Atlassian's published description says; what is not offered 404 in JSON",
        ran,
    )


def _list() -> Iterator[Point]:
    for kind in (POSTGRES, SQLITE):
        run = f"GET incidents, {LISTED:,} incidents with {UPDATES_EACH} updates, {kind}, {doors_history.ROUNDS} rounds"
        found = doors_history.listed(kind, LISTED, UPDATES_EACH)
        best, median = found["best_ms"], found["ms"]
        yield Point(
            f"GET incidents with {LISTED:,}: ≤ {LIST_MS:.0f} ms of server time", max(best.values()) <= LIST_MS,
            f"undisturbed (least of its rounds) {_ms(best)}; median {_ms(median)} at a load of {found['load']:.1f}; "
            f"100 incidents, {found['bytes']:,} bytes", run,
        )  # fmt: skip
        few, many = found["queries"]
        yield Point(
            "… and a constant number of queries",
            few == many,
            f"{few} with 3, {many} with {LISTED:,}",
            run,
        )
    yield _green(
        "every list of /v1: a constant number of queries", _tests("tests/desk/test_lists.py")
    )


def _ms(each: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f} ms" for name, value in each.items())


def _import() -> Iterator[Point]:
    updates = IMPORTED * UPDATES_EACH
    for kind in (POSTGRES, SQLITE):
        run = f"manage import_statuspage of a stand-in with {IMPORTED:,} incidents, {updates:,} updates, public pages, {kind}"
        found = doors_history.imported(kind, IMPORTED, UPDATES_EACH)
        whole = {"incidents": IMPORTED, "updates": updates, "messages": 0}
        there = {name: found[name] for name in whole}
        yield Point(
            f"import of {IMPORTED:,} incidents, {updates:,} updates ≤ {IMPORT_S:.0f} s, nobody messaged",
            found["seconds"] <= IMPORT_S and there == whole, f"{found['seconds']:.1f} s, {there}", run,
        )  # fmt: skip
        yield Point(
            "the import shows its progress", found["progress_lines"] > 1, f"{found['progress_lines']} lines", run
        )  # fmt: skip
        yield Point(
            "the import goes on after kill -9", 0 < found["killed_at"] < IMPORTED and found["resumed"] == whole,
            f"killed at {found['killed_at']} incidents; {found['resumed']} after {found['resumed_s']:.1f} s more", run,
        )  # fmt: skip
        yield Point(
            "the import, run again, changes nothing", found["after_again"] == whole, str(found["again"]), run
        )  # fmt: skip


_TESTED: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("/v1 with and without .json, JSON and forms, paging, both error fields", ("tests/desk/test_api.py",), ""),
    ("scoped, ending and revoked keys", ("tests/desk/test_keys.py", "tests/desk/test_limits.py"), "key"),
    ("idempotency keys, rate limits with headers", ("tests/desk/test_limits.py",), ""),
    ("from a terminal, here and with --server", ("tests/desk/test_far.py", "tests/desk/test_commands.py"), ""),
    ("moving in: public history, ids and dates, idempotent", ("tests/desk/test_import_statuspage.py",), ""),
    ("subscribers by Statuspage's own columns", ("tests/subscribers/test_statuspage_csv.py",), ""),
    ("moving out: everything as JSON and CSV", ("tests/desk/test_move_out.py",), ""),
    ("the reference is what the OpenAPI says, limits are named", ("tests/test_docs.py",), "table or limits"),
    ("the examples of the reference, pasted and run", ("tests/clients/test_examples.py",), ""),
    ("bad input: one sentence naming field, value and what is allowed; nothing half done", ("tests/desk/test_bad_input.py",), ""),
)  # fmt: skip


def _by_tests() -> Iterator[Point]:
    for promise, paths, only in _TESTED:
        missing = [path for path in paths if not (ROOT / path).exists()]
        if missing:
            yield Point(promise, None, f"{', '.join(missing)} is not there", "")
            continue
        yield _green(promise, _tests(*paths, only=only))
