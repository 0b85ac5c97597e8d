"""The published files over HTTP, in front of an application."""

import gzip
import http.client
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import brotli
import pytest

from public.files import write
from public.publish import Publisher
from public.serve import CHECK_EVERY_S, PublishedFiles
from tests.public.cast import incident, snapshot

Answer = tuple[int, dict[str, str], bytes]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128  # five, as it is by default, resets a browser that opens many at once


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def django(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"django " + environ["REQUEST_METHOD"].encode() + b" " + environ["PATH_INFO"].encode()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "public"


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, PublishedFiles(django, folder), _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def published(folder: Path) -> Path:
    Publisher(folder).publish(snapshot(incident()))
    return folder


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return (
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read(),
        )
    finally:
        connection.close()


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/history", "text/html"),
        ("/incidents/incident0001", "text/html"),
        ("/components/follow", "text/html"),
        ("/api/v2/summary.json", "application/json"),
        ("/banner.json", "application/json"),
        ("/banner.js", "text/javascript"),
        ("/page.css?abc", "text/css"),
        ("/history.rss", "application/rss+xml"),
        ("/history.atom", "application/atom+xml"),
        ("/badge/follow.svg", "image/svg+xml"),
    ],
)
def test_a_file_is_served_as_what_it_is(port: int, path: str, kind: str) -> None:
    status, headers, body = ask(port, path)
    assert status == 200
    assert headers["content-type"] == f"{kind}; charset=utf-8"
    assert (
        headers["cache-control"]
        == "public, max-age=15, stale-while-revalidate=30, stale-if-error=86400"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert len(body) == int(headers["content-length"])


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/subscribe",
        "/incidents/",
        "/incidents",
        "/incidents/nobody",
        "/desk/x.json",
        "/?unsubscribe=1",
    ],
)
def test_everything_else_is_the_application_s(port: int, path: str) -> None:
    assert ask(port, path)[2].startswith(b"django GET /")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_writing_to_a_page_is_the_application_s(port: int, published: Path, method: str) -> None:
    assert ask(port, "/history", method)[2] == f"django {method} /history".encode()


@pytest.mark.parametrize(
    "path",
    [
        "/../secret", "/%2e%2e/secret", "/incidents/../../secret", "/incidents/%2e%2e%2f%2e%2e%2fsecret",
        "//etc/passwd", "/.published", "/.unknown/index.html", "/index.html", "/index.html.gz", "/history.gz", "/history.br", "/es/index.html",
        "/incidents//incident0001", "/incidents%5c..%5c..%5csecret", "/history%00.json", "/history/",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_what_is_published(port: int, published: Path, path: str) -> None:
    (published.parent / "secret").write_text("secret")
    status, headers, body = ask(port, path)
    assert body.startswith(b"django")
    assert "etag" not in headers


def test_head_has_the_headers_and_no_body(port: int, published: Path) -> None:
    status, headers, body = ask(port, "/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == (published / "index.html").stat().st_size


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("br, gzip;q=0.5", "br"),
        ("br;q=0, gzip", "gzip"),
        ("*", "br"),
        ("*, br;q=0.0", "gzip"),
        ("gzip;q=0", ""),
        ("identity", ""),
        ("", ""),
    ],
)
def test_it_is_compressed_for_who_takes_it(
    port: int, published: Path, accepted: str, coding: str
) -> None:
    status, headers, body = ask(port, "/", Accept_Encoding=accepted)
    assert headers.get("content-encoding", "") == coding
    assert headers["vary"] == "Accept-Encoding"
    unpack = {"gzip": gzip.decompress, "br": brotli.decompress, "": bytes}[coding]
    assert unpack(body) == (published / "index.html").read_bytes()


@pytest.mark.parametrize(
    ("ending", "packed"),
    [
        (".gz", gzip.compress(b"another", mtime=0)),
        (".br", brotli.compress(b"another")),
        (".br", b"no"),
    ],
)
def test_a_compressed_twin_of_another_content_is_not_sent(
    port: int, published: Path, ending: str, packed: bytes
) -> None:
    (published / f"index.html{ending}").write_bytes(packed)
    coding = {".gz": "gzip", ".br": "br"}[ending]
    status, headers, body = ask(port, "/", Accept_Encoding=coding)
    assert "content-encoding" not in headers
    assert body == (published / "index.html").read_bytes()


@pytest.mark.usefixtures("published")
def test_who_has_it_already_gets_304(port: int) -> None:
    etag = ask(port, "/banner.json")[1]["etag"]
    for known in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        status, headers, body = ask(port, "/banner.json", If_None_Match=known)
        assert (status, body, headers["etag"]) == (304, b"", etag)
    assert ask(port, "/banner.json", If_None_Match='"other"')[0] == 200


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/status.json",
        "/banner.json",
        "/banner.es.json",
        "/banner.js",
        "/badge.svg",
        "/history.atom",
    ],
)
def test_other_origins_may_read_what_is_made_for_them(port: int, path: str) -> None:
    headers = ask(port, path)[1]
    assert headers["access-control-allow-origin"] == "*"
    assert headers["access-control-expose-headers"] == "Date, ETag"
    status, allowed, _ = ask(port, path, "OPTIONS", Origin="https://app.example")
    assert status == 204
    assert "If-None-Match" in allowed["access-control-allow-headers"]


@pytest.mark.usefixtures("published")
def test_a_page_is_strict_about_what_it_loads_and_who_frames_it(port: int) -> None:
    headers = ask(port, "/")[1]
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(("method", "expected"), [("GET", 404), ("HEAD", 404), ("POST", 405)])
def test_an_unknown_path_of_the_api_answers_in_json(
    port: int, published: Path, method: str, expected: int
) -> None:
    status, headers, body = ask(port, "/api/v2/nothing.json", method)
    assert status == expected
    assert headers["content-type"].startswith("application/json")
    assert headers["access-control-allow-origin"] == "*"
    if method != "HEAD":
        assert "/api/v2/nothing.json" in json.loads(body)["error"]


def test_before_the_first_pass_the_page_says_to_come_again(port: int) -> None:
    status, headers, _ = ask(port, "/")
    assert (status, headers["retry-after"]) == (503, "1")


def test_a_new_content_shows_within_a_second(port: int, published: Path) -> None:
    ask(port, "/banner.json")
    write(published, "banner.json", b'{"new": true}')
    time.sleep(CHECK_EVERY_S)
    assert ask(port, "/banner.json")[2] == b'{"new": true}'


def test_a_removed_file_is_gone_within_a_second(port: int, published: Path) -> None:
    ask(port, "/history")
    os.unlink(published / "history")
    time.sleep(CHECK_EVERY_S)
    assert ask(port, "/history")[2] == b"django GET /history"
