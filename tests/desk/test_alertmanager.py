"""A real Prometheus Alertmanager hands in: it fires, fires again, is restarted, and resolves."""

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from desk import keys
from desk.models import AlertRule, IntakeAlert
from incidents import amending, services
from incidents.lifecycle import ComponentStatus, Status
from incidents.models import Call, Component, Incident, Page, Update
from tests import world
from tests.clients.conftest import House, house  # noqa: F401  # a fixture

WAIT_S = 40.0


class Alertmanager:
    """Debian's own, with short intervals, that tells our /intake/alertmanager."""

    def __init__(self, folder: Path, url: str, key: str) -> None:
        program = shutil.which("prometheus-alertmanager")
        if program is None:
            pytest.fail(
                "no prometheus-alertmanager (Debian: apt-get install prometheus-alertmanager)"
            )
        self.folder = folder
        self.port = _free_port()
        (folder / "alertmanager.yml").write_text(f"""
route: {{receiver: page, group_by: [severity], group_wait: 1s, group_interval: 1s, repeat_interval: 1s}}
receivers:
  - name: page
    webhook_configs:
      - url: {url}/intake/alertmanager
        send_resolved: true
        http_config: {{authorization: {{credentials: "{key}"}}}}
""")
        self.command = [
            program, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=", "--log.level=error",
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _until(self._is_ready)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(WAIT_S)
            self.process = None

    def hand_in(self, *names: str, over: bool = False) -> None:
        """Tell it of alerts, as Prometheus does."""
        now = datetime.now(UTC)
        body = [
            {
                "labels": {"alertname": name, "severity": "critical"},
                "annotations": {"summary": f"{name} fails"},
                "startsAt": (now - timedelta(minutes=1)).isoformat(),
                "endsAt": (
                    now - timedelta(seconds=1) if over else now + timedelta(hours=1)
                ).isoformat(),
            }
            for name in names
        ]
        self._call("/api/v2/alerts", json.dumps(body).encode())

    def _call(self, path: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()

    def _is_ready(self) -> bool:
        try:
            self._call("/-/ready")
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


@pytest.fixture
def alertmanager(house: House, tmp_path: Path) -> Iterator[Alertmanager]:  # noqa: F811
    running = Alertmanager(tmp_path, house.url, house.key)
    running.start()
    yield running
    running.stop()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_fired_repeated_restarted_and_resolved_is_one_incident_once(
    alertmanager: Alertmanager,
) -> None:
    follow = world.component()
    AlertRule.objects.create(
        position=0, match={"severity": "critical"}, component=follow, publish="auto", veto_s=120
    )
    alertmanager.hand_in("FollowDown", "LoginDown")
    _until(lambda: IntakeAlert.objects.count() == 2)
    draft = Incident.objects.get()
    services.publish_draft(draft, actor="clock", now=timezone.now())
    # It repeats by itself each second; each repetition moves seen_at.
    first = IntakeAlert.objects.earliest("seen_at").seen_at
    _until(lambda: IntakeAlert.objects.earliest("seen_at").seen_at > first)
    alertmanager.stop()
    shutil.rmtree(alertmanager.folder / "data")
    alertmanager.start()
    again = IntakeAlert.objects.earliest("seen_at").seen_at
    alertmanager.hand_in("FollowDown", "LoginDown")
    _until(lambda: IntakeAlert.objects.earliest("seen_at").seen_at > again)
    alertmanager.hand_in("FollowDown", over=True)
    _until(lambda: IntakeAlert.objects.filter(ended_at__isnull=False).count() == 1)
    draft.refresh_from_db()
    assert draft.status == Status.INVESTIGATING
    alertmanager.hand_in("LoginDown", over=True)
    _until(lambda: IntakeAlert.objects.filter(ended_at__isnull=False).count() == 2)
    _until(lambda: Incident.objects.get().status == Status.RESOLVED)
    assert Incident.objects.count() == 1
    assert list(Update.objects.order_by("number").values_list("status", flat=True)) == [
        Status.INVESTIGATING,
        Status.RESOLVED,
    ]
    assert Call.objects.count() == 1


# --- the same door by hand --------------------------------------------------------------------------------------------


def send(path: str, body: Any) -> Any:  # Any: JSON; a test response
    key = keys.create(name="alerts", scopes=[keys.Scope.INTAKE], now=timezone.now())
    headers = {"Authorization": f"Bearer {key}"}
    return Client().post(path, json.dumps(body), "application/json", headers=headers)


def storm(number: int, **labels: str) -> dict[str, Any]:
    return {
        "alerts": [
            {"status": "firing", "fingerprint": f"f{index}", "labels": labels | {"instance": str(index)},
             "annotations": {"summary": f"Instance {index} is gone", "description": "x" * 300}}
            for index in range(number)
        ]
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.parametrize("known", [True, False], ids=["of one rule", "that no rule knows"])
def test_a_storm_of_ten_thousand_alerts_is_one_incident_and_one_call(known: bool) -> None:
    if known:
        AlertRule.objects.create(
            position=0, match={"severity": "critical"}, component=world.component(), publish="auto", veto_s=120
        )  # fmt: skip
    body = storm(10_000, severity="critical")
    assert send("/intake/alertmanager", body).json() == {"received": 10_000, "new": 10_000}
    assert send("/intake/alertmanager", body).json() == {"received": 10_000, "new": 0}
    assert (Incident.objects.count(), Update.objects.count(), Call.objects.count()) == (1, 1, 1)
    assert IntakeAlert.objects.count() == 10_000
    if not known:
        assert "and 9,990 more alerts" in Update.objects.get().body


@pytest.mark.django_db
def test_what_ends_and_comes_back_is_the_same_draft_again() -> None:
    AlertRule.objects.create(
        position=0, match={"severity": "critical"}, component=world.component(), publish="auto", veto_s=120
    )  # fmt: skip
    fires = storm(1, severity="critical")
    over = {"alerts": [fires["alerts"][0] | {"status": "resolved"}]}
    for body in (fires, over, fires):
        send("/intake/alertmanager", body)
    draft = Incident.objects.get()
    assert draft.vetoed_at is None
    assert draft.publish_at


@pytest.mark.django_db
def test_what_was_resolved_and_comes_back_is_reopened() -> None:
    AlertRule.objects.create(
        position=0, match={"severity": "critical"}, component=world.component(), publish="auto", veto_s=0
    )  # fmt: skip
    fires = storm(1, severity="critical")
    over = {"alerts": [fires["alerts"][0] | {"status": "resolved"}]}
    send("/intake/alertmanager", fires)
    services.publish_draft(Incident.objects.get(), actor="clock", now=timezone.now())
    for body in (over, fires):
        send("/intake/alertmanager", body)
    incident = Incident.objects.get()
    assert incident.status == Status.INVESTIGATING
    assert incident.updates.filter(published_at__isnull=False).count() == 3


@pytest.mark.django_db
def test_where_a_person_has_spoken_the_end_is_a_draft() -> None:
    AlertRule.objects.create(
        position=0, match={"severity": "critical"}, component=world.component(), publish="auto", veto_s=0
    )  # fmt: skip
    fires = storm(1, severity="critical")
    send("/intake/alertmanager", fires)
    incident = Incident.objects.get()
    services.publish_draft(incident, actor="ann", by_person=True, now=timezone.now())
    send("/intake/alertmanager", {"alerts": [fires["alerts"][0] | {"status": "resolved"}]})
    draft = incident.updates.get(published_at__isnull=True)
    assert (draft.status, draft.publish_at is not None) == (Status.RESOLVED, True)
    incident.refresh_from_db()
    assert incident.status == Status.INVESTIGATING


# --- who waits for whom -----------------------------------------------------------------------------------------------


def speak(incident: Incident) -> None:
    services.publish_update(
        incident, status=Status.IDENTIFIED, body="We know.", actor="ann", now=timezone.now()
    )


def edit(incident: Incident) -> None:
    services.edit(incident.updates.get(), body="Other words.", actor="ann", now=timezone.now())


def set_status(incident: Incident) -> None:
    row = incident.affected.get()
    state = ComponentStatus.OPERATIONAL
    services.set_status(row.component, status=state, actor="ann", now=timezone.now())


def amend(incident: Incident) -> None:
    amending.amend(incident, changes={"name": "Other"}, actor="ann", now=timezone.now())


def see_nothing(incident: Incident) -> None:
    component = incident.affected.get().component
    services.set_unknown(component, why="Blind.", since=timezone.now(), now=timezone.now())


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", [speak, edit, set_status, amend, see_nothing])
def test_who_waits_for_the_page_holds_nothing_that_its_holder_needs(
    verb: Callable[[Incident], None],
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("two writers at once are PostgreSQL's; SQLite lets one in at a time")
    incident = world.incident(world.component(), now=timezone.now())
    other = threading.Thread(target=_alone, args=(verb, incident))
    with transaction.atomic():
        Page.objects.select_for_update().get()
        other.start()
        _until(_somebody_waits)
        # The holder, intake or declare, goes on: nowait fails at once where the other one was first.
        for row in (Incident, Component, Update):
            assert list(row.objects.select_for_update(nowait=True))
    other.join(WAIT_S)


def _alone(verb: Callable[[Incident], None], incident: Incident) -> None:
    try:
        verb(incident)
    finally:
        connection.close()


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
