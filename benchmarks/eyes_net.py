"""A small internet of its own: network namespaces for the agents, two bridges, cables that can be pulled.

All of it lives in namespaces of one process, made by unshare(1): when that process ends, however it ends, its
children, cables and bridges are gone with it.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum

from benchmarks.probes_stage import ROOT, NotHere, program

# The status server stands on the home bridge, what is probed on that of the world; nothing leads out.
SERVER, FOLLOW = "10.77.1.1", "10.77.2.1"
REFERENCES = ("10.77.2.11", "10.77.2.12", "10.77.2.13")
REFERENCE_PORT = 443
IP_S = 10.0
PR_SET_PDEATHSIG = 1  # prctl(2)


class Cable(StrEnum):
    """What connects an agent: with its server, and with everything else."""

    HOME = "home"
    WORLD = "world"


BOTH = (Cable.HOME, Cable.WORLD)


def enclosed(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs `python -m …` in namespaces of its own; raise NotHere in words."""
    if os.geteuid() != 0:
        raise NotHere("network namespaces can be made by root only; run it as root.")
    program("ip", package="iproute2")
    unshare = program("unshare", package="util-linux")
    # Processes too: they end with the first of them. Mounts too: ip netns keeps its names in one.
    walls = ["--net", "--mount", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]
    return [unshare, *walls, sys.executable, "-m", *arguments]


def die_with_parent() -> None:
    """Be killed by the kernel when the parent dies; for Popen's preexec_fn."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def enclose(arguments: Sequence[str], *, folder: str) -> subprocess.Popen[str]:
    """Start `python -m …` in namespaces of its own; `folder` becomes its DATA_DIR."""
    return subprocess.Popen(
        enclosed(arguments),
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": folder},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )


class Net:
    """The bridges, and one namespace for each location. Only inside enclose()."""

    def __init__(self, locations: Iterable[str]) -> None:
        self.locations = tuple(locations)
        self._ip = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "ip"

    def build(self) -> None:
        """Lay everything; every cable is plugged in."""
        os.makedirs("/run/netns", exist_ok=True)
        # PostgreSQL's shared memory goes with us too.
        for place in ("/run/netns", "/dev/shm"):
            self._run(["mount", "-t", "tmpfs", "tmpfs", place])
        self._do("link set lo up")
        for cable in Cable:
            # Without a forward_delay of 0 a bridge learns for 15 s before it forwards.
            self._do(f"link add {cable} type bridge forward_delay 0")
            self._do(f"link set {cable} up")
        for address, cable in ((SERVER, Cable.HOME), (FOLLOW, Cable.WORLD)):
            self._do(f"address add {address}/24 dev {cable}")
        for address in REFERENCES:
            self._do(f"address add {address}/24 dev {Cable.WORLD}")
        for number, name in enumerate(self.locations):
            self._do(f"netns add {name}")
            self._do(f"-n {name} link set lo up")
            for net, cable in enumerate(Cable, start=1):
                self._do(f"link add {name}-{cable} type veth peer name {cable} netns {name}")
                self._do(f"link set {name}-{cable} master {cable} up")
                self._do(f"-n {name} address add 10.77.{net}.{100 + number}/24 dev {cable}")
                self._do(f"-n {name} link set {cable} up")

    def within(self, location: str, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` at a location."""
        return [self._ip, "netns", "exec", location, *command]

    def pull(self, locations: Iterable[str], cables: Iterable[Cable] = BOTH) -> None:
        """Pull cables out at the far end: what is sent vanishes, as it does out there."""
        self._set(locations, cables, "down")

    def plug(self, locations: Iterable[str], cables: Iterable[Cable] = BOTH) -> None:
        """Plug them in again."""
        self._set(locations, cables, "up")

    def _set(self, locations: Iterable[str], cables: Iterable[Cable], state: str) -> None:
        ends = [(name, cable) for cable in cables for name in locations]
        for name, cable in ends:
            self._do(f"link set {name}-{cable} {state}")

    def _do(self, words: str) -> None:
        self._run([self._ip, *words.split()])

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=IP_S)
        if done.returncode != 0:
            raise NotHere(f"{' '.join(command)} failed: {done.stderr.strip()}")
