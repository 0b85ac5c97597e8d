"""`./run audit`: secrets in the tree, known weaknesses of what we depend on, and a list of it all (SBOM).

A weakness list that could not be read is said as that: "nothing found" and "nobody looked" are not the same.
Exit 0: clean. 1: something was found. 3: the weakness list could not be read, and nothing else was found.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KNOWN = ROOT / ".ci" / "known-secrets.json"
FOUND, NOT_LOOKED = 1, 3
# Hashes and lock files of others are long random texts by nature.
NOT_SCANNED = r"(^|/)(requirements.*\.txt|package-lock\.json|known-secrets\.json|.*\.svg)$"
TOOL_S = 300.0


def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    return [name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def secrets(files: Iterable[str], *, root: Path = ROOT) -> list[tuple[str, int, str, str]]:
    """Return what looks like a secret: file, line, kind, hash of the value."""
    # Words such as "password" beside any text are not looked for: tests and forms are full of them.
    command = ["detect_secrets", "scan", "--disable-plugin", "KeywordDetector"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--exclude-files", NOT_SCANNED, *files],
        cwd=root, capture_output=True, text=True, check=True, timeout=TOOL_S,
    )  # fmt: skip
    found: Mapping[str, list[dict[str, Any]]] = json.loads(done.stdout)["results"]  # Any: its JSON
    return sorted(
        (file, row["line_number"], row["type"], row["hashed_secret"])
        for file, rows in found.items()
        for row in rows
    )


def unknown_secrets() -> list[tuple[str, int, str, str]]:
    """Return those that nobody has looked at; the known ones are examples, each with its reason."""
    known = json.loads(KNOWN.read_text(encoding="utf-8"))
    return [row for row in secrets(tracked()) if row[3] not in known]


def weaknesses(requirements: Path) -> tuple[list[str], list[str], int]:
    """Return what is weak, why nobody could look (empty: somebody did), and how many packages were looked at."""
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-f", "json",
         "--progress-spinner", "off", "-r", str(requirements)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=TOOL_S,
    )  # fmt: skip
    try:
        rows = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [], [f"pip-audit ended with {done.returncode}: {last}"], 0
    return read_audit(rows)


def read_audit(rows: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[str], int]:
    """Read pip-audit's rows. One that it skipped was not looked at, whatever its last line says."""
    weak, unread, looked = [], [], 0
    for row in rows:
        if "skip_reason" in row:
            unread.append(str(row["name"]))
            continue
        looked += 1
        weak += [f"{row['name']} {row['version']}: {each['id']}" for each in row["vulns"]]
    return weak, unread, looked


def sbom(requirements: Path, to: Path) -> int:
    """Write the CycloneDX list of the locked packages; return how many they are."""
    subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "requirements", str(requirements), "--of", "JSON", "-o", str(to)],
        cwd=ROOT, capture_output=True, check=True, timeout=TOOL_S,
    )  # fmt: skip
    return len(json.loads(to.read_text(encoding="utf-8"))["components"])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./run audit", epilog="Example: ./run audit --sbom sbom.json"
    )
    parser.add_argument(
        "--sbom", type=Path, help="write the list of all packages there (CycloneDX)"
    )
    parser.add_argument("--secrets-only", action="store_true", help="ask nobody outside")
    options = parser.parse_args()
    strange = unknown_secrets()
    for file, line, kind, digest in strange:
        print(f"secret?  {file}:{line}: {kind} ({digest})")
    print(f"secrets: {len(strange)} not known in {len(tracked())} files")
    if options.sbom:
        print(f"sbom: {sbom(ROOT / 'requirements.txt', options.sbom.resolve())} packages")
    if options.secrets_only:
        return FOUND if strange else 0
    weak, unread, looked = weaknesses(ROOT / "requirements.txt")
    for each in weak:
        print(f"weak  {each}")
    print(f"dependencies: {len(weak)} known weaknesses in {looked} packages that were looked up")
    if unread:
        print(
            f"dependencies: NOT LOOKED UP: {len(unread)} packages ({', '.join(unread[:3])} …): the weakness list "
            "could not be read from here; this is no clean bill"
        )
    if strange or weak:
        return FOUND
    return NOT_LOOKED if unread else 0


if __name__ == "__main__":
    sys.exit(main())
