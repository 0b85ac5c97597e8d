"""Strangers' clients of Statuspage: installed as published, each with the dependencies it asks for, and run apart.

Their own pins contradict ours and each other, so each lives in a folder of its own and runs in a process of its own,
which sees nothing of the project but an address and a key.
"""

import base64
import csv
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOMES = Path(sys.prefix) / "clients"
INSTALL_S, RUN_S = 180, 60


@dataclass(frozen=True, slots=True)
class Stranger:
    """A client from PyPI: its distribution and version, and the program of ours that calls it."""

    name: str
    version: str
    program: str

    @property
    def home(self) -> Path:
        return HOMES / self.name.lower()

    @property
    def lock(self) -> Path:
        return HERE / "locks" / f"{self.name.lower()}.txt"

    def install(self) -> None:
        """Install from the hashed lock, unless that was done."""
        home = str(self.home)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "--no-compile", "--target", home]
        _install(self.home, self.lock, [*command, "-r", str(self.lock)], ROOT, lambda: None)

    def run(self, **words: str) -> Any:  # Any: what the program printed, as JSON
        """Run the program with these variables; return what it found."""
        bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment = bare | words | {"PYTHONPATH": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"}
        # -S: not even the project's own packages are there.
        command = [sys.executable, "-S", str(HERE / "programs" / f"{self.program}.py")]
        return _run(command, environment)

    def fingerprint(self) -> str:
        """Return the hash of all its installed files, each held to the hash its wheel gives for it."""
        metadata = [
            path
            for path in self.home.glob("*.dist-info")
            if path.name.lower().startswith(f"{self.name.lower().replace('-', '_')}-")
        ]
        assert [path.name.endswith(f"-{self.version}.dist-info") for path in metadata] == [True]
        whole = hashlib.sha256()
        with (metadata[0] / "RECORD").open(newline="") as record:
            for name, said, _ in sorted(csv.reader(record)):
                if not said or name.startswith(".."):  # a console script, written by pip
                    continue
                found = hashlib.sha256((self.home / name).read_bytes()).digest()
                assert said == f"sha256={base64.urlsafe_b64encode(found).rstrip(b'=').decode()}", (
                    name
                )
                whole.update(name.encode() + found)
        return whole.hexdigest()


class Node:
    """The clients from npm, in one folder, by one lock."""

    home = HOMES / "node"
    lock = HERE / "node" / "package-lock.json"

    @classmethod
    def install(cls) -> None:
        if shutil.which("npm") is None or shutil.which("node") is None:
            pytest.fail("no node and npm on the PATH (Debian: apt-get install nodejs npm)")
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        _install(cls.home, cls.lock, command, cls.home, cls._lay_out)

    @classmethod
    def _lay_out(cls) -> None:
        cls.home.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(cls.lock.with_name(name), cls.home / name)

    @classmethod
    def run(cls, program: str, **words: str) -> Any:  # Any: as above
        bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment = bare | words | {"CLIENTS": str(cls.home / "node_modules")}
        return _run(["node", str(HERE / "programs" / program)], environment)

    @classmethod
    def fingerprint(cls, package: str) -> tuple[str, str]:
        """Return version and hash of a package's installed files."""
        folder = cls.home / "node_modules" / package
        whole = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                whole.update(str(path.relative_to(folder)).encode() + path.read_bytes())
        return json.loads((folder / "package.json").read_text())["version"], whole.hexdigest()


def _install(
    home: Path, lock: Path, command: list[str], cwd: Path, lay_out: Callable[[], None]
) -> None:
    """Run the command unless it was done; one at a time, since tests run beside each other."""
    HOMES.mkdir(exist_ok=True)
    stamp = home / ".installed"
    with (HOMES / f".{home.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
            return
        shutil.rmtree(home, ignore_errors=True)
        lay_out()
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_S)
        if done.returncode:
            pytest.fail(f"{lock.name} could not be installed: {done.stderr[-2000:]}")
        stamp.write_bytes(lock.read_bytes())


def _run(command: list[str], environment: dict[str, str]) -> Any:  # Any: JSON
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=RUN_S, cwd="/"
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
