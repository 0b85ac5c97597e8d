"""Every log line of one fault carries one id, from the results that showed it to the batch that told people."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from demo import mailbox as mailboxes
from incidents import services as core
from incidents import trace
from incidents.models import Incident, Update
from notifications import channels, outbox, sending
from notifications.models import Delivery
from statuspage.logs import JsonFormatter
from tests import world as cast
from tests.probes.test_services import NIGHT, build_world

pytestmark = pytest.mark.django_db
ROOMS = ("incidents", "probes", "notifications", "public")


class Lines(logging.Handler):
    """Keeps what the JSON log would say."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JsonFormatter())
        self.said: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(json.loads(self.format(record)))

    def about(self, words: str) -> dict[str, Any]:
        return next(line for line in self.said if words in line["text"])


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@contextmanager
def mail() -> Iterator[None]:
    with mailboxes.running() as mailbox:
        opened = channels.configured(settings.ENVIRON.raw | {"EMAIL_URL": mailbox.smtp_url})
        sending._local.channels = opened
        sending._courses.clear()
        yield
        for channel in opened.values():
            channel.close()
        del sending._local.channels


def test_one_id_from_the_results_to_the_settled_batch(
    lines: Lines, django_capture_on_commit_callbacks: Any
) -> None:  # Any: untyped fixture
    world = build_world()
    world.now = timezone.now() - timedelta(minutes=2)
    world.policy("follow", "outage", publish="auto", template="follow-down", veto_s=0, night=NIGHT)
    cast.person(address="parent@family.example")
    with django_capture_on_commit_callbacks(execute=True):
        world.runs(2, follow="fail")
    incident = Incident.objects.get()
    core.mark_shown([Update.objects.get().pk], now=timezone.now())
    outbox.open_entries(timezone.now())
    outbox.fan_out(timezone.now())
    outbox.fan_out(timezone.now())
    with mail():
        sending.drain("email", seconds=10)
    assert Delivery.objects.get().state == "accepted"

    seen = lines.about("follow is outage by journey")
    assert seen["text"].count("target_fail") == 2
    ids = {
        seen["trace"],
        lines.about(f"update 1 of {incident.uid} is published")["trace"],
        lines.about("is queued")["trace"],
        lines.about("email: 1 of broadcast")["trace"],
    }
    assert ids == {incident.source["trace"]}
    assert len(seen["trace"]) == trace.HEX_CHARS


def test_an_incident_that_a_person_declared_has_an_id_of_its_own(
    lines: Lines, django_capture_on_commit_callbacks: Any
) -> None:  # Any: untyped fixture
    with django_capture_on_commit_callbacks(execute=True):
        one = cast.incident(cast.component("follow"))
        other = cast.incident(cast.component("login"))
    first, second = (lines.about(f"of {each.uid} is published")["trace"] for each in (one, other))
    assert first != second
    assert "trace" not in JsonFormatter().format(
        logging.LogRecord("x", logging.INFO, "", 0, "of nothing", (), None)
    )
