"""Mirrors that speak S3, against a real server of it on loopback."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import boto3
import pytest
from moto.server import ThreadedMotoServer

from public.publish import Publisher
from tests.public.cast import NOW, component, incident, snapshot

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "status-mirror"
ADDRESS = f"s3://{BUCKET}/eu"
LATER = NOW + timedelta(seconds=10)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Client"]:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "mirror",
        "AWS_SECRET_ACCESS_KEY": "mirror",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3")
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    yield client
    for key in keys(client):
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def keys(client: "S3Client") -> list[str]:
    return [row["Key"] for row in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.mark.slow
def test_a_bucket_holds_what_the_folder_holds(bucket: "S3Client", tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, [ADDRESS])
    publisher.publish(snapshot(incident()))
    publisher.finish_mirrors(20)
    for path in ("index.html", "banner.json", "api/v2/summary.json", "components/follow"):
        held = bucket.get_object(Bucket=BUCKET, Key=f"eu/{path}")["Body"].read()
        assert held == (tmp_path / path).read_bytes(), path


def test_a_bucket_is_told_what_each_file_is_and_how_long_it_is_good(
    bucket: "S3Client", tmp_path: Path
) -> None:
    publisher = Publisher(tmp_path, [ADDRESS])
    publisher.publish(snapshot())
    publisher.finish_mirrors(20)
    for path, kind in {
        "index.html": "text/html; charset=utf-8",
        "history": "text/html; charset=utf-8",
        "banner.json": "application/json; charset=utf-8",
        "history.ics": "text/calendar; charset=utf-8",
    }.items():
        head = bucket.head_object(Bucket=BUCKET, Key=f"eu/{path}")
        assert head["ContentType"] == kind
        assert head["CacheControl"].startswith("public, max-age=15")


@pytest.mark.slow
def test_what_is_removed_here_is_removed_there(bucket: "S3Client", tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, [ADDRESS])
    publisher.publish(snapshot(components=(component(), component("web"))))
    publisher.publish(snapshot(components=(component(),)))
    publisher.finish_mirrors(20)
    assert "eu/components/follow" in keys(bucket)
    assert "eu/components/web" not in keys(bucket)


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_holds_nobody_up_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(tmp_path, ["s3://nobody-made-this/eu"])
    publisher.publish(snapshot())
    publisher.finish_mirrors(20)
    assert (tmp_path / "index.html").exists()
    assert "The mirror s3://nobody-made-this/eu cannot be written" in caplog.text
    assert "NoSuchBucket" in caplog.text


class Garbled(BaseHTTPRequestHandler):
    """A bucket that lists nothing and takes all; while `is_garbled` what it lists has no name."""

    protocol_version = "HTTP/1.1"  # else each file waits a second for "100 Continue"
    is_garbled = True
    taken: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        self._answer(
            b"<ListBucketResult><Contents/></ListBucketResult>"
            if self.is_garbled
            else b"<ListBucketResult/>"
        )

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.taken.add(self.path)
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("bucket")
@pytest.mark.slow
def test_a_bucket_whose_answers_are_garbled_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Garbled) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        publisher = Publisher(tmp_path, [ADDRESS])
        publisher.publish(snapshot())
        publisher.finish_mirrors(20)
        assert f"The mirror {ADDRESS} cannot be written" in caplog.text
        monkeypatch.setattr(Garbled, "is_garbled", False)
        publisher.publish(snapshot(now=LATER), everything=False)
        publisher.finish_mirrors(20)
        server.shutdown()
    assert {f"/{BUCKET}/eu/page.css", f"/{BUCKET}/eu/index.html"} <= Garbled.taken


def test_a_mirror_of_another_kind_is_said_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {thread.name for thread in threading.enumerate()}
    Publisher(tmp_path, ["ftp://elsewhere/page"])
    assert "a mirror is a folder or s3://bucket/prefix" in caplog.text
    assert not {thread.name for thread in threading.enumerate()} - before - {"polish"}
