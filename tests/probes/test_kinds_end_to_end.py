"""Each kind from site.yaml to the verdict: a real agent process, the real server, real targets."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_django.live_server_helper import LiveServer

from demo.follow import Follow, FollowOptions, running
from desk import applying, siteconfig
from probes import services
from probes.models import CurrentVerdict, Location, Result
from tests.probes.test_tls import write_certificate

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "password-of-the-test"
# Far above two runs at a second each, so that a busy machine does not decide the outcome.
PATIENCE_S = 60.0
RULE = {"consecutive": 2, "retry_after_s": 0, "recover_after_s": 1}


class Port:
    """A port of ours that takes connections, with TLS when it has a certificate, and can be closed."""

    def __init__(self, certificate: Path | None = None) -> None:
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.number: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # Wakes accept(), which close() alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self._context:
                    taken = self._context.wrap_socket(taken, server_side=True)
            except OSError:
                pass
            finally:
                taken.close()


@contextmanager
def port(certificate: Path | None = None) -> Iterator[Port]:
    opened = Port(certificate)
    try:
        yield opened
    finally:
        if opened._listener.fileno() != -1:
            opened.close()


@contextmanager
def watched(
    server: LiveServer, folder: Path, **checks: dict[str, Any]
) -> Iterator[None]:  # Any: each kind's own keys.
    """Watch with checks named by keyword, one component each, until the block ends."""
    common = {"interval_s": 1, "timeout_s": 5, "locations": ["local"], "verdict": RULE}
    site = {
        "page": {"name": "Status", "url": "http://status.test"},
        "components": [{"slug": slug, "name": slug.title()} for slug in checks],
        "checks": [
            {"slug": slug, "component": slug, **common, **spec} for slug, spec in checks.items()
        ],
    }
    words = siteconfig.parse(yaml.safe_dump(site), around=applying.surroundings())
    applying.apply(words, now=datetime.now(UTC))
    token = services.issue_token(name="local", now=datetime.now(UTC))
    agent = subprocess.Popen(
        [sys.executable, "-m", "probes.agent", "--server", server.url, "--location", "local"],
        cwd=ROOT,
        env={
            **os.environ,
            "PROBE_TOKEN": token,
            "SHARE_PASSWORD": PASSWORD,
            "DATA_DIR": str(folder),
        },
    )
    try:
        yield
    finally:
        agent.terminate()
        agent.wait(PATIENCE_S)


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            rows = CurrentVerdict.objects.values_list("of_check__slug", "word", "reasoning")
            pytest.fail(f"{what}; the verdicts are {list(rows)}")
        time.sleep(0.05)


def until_said(**words: str) -> None:
    def is_so() -> bool:
        rows = CurrentVerdict.objects.values_list("component__slug", "word")
        return words.items() <= dict(rows).items()

    until(is_so, f"waited for {words}")


def reasoning(component: str) -> str:
    return CurrentVerdict.objects.get(component__slug=component).reasoning


@pytest.fixture
def follow() -> Iterator[Follow]:
    with running(FollowOptions(password=PASSWORD)) as service:
        yield service


@pytest.mark.parametrize(("path", "account"), [("publisher", "probe"), ("subscriber", "follower")])
def test_share_sees_frozen_readings_and_their_end_on_both_paths(
    live_server: LiveServer, tmp_path: Path, follow: Follow, path: str, account: str
) -> None:
    check = {
        "kind": "share",
        "path": path,
        "url": f"{follow.url}/ShareWebServices/Services",
        "accounts": [{"name": account, "password": "${SHARE_PASSWORD}"}],
        "allow_private": True,
    }
    with watched(live_server, tmp_path, share=check):
        until_said(share="up")
        follow.put_faults({"read": "F9"})
        until_said(share="stale")
        assert "old, allowed 660" in reasoning("share")
        follow.put_faults({"read": "F8"})
        until_said(share="outage")
        follow.put_faults({})
        until_said(share="up")
    assert PASSWORD not in str(list(Result.objects.values()))


def test_share_with_a_wrong_password_is_no_outage(
    live_server: LiveServer, tmp_path: Path, follow: Follow
) -> None:
    check = {
        "kind": "share",
        "url": f"{follow.url}/ShareWebServices/Services",
        "accounts": [{"name": "probe", "password": "not-the-password"}],
        "allow_private": True,
    }
    with watched(live_server, tmp_path, share=check):
        until(lambda: Result.objects.count() >= 4, "waited for runs")
    assert set(Result.objects.values_list("outcome", flat=True)) <= {"auth_suspect", "prober_fault"}
    assert not CurrentVerdict.objects.filter(word__in=["outage", "partial", "stale"]).exists()
    assert follow.service.board.requests["login"] == 1


def test_tcp_tells_an_open_port_from_a_closed_one(live_server: LiveServer, tmp_path: Path) -> None:
    with port() as opened, port() as closed:
        closed.close()
        checks = {
            slug: {"kind": "tcp", "host": "127.0.0.1", "port": each.number, "allow_private": True}
            for slug, each in (("open", opened), ("closed", closed))
        }
        with watched(live_server, tmp_path, **checks):
            until_said(open="up", closed="outage")
            opened.close()
            until_said(open="outage")
    assert "the connection was refused" in reasoning("open")


def test_tls_tells_a_good_certificate_from_one_that_ends_soon_and_one_that_ended(
    live_server: LiveServer, tmp_path: Path
) -> None:
    checks: dict[str, dict[str, Any]] = {}
    with (
        port(certificate(tmp_path, "good", 90)) as good,
        port(certificate(tmp_path, "soon", 10.5)) as soon,
        port(certificate(tmp_path, "ended", -1)) as ended,
    ):
        for slug, each in (("good", good), ("soon", soon), ("ended", ended)):
            pem = (tmp_path / slug / "localhost.pem").read_text()
            checks[slug] = {
                "kind": "tls",
                "host": "localhost",
                "port": each.number,
                "allow_private": True,
                "authorities": pem.partition("-----END PRIVATE KEY-----")[2],
            }
        with watched(live_server, tmp_path, **checks):
            until_said(good="up", soon="degraded", ended="outage")
    assert "in 10 days, expected 14 or more" in reasoning("soon")
    assert "expired" in reasoning("ended")


def certificate(folder: Path, name: str, days: float) -> Path:
    (folder / name).mkdir()
    return write_certificate(folder / name, name="localhost", days=days)


def test_dns_tells_a_name_that_leads_where_it_should_from_others(
    live_server: LiveServer, tmp_path: Path
) -> None:
    checks: dict[str, dict[str, Any]] = {
        "right": {"kind": "dns", "host": "localhost", "addresses": ["127.0.0.1", "::1"]},
        "elsewhere": {"kind": "dns", "host": "localhost", "addresses": ["192.0.2.1"]},
        "nowhere": {"kind": "dns", "host": "nobody.invalid"},
    }
    with watched(live_server, tmp_path, **checks):
        until_said(right="up", elsewhere="outage", nowhere="outage")
    assert "expected only 192.0.2.1" in reasoning("elsewhere")
    assert Location.objects.get(name="local").last_seen_at is not None
