"""Every alert rule fires when it should and not before, and leads to a runbook; the dashboard asks for what is there."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from django.test import Client
from django.utils import timezone

from desk import ground, health
from incidents import services
from incidents.lifecycle import ComponentStatus
from incidents.models import Component, Incident, Pulse, Update
from notifications import outbox
from notifications.models import Broadcast, Delivery
from probes.models import Check, Location
from tests import world

DOCKER = Path(__file__).resolve().parents[2] / "docker"
OPERATE = (DOCKER.parent / "docs" / "operate.md").read_text(encoding="utf-8")
RULES: list[dict[str, Any]] = yaml.safe_load((DOCKER / "alerts.yml").read_text(encoding="utf-8"))[
    "groups"
][0]["rules"]
NAMES = [rule["alert"] for rule in RULES]
WAIT_S = 60.0

# alert -> the series that make it fire, and the same just short of it.
_FIRES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "StatuspageDown": ({'up{job="statuspage"}': "0x60"}, {'up{job="statuspage"}': "1x60"}),
    "StatuspageLineBroken": ({"statuspage_up": "0x60"}, {"statuspage_up": "1x60"}),
    "StatuspageGroundGivesWay": ({"statuspage_problem": "1x60"}, {"statuspage_problem": "0x60"}),
    "StatuspagePartSilent": (
        {
            'statuspage_age_seconds{part="sweep"}': "11x60",
            'statuspage_stale_after_seconds{part="sweep"}': "10x60",
        },
        {
            'statuspage_age_seconds{part="sweep"}': "9x60",
            'statuspage_stale_after_seconds{part="sweep"}': "10x60",
        },
    ),
    "StatuspageLocationSilent": (
        {'statuspage_location_age_seconds{location="a"}': "181x60"},
        {'statuspage_location_age_seconds{location="a"}': "180x60"},
    ),
    "StatuspageLocationClockOff": (
        {'statuspage_location_skew_seconds{location="a"}': "-6x60"},
        {'statuspage_location_skew_seconds{location="a"}': "-5x60"},
    ),
    "StatuspageResultsDropped": (
        {'statuspage_location_dropped_total{location="a"}': "0+1x60"},
        {'statuspage_location_dropped_total{location="a"}': "7x60"},
    ),
    "StatuspageBlind": (
        {'statuspage_components{status="unknown"}': "1x60"},
        {'statuspage_components{status="unknown"}': "0x60"},
    ),
    "StatuspageDraftWaits": (
        {"statuspage_draft_age_seconds": "901x60"},
        {"statuspage_draft_age_seconds": "900x60"},
    ),
    "StatuspagePromiseOverdue": (
        {"statuspage_promise_overdue_seconds": "301x60"},
        {"statuspage_promise_overdue_seconds": "300x60"},
    ),
    "StatuspageUpdateNotShown": (
        {"statuspage_unshown_age_seconds": "16x60"},
        {"statuspage_unshown_age_seconds": "15x60"},
    ),
    "StatuspageFanOutStuck": (
        {"statuspage_fan_out_age_seconds": "121x60"},
        {"statuspage_fan_out_age_seconds": "120x60"},
    ),
    "StatuspageMessagesWait": (
        {'statuspage_waiting_age_seconds{channel="sms"}': "301x60"},
        {'statuspage_waiting_age_seconds{channel="sms"}': "300x60"},
    ),
    "StatuspageMessagesFail": (
        {
            'statuspage_deliveries{channel="sms",state="failed"}': "6x60",
            'statuspage_deliveries{channel="sms",state="accepted"}': "94x60",
        },
        {
            'statuspage_deliveries{channel="sms",state="failed"}': "5x60",
            'statuspage_deliveries{channel="sms",state="accepted"}': "95x60",
        },
    ),
    "StatuspageDiskAlmostFull": (
        {'statuspage_disk_free_bytes{folder="DATA_DIR"}': "999999999x60"},
        {'statuspage_disk_free_bytes{folder="DATA_DIR"}': "1000000000x60"},
    ),
}


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not on this machine: apt-get install prometheus"
    return found


def _seconds(rule: dict[str, Any]) -> int:
    number, unit = re.fullmatch(r"(\d+)([sm])", rule.get("for", "0s")).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]


def _case(series: dict[str, str], at_s: int, alert: str, firing: int) -> dict[str, Any]:
    samples = [{"labels": "{}", "value": firing}] if firing else []
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": f"{at_s}s",
                "exp_samples": samples,
            }
        ],
    }


def test_every_rule_has_its_case() -> None:
    assert sorted(_FIRES) == sorted(NAMES)


def test_each_rule_fires_in_its_time_and_just_short_of_it_does_not(tmp_path: Path) -> None:
    cases = []
    for rule in RULES:
        broken, whole = _FIRES[rule["alert"]]
        # The rule is looked at every minute here: one more until it can be seen.
        after_s = _seconds(rule) + 120
        cases.append(_case(broken, after_s, rule["alert"], 1))
        cases.append(_case(whole, 840, rule["alert"], 0))
        if _seconds(rule) >= 60:
            cases.append(_case(broken, _seconds(rule) - 30, rule["alert"], 0))
    file = tmp_path / "cases.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(DOCKER / "alerts.yml")], "tests": cases}),
        encoding="utf-8",
    )
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_configuration() -> None:
    done = subprocess.run(
        [program("promtool"), "check", "config", str(DOCKER / "prometheus.yml")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_its_runbook(name: str) -> None:
    section = re.search(rf"^### {name}\n\n(.+?)(?=^##|\Z)", OPERATE, flags=re.MULTILINE | re.DOTALL)
    assert section, f"docs/operate.md has no runbook for {name}"
    assert len(section[1].split()) > 15
    rule = next(rule for rule in RULES if rule["alert"] == name)
    assert rule["annotations"]["runbook"] == f"docs/operate.md#{name.lower()}"


def _asked() -> set[str]:
    board = json.loads((DOCKER / "grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for rule in RULES]
    return {name for text in asked for name in re.findall(r"statuspage_[a-z_]+", text)}


@pytest.mark.django_db
def test_dashboard_and_rules_ask_for_what_is_there_and_all_of_it_is_explained() -> None:
    Location.objects.create(name="local", token_hash="x", last_seen_at=timezone.now())
    healthy()
    outage()
    text = Client().get("/metrics").content.decode()
    told = set(re.findall(r"^(statuspage_[a-z_]+)", text, flags=re.MULTILINE))
    told.discard("statuspage_location_dropped_created")
    assert sorted(_asked() - told) == []
    assert sorted(name for name in told if f"`{name}`" not in OPERATE) == []


@pytest.mark.django_db
def test_labels_are_bounded() -> None:
    for number in range(150):
        Location.objects.create(name=f"place-{number}", token_hash=f"{number}")
    text = Client().get("/metrics").content.decode()
    places = set(re.findall(r'location="([^"]+)"', text))
    assert len(places) == 100
    assert len(text.splitlines()) < 1000


# --- on a real Prometheus --------------------------------------------------------------------------------


def healthy() -> None:
    now = timezone.now()
    for name in (health.SWEEP, health.PUBLISHER):
        # They are not refreshed while Prometheus looks, so they are from just ahead, as far as is no skew.
        Pulse.objects.update_or_create(name=name, defaults={"at": now + timedelta(seconds=4)})


def outage() -> Incident:
    person = world.person("email", "parent@family.example")
    incident = world.incident(world.component())
    outbox.open_entries(timezone.now())
    Broadcast.objects.update(fanned_out_at=timezone.now())
    Delivery.objects.create(
        broadcast=Broadcast.objects.get(), subscription=person, channel="email",
        state="pending", due_at=timezone.now() + timedelta(hours=1),
    )  # fmt: skip
    return incident


def break_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every rule but StatuspageDown have its reason."""
    long_ago = timezone.now() - timedelta(hours=2)
    incident = Incident.objects.get()
    Pulse.objects.update(at=long_ago)
    Location.objects.update(last_seen_at=long_ago, skew_s=60)
    Incident.objects.update(next_update_by=long_ago)
    Update.objects.update(published_at=long_ago, shown_at=None)
    Broadcast.objects.update(fanned_out_at=None, created_at=timezone.now() - timedelta(hours=1))
    Delivery.objects.update(due_at=long_ago)
    for number in range(30):
        Delivery.objects.create(
            broadcast=Broadcast.objects.get(), channel="email", state="failed", due_at=long_ago,
            subscription=world.person("email", f"p{number}@family.example"),
        )  # fmt: skip
    Component.objects.update(unknown_since=long_ago)
    draft = world.incident(world.component("login"), published=False)
    Incident.objects.filter(pk=draft.pk).update(created_at=long_ago)
    monkeypatch.setattr(ground, "disks", lambda: [ground.Disk("DATA_DIR", 1_000_000)])
    assert incident.published_at


class Prometheus:
    """A real one, scraping each second; its rules are ours with every `for` at 0 s."""

    def __init__(self, folder: Path, target: str) -> None:
        self._targets = folder / "targets.json"
        self.scrape(target)
        rules = {"groups": [{"name": "ours", "rules": [rule | {"for": "0s"} for rule in RULES]}]}
        (folder / "rules.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        job = {
            "job_name": "statuspage",
            "file_sd_configs": [{"files": [str(self._targets)], "refresh_interval": "1s"}],
        }
        config = {
            "global": {
                "scrape_interval": "1s",
                "evaluation_interval": "1s",
                "scrape_timeout": "1s",
            },
            "rule_files": ["rules.yml"],
            "scrape_configs": [job],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.process = subprocess.Popen(
            [program("prometheus"), f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data", f"--web.listen-address={self.url[7:]}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def scrape(self, *targets: str) -> None:
        self._targets.write_text(json.dumps([{"targets": list(targets)}]), encoding="utf-8")

    def ask(self, path: str, **words: str) -> Any:  # Any: JSON
        answer = requests.get(f"{self.url}/api/v1/{path}", params=words, timeout=10)
        answer.raise_for_status()
        return answer.json()["data"]

    def firing(self) -> set[str]:
        alerts = self.ask("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def until(found: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            if found():
                return True
        except requests.RequestException:
            pass  # it is still starting
        time.sleep(0.2)
    return False


@pytest.fixture
def prometheus(live_server: Any, tmp_path: Path) -> Iterator[Prometheus]:  # Any: untyped fixture
    started = Prometheus(tmp_path, live_server.url.removeprefix("http://"))
    yield started
    started.stop()


@pytest.mark.slow
def test_on_a_real_prometheus_every_alert_fires_once_its_reason_is_there(
    transactional_db: None, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    healthy()
    check = Check.objects.create(page=world.page(), slug="c", kind="http", locations=["local"])
    Location.objects.create(name="local", token_hash="x", last_seen_at=timezone.now())
    outage()
    services.mark_shown([Update.objects.get().pk], now=timezone.now())
    assert until(lambda: bool(prometheus.ask("query", query="statuspage_up")["result"]))
    version = prometheus.ask("status/buildinfo")["version"]
    with capsys.disabled():
        print(f"\nPrometheus {version}, process {prometheus.process.pid}", file=sys.stderr)
    assert check.enabled
    quiet = set(NAMES) - {"StatuspageLineBroken", "StatuspagePartSilent"}  # time goes on meanwhile
    assert prometheus.firing() & quiet == set()
    break_all(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    live = prometheus.ask("targets")["activeTargets"][0]["labels"]["instance"]
    prometheus.scrape(live, nobody)
    assert until(
        lambda: bool(prometheus.ask("query", query="statuspage_location_age_seconds>180")["result"])
    )
    Location.objects.update(dropped=9)
    assert until(lambda: prometheus.firing() == set(NAMES)), set(NAMES) - prometheus.firing()
    assert Component.objects.filter(status=ComponentStatus.MAJOR_OUTAGE).exists()
