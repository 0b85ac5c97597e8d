"""A local network of the fault tests' own: hosts with separate addresses, and cables that can be pulled.

Each host is a network namespace without a name. The test itself moves into one of them, `home`; all of them are gone
with the processes that live there. What vanishes on a pulled cable gets no answer at all, not even a refusal.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

NET = "10.78.0"
HOME = f"{NET}.1"
TOOL_S = 20.0
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Host:
    """One machine: its address, and the process that keeps its namespace."""

    name: str
    address: str
    keeper: subprocess.Popen[bytes]

    def within(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` on this host."""
        return [_tool("nsenter"), f"--net=/proc/{self.keeper.pid}/ns/net", "--", *command]


class Lan:
    """The hosts. Only the thread that laid it, and what that starts, stands in `home`."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.hosts = hosts

    def pull(self, name: str) -> None:
        """Pull a host's cable: what is sent there, or from there, vanishes."""
        _ip("link", "set", name, "down")

    def plug(self, name: str) -> None:
        """Plug it in again."""
        _ip("link", "set", name, "up")


@contextmanager
def laid(*names: str) -> Iterator[Lan]:
    """Lay the network, with this thread at `home`, while the block runs."""
    if os.geteuid() != 0:
        pytest.fail("network namespaces can be made by root only; run this test as root")
    with open("/proc/self/ns/net", "rb") as before, ExitStack() as stack:
        _call("unshare", CLONE_NEWNET)
        stack.callback(_call, "setns", before.fileno(), CLONE_NEWNET)
        _ip("link", "set", "lo", "up")
        # Without a forward_delay of 0 a bridge learns for 15 s before it forwards.
        _ip("link", "add", "lan", "type", "bridge", "forward_delay", "0")
        _ip("address", "add", f"{HOME}/24", "dev", "lan")
        _ip("link", "set", "lan", "up")
        hosts = {name: stack.enter_context(_host(name, number)) for number, name in enumerate(names, 11)}  # fmt: skip
        yield Lan(hosts)


@contextmanager
def _host(name: str, number: int) -> Iterator[Host]:
    idle = [sys.executable, "-c", "import sys; sys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()"]  # fmt: skip
    keeper = subprocess.Popen(
        [_tool("unshare"), "--net", *idle], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert keeper.stdout is not None
        assert keeper.stdout.read(1) == b".", f"no namespace for {name}"
        host = Host(name, f"{NET}.{number}", keeper)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(keeper.pid))
        _ip("link", "set", name, "master", "lan", "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{host.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            _run(host.within([_tool("ip"), *words]))
        yield host
    finally:
        keeper.kill()
        keeper.communicate()


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _ip(*words: str) -> None:
    _run([_tool("ip"), *words])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TOOL_S)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert found, f"{name} is not on this machine: apt-get install iproute2 util-linux"
    return found
