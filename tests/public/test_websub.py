"""A hub on loopback is told of feeds that have news, and of nothing else."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import feedparser
import pytest

from public.publish import Publisher
from tests.public.cast import NOW, PAGE, component, incident, snapshot, update
from tests.public.waiting import until

FOLLOW, LOGIN = component(), component("login")


class _Hub:
    def __init__(self, status: int = 202) -> None:
        self.told: list[dict[str, list[str]]] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                told.append(parse_qs(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def topics(self) -> set[str]:
        return {one["hub.url"][0] for one in self.told}


@pytest.fixture
def hub() -> Iterator[_Hub]:
    hub = _Hub()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def test_the_hub_hears_of_the_feeds_that_changed_and_only_of_those(
    hub: _Hub, tmp_path: Path
) -> None:
    publisher = Publisher(tmp_path, hub=hub.url)
    first = snapshot(incident(FOLLOW), components=(FOLLOW, LOGIN))
    publisher.publish(first)
    until(lambda: f"{PAGE.url}/history.atom" in hub.topics and len(hub.told) == 9)
    hub.told.clear()
    said = incident(FOLLOW, updates=(update(2), update()), updated_at=NOW)
    publisher.publish(replace(first, incidents=(said,)))
    expected = {
        f"{PAGE.url}/{path}"
        for path in ("history.rss", "history.atom", "feed.json")
        + ("components/follow.rss", "components/follow.atom", "components/follow.json")
    }
    until(lambda: hub.topics >= expected)
    assert not any("login" in topic for topic in hub.topics)
    assert {one["hub.mode"][0] for one in hub.told} == {"publish"}


def test_a_feed_names_its_hub_and_itself(hub: _Hub, tmp_path: Path) -> None:
    Publisher(tmp_path, hub=hub.url).publish(snapshot(incident(FOLLOW)))
    for name in ("history.rss", "history.atom"):
        links = feedparser.parse((tmp_path / name).read_bytes()).feed.links
        told = {one["rel"]: one["href"] for one in links}
        assert (told["hub"], told["self"]) == (hub.url, f"{PAGE.url}/{name}")


def test_a_hub_that_is_not_there_holds_nobody_up(tmp_path: Path) -> None:
    assert Publisher(tmp_path, hub="http://127.0.0.1:9/").publish(snapshot(incident(FOLLOW))) > 0
    assert (tmp_path / "index.html").exists()
