"""A whole installation on a port: published files ahead of Django, as in production."""

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.utils import timezone

from desk import keys
from incidents import services
from incidents.lifecycle import ComponentStatus, Status
from incidents.models import Component, Group, Incident, Page
from public import snapshot
from public.publish import Publisher
from public.serve import PublishedFiles
from tests import world


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = False  # a test ends when its answers have
    request_queue_size = 128


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class House:
    """The installation as a stranger sees it: an address and a key; and its rows, to compare with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = keys.create(name="stranger", scopes=[], now=timezone.now())
        self.calls = 0
        self.server = make_server(
            "127.0.0.1",
            0,
            self._counting(PublishedFiles(_closing(get_wsgi_application()), folder)),
            _Server,
            _Quiet,
        )
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()

    def _counting(self, application: Callable[..., Any]) -> Callable[..., Any]:
        def answer(environ: dict[str, Any], start: Any) -> Any:
            self.calls += 1
            return application(environ, start)

        return answer

    def publish(self) -> None:
        """Write the public files of now."""
        Publisher(self.folder).publish(snapshot.take(timezone.now()))

    @property
    def words(self) -> dict[str, str]:
        """What a client is told."""
        return {"BASE": self.url, "KEY": self.key, "PAGE": world.page().uid}

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def _closing(application: Callable[..., Any]) -> Callable[..., Iterable[bytes]]:
    """Each request has a thread of its own here; its connection ends with it."""

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        try:
            answered = application(environ, start)
            body = list(answered)
            answered.close()
            return body
        finally:
            connections.close_all()

    return answer


@pytest.fixture
def house(transactional_db: None, tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "public")
    yield house
    house.stop()


class Cast:
    """A night: one incident open, one over, a maintenance ahead; two components in a group."""

    def __init__(self) -> None:
        now = timezone.now()
        page = world.page()
        Page.objects.filter(pk=page.pk).update(name="Follow status")
        group = Group.objects.create(page=page, name="Follow app")
        self.follow: Component = world.component()
        self.login: Component = world.component("login")
        Component.objects.filter(page=page).update(group=group)
        self.group = group
        self.over: Incident = world.incident(self.login, name="Log in was slow")
        services.publish_update(
            self.over, status=Status.RESOLVED, body="It is over.", actor="ann", now=now
        )
        self.open: Incident = world.incident(
            self.follow, hurt=ComponentStatus.PARTIAL_OUTAGE, name="Readings are late"
        )
        self.planned: Incident = services.schedule(
            page=page, name="Database move", body="One hour.", actor="ann", now=now,
            scheduled_for=now + timedelta(days=2), scheduled_until=now + timedelta(days=2, hours=1),
            components=[self.login],
        )  # fmt: skip


@pytest.fixture
def cast(house: House) -> Cast:
    return Cast()
