"""The stand-ins as processes: one ready line, an inherited socket, and a quick end."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 5
STOP_S = 10.0  # far below the 60 s that the request would hang


@contextmanager
def started(
    module: str, *arguments: str, fds: Sequence[int] = ()
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start one stand-in; give the process and the words of its ready line."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=tuple(fds),
        env={**os.environ, "FOLLOW_PASSWORD": "given-by-the-caller"},
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().split()
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
        process.stdout.close()


MODULES = ["demo.follow", "demo.providers", "demo.mailbox"]


@pytest.mark.parametrize("module", MODULES)
def test_it_says_ready_answers_and_stops_on_SIGTERM_within_two_seconds(module: str) -> None:
    with started(module) as (process, words):
        assert words[0] == "ready"
        assert requests.get(words[1], timeout=TIMEOUT_S).status_code == 200
        assert requests.get(f"{words[1]}/faults", timeout=TIMEOUT_S).json()["faults"] == {}
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        assert time.monotonic() - start < STOP_S


@pytest.mark.parametrize("module", MODULES)
def test_it_serves_a_socket_that_it_inherited(module: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fd = listener.fileno()
        with started(module, "--fd", str(fd), fds=[fd]) as (_, words):
            assert words[1] == f"http://127.0.0.1:{port}"
            assert requests.get(words[1], timeout=TIMEOUT_S).status_code == 200


def test_the_mailbox_names_its_smtp_address_too() -> None:
    with started("demo.mailbox") as (_, words):
        host, _, port = words[2].removeprefix("smtp://").partition(":")
        with smtplib.SMTP(host, int(port), timeout=TIMEOUT_S) as client:
            client.sendmail("s@example.org", ["a@example.org"], b"Subject: x\r\n\r\nx")
        assert requests.get(f"{words[1]}/count", timeout=TIMEOUT_S).json()["count"] == 1


@pytest.mark.slow
def test_a_hanging_request_does_not_hold_up_the_stop() -> None:
    with started("demo.follow") as (process, words):
        url = words[1]
        fault = {"login": {"shape": "F2", "hang_s": 60}}
        requests.put(f"{url}/faults", json=fault, timeout=TIMEOUT_S)
        body = {"user": "probe", "password": "given-by-the-caller"}
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{url}/auth/login", json=body, timeout=0.3)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as held:
            held.sendall(b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            start = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0
            assert time.monotonic() - start < STOP_S
        held.close()


def test_follow_takes_its_password_from_the_caller() -> None:
    with started("demo.follow") as (_, words):
        body = {"user": "probe", "password": "given-by-the-caller"}
        answer = requests.post(f"{words[1]}/auth/login", json=body, timeout=TIMEOUT_S)
        assert answer.status_code == 200


def test_a_taken_port_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        command = [sys.executable, "-m", "demo.follow", "--port", port]
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Cannot listen: ")
    assert "Traceback" not in ended.stderr
