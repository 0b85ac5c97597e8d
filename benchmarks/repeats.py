"""The same tests again and again, for flaky ones: `python -m benchmarks.repeats [--into FOLDER] quick=20 whole=3 ci=1`.

Each run leaves one log in FOLDER: its first line names the commit, its last how it ended; `./run accept production` reads
them there (REPEATS names the folder). A run that is cut off has no last line, and is none.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("REPEATS", ROOT / "var" / "repeats"))
# kind: what is run, how often and within how many seconds it is promised to be green.
WHOLE = "not faults and not mutants"
KINDS: dict[str, tuple[list[str], int, float]] = {
    "quick": (["./run", "test", "-m", f"not slow and not browser and {WHOLE}"], 20, 900.0),
    "whole": (["./run", "test", "-m", WHOLE], 3, 3600.0),
    "ci": ([".ci/run"], 1, 75 * 60.0),
}
# A run of which nothing comes any more: twice what the longest is promised to take.
RUN_S = 2 * 75 * 60.0
_LAST = re.compile(r"^repeats: exit (-?\d+) after (\d+) s$")
_SUMMARY = re.compile(r"^=+ .*\b\d+ (?:passed|failed|error).* in [\d.]+s.*=+$")
_AGAIN = "ci: once more, alone:"


@dataclass(frozen=True, slots=True)
class Run:
    """One log: which tests, of which commit, whether all were green at the first try, and how long it took."""

    kind: str
    commit: str
    green: bool
    seconds: float
    said: str


def read(folder: Path) -> list[Run]:
    """Return the runs whose logs are in `folder`, oldest first; half ones are left out."""
    runs = []
    for file in sorted(folder.glob("*.log"), key=lambda each: each.stat().st_mtime):
        kind = file.name.partition("-")[0]
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        end = _LAST.match(lines[-1]) if lines else None
        if kind not in KINDS or not end or not lines[0].startswith("commit "):
            continue
        summaries = [line.strip("= ") for line in lines if _SUMMARY.match(line)]
        green = end[1] == "0" and bool(summaries) and not any(_AGAIN in line for line in lines)
        runs.append(Run(kind, lines[0].split()[1], green, float(end[2]), "; ".join(summaries)))
    return runs


def judged(runs: list[Run], commit: str) -> tuple[bool | None, str]:
    """Say whether the newest runs of `commit` are as many, as green and as quick as promised; None when they are too few."""
    said, outcomes = [], set[bool | None]()
    for kind, (_, often, limit_s) in KINDS.items():
        of_commit = [run for run in runs if run.kind == kind and run.commit == commit]
        newest = of_commit[-often:]
        red = [run.said or "no test ran" for run in newest if not run.green or run.seconds > limit_s]  # fmt: skip
        outcomes.add(False if red else True if len(newest) == often else None)
        longest = f", longest {max(run.seconds for run in newest):.0f} s" if newest else ""
        others = sum(run.kind == kind for run in runs) - len(of_commit)
        elsewhere = f", {others} more of other commits" if others else ""
        said.append(f"{kind}: {len(newest) - len(red)} green of {often}{longest}{elsewhere}" + "".join(f" ({why})" for why in red[:3]))  # fmt: skip
    passed = False if False in outcomes else None if None in outcomes else True
    return passed, f"{'; '.join(said)}; commit {commit[:9]}"


def head() -> str:
    """Return the commit of the tree, `changed` behind it when files differ from it."""
    said = [
        subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    ]  # fmt: skip
    return said[0] + ("+changed" if said[1] else "")


def _run(kind: str, folder: Path) -> bool:
    command = KINDS[kind][0]
    started = time.time()
    file = folder / f"{kind}-{started:.0f}.log"
    with file.open("w", encoding="utf-8") as log:
        print(f"commit {head()}", file=log, flush=True)
        code: int | str
        try:
            code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False, timeout=RUN_S).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = 124
        print(f"\nrepeats: exit {code} after {time.time() - started:.0f} s", file=log)
    print(f"{file}: exit {code} after {time.time() - started:.0f} s", file=sys.stderr, flush=True)
    return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repeats")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER")
    parser.add_argument("what", nargs="+", metavar="KIND=TIMES", help=f"KIND: {', '.join(KINDS)}")
    asked = parser.parse_args()
    wanted = []
    for word in asked.what:
        kind, _, times = word.partition("=")
        if kind not in KINDS or not times.isdecimal() or not 1 <= int(times) <= 100:
            parser.error(f"{word}: wanted KIND=TIMES, such as quick=20; KIND: {', '.join(KINDS)}; 1 to 100 times")  # fmt: skip
        wanted += [kind] * int(times)
    asked.into.mkdir(parents=True, exist_ok=True)
    green = [_run(kind, asked.into) for kind in wanted]
    return 0 if all(green) else 1


if __name__ == "__main__":
    sys.exit(main())
