"""OpenTelemetry: off unless asked for; asked for, a collector gets the fault's spans under the log's trace id."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from incidents import trace
from statuspage import telemetry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    came: list[bytes] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.server_address[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield came
        trace.watch(None)
        server.shutdown()
        thread.join(10)


def test_a_collector_gets_each_piece_of_work_under_the_faults_own_trace(
    collector: list[bytes],
) -> None:
    provider = telemetry.start()
    fault = trace.made_of("incident", "abc")
    with trace.on(fault, "publish"):
        assert trace.current() == fault
    with trace.on(fault, "send"):
        pass
    assert provider.force_flush(10_000)
    provider.shutdown()
    spans = [
        span
        for body in collector
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [span.name for span in spans] == ["publish", "send"]
    assert {span.trace_id.hex() for span in spans} == {fault}


def _loaded(before: str = "", **env: str) -> str:
    words = (
        before
        + "import sys; import django; django.setup(); print('statuspage.telemetry' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=ROOT, env=os.environ | env,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_it_is_off_unless_asked_for() -> None:
    assert _loaded() == "False"
    assert _loaded(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") == "True"


def test_a_wrong_address_stops_the_start_in_one_sentence() -> None:
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in _loaded(OTEL_EXPORTER_OTLP_ENDPOINT="collector")


def test_without_its_packages_the_start_stops_in_one_sentence() -> None:
    gone = "import sys; sys.modules['opentelemetry'] = None; "
    said = _loaded(gone, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert "needs the packages of requirements-otel.txt" in said
