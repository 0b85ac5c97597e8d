"""Kind heartbeat: a job reports to us, and its silence is told once for each beat it missed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client

from incidents.models import Component, Page
from probes import clock, heartbeats, kinds, services
from probes.kinds import BadSpec
from probes.models import Check, CurrentVerdict, Location, Result, Rollup

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.probes.routes")]

ONE_AM = datetime(2019, 11, 30, 6, 0, 0, tzinfo=UTC)
SPEC = {"component": "backup", "grace_s": 30}


@dataclass
class Job:
    """A job that beats each minute when it is told to, and the machine's clock."""

    check: Check
    now: datetime = ONE_AM

    def beat(self) -> None:
        heartbeats.beat(self.check, now=self.now)

    def wait(self, seconds: int) -> None:
        """Let time pass, with the clock's pass every ten seconds."""
        for _ in range(seconds // 10):
            self.now += timedelta(seconds=10)
            clock.tick(self.now)

    def outcomes(self) -> list[str]:
        return list(Result.objects.order_by("at").values_list("outcome", flat=True))

    def word(self) -> str:
        return CurrentVerdict.objects.get(of_check=self.check).word


@pytest.fixture
def job() -> Job:
    page = Page.objects.create(name="Follow status")
    Component.objects.create(page=page, slug="backup", name="Backup")
    Location.objects.create(name="local", token_hash="x", created_at=ONE_AM)
    check = Check.objects.create(
        page=page,
        slug="backup",
        kind="heartbeat",
        spec=SPEC,
        interval_s=60,
        locations=["local"],
        rule=dict(kinds.rule_of("heartbeat")),
        changed_at=ONE_AM,
    )
    clock.tick(ONE_AM)
    return Job(check)


def test_a_job_that_beats_is_up(job: Job) -> None:
    for _ in range(3):
        job.beat()
        job.wait(60)

    assert (job.outcomes(), job.word()) == (["ok"] * 3, "up")


def test_a_missed_beat_is_an_outage_after_interval_and_grace(job: Job) -> None:
    job.beat()
    job.wait(80)
    assert job.outcomes() == ["ok"]

    job.wait(10)

    assert (job.outcomes(), job.word()) == (["ok", "target_fail"], "outage")
    reason = Result.objects.get(outcome="target_fail").steps[0]["reason"]
    assert reason == "no heartbeat since 06:00:00 UTC, expected every 60 s"


@pytest.mark.slow
def test_a_grace_beyond_three_intervals_is_waited_for_and_then_an_outage(job: Job) -> None:
    Check.objects.update(spec={"component": "backup", "grace_s": 300})
    job.check.refresh_from_db()
    job.beat()
    said = set()
    for _ in range(35):
        job.wait(10)
        said.add(job.word())
    assert said == {"up"}

    for _ in range(20):
        job.wait(10)
        said.add(job.word())

    # Once it is told it stays so, from beat to missed beat.
    assert said == {"up", "outage"}


def test_each_missed_beat_is_counted_once_however_often_the_clock_looks(job: Job) -> None:
    job.beat()
    job.wait(90)
    for _ in range(5):
        clock.tick(job.now)
        heartbeats.listen(job.now)
    assert job.outcomes() == ["ok", "target_fail"]

    job.wait(60)

    assert job.outcomes() == ["ok", "target_fail", "target_fail"]
    assert Rollup.objects.get(span="hour").failed == 2


def test_a_beat_ends_the_silence(job: Job) -> None:
    job.beat()
    job.wait(90)
    job.beat()
    job.wait(60)

    assert job.outcomes() == ["ok", "target_fail", "ok"]
    assert job.word() == "up"


def test_beats_of_a_client_that_retries_count_once(job: Job) -> None:
    for _ in range(5):
        job.beat()

    assert job.outcomes() == ["ok"]


@pytest.mark.slow
def test_a_job_that_never_reported_is_not_late(job: Job) -> None:
    job.wait(600)

    assert job.outcomes() == []
    assert job.word() == "unknown"


def test_a_silence_of_our_own_is_not_the_jobs(job: Job) -> None:
    job.beat()
    job.now += timedelta(hours=2)
    clock.tick(job.now)
    job.wait(80)
    assert job.outcomes() == ["ok"]

    job.wait(20)

    assert job.outcomes() == ["ok", "target_fail"]


def test_beats_speak_for_every_location_of_the_check(job: Job) -> None:
    Check.objects.update(locations=["local", "jobs"])
    job.check.refresh_from_db()
    job.beat()

    assert Result.objects.count() == 2
    assert Location.objects.get(name="jobs").last_seen_at is None


@pytest.mark.parametrize("method", ["get", "post", "head"])
def test_a_beat_comes_in_by_its_address(job: Job, method: str) -> None:
    address = f"/probes/heartbeat/{heartbeats.token_of(job.check)}"

    with time_machine.travel(ONE_AM, tick=False):
        answer = getattr(Client(), method)(address)

    assert answer.status_code == 200
    assert job.outcomes() == ["ok"]


def test_the_address_is_long_stays_the_same_and_differs_between_checks(job: Job) -> None:
    other = Check(page=job.check.page, slug="other", kind="heartbeat")
    token = heartbeats.token_of(job.check)

    assert token == heartbeats.token_of(Check.objects.get())
    assert token != heartbeats.token_of(other)
    # 27 characters of 6 bits: 160 bits.
    assert len(token) == 27


@pytest.mark.parametrize("token", ["nobody", "x" * 27, "x" * 5000, "%00"])
def test_an_unknown_address_is_not_found(job: Job, token: str) -> None:
    assert Client().post(f"/probes/heartbeat/{token}").status_code == 404
    assert job.outcomes() == []


def test_a_check_that_is_switched_off_hears_nothing(job: Job) -> None:
    Check.objects.update(enabled=False)

    token = heartbeats.token_of(job.check)

    assert Client().post(f"/probes/heartbeat/{token}").status_code == 404


def test_no_agent_is_sent_a_heartbeat_nor_may_hand_one_in(job: Job) -> None:
    local = Location.objects.get(name="local")
    forged = services.NewResult(
        "backup", 1, ONE_AM, kinds.Outcome.OK, kinds.Outcome.OK, 1, "", (), 1.0
    )

    assert '"checks": []' in services.orders(local)[1]
    assert services.record(local, [forged], now=ONE_AM) == 0


def test_the_address_can_be_printed(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("heartbeat_url", "backup")

    printed = capsys.readouterr().out.strip()
    assert printed.endswith(f"/probes/heartbeat/{heartbeats.token_of(job.check)}")


def test_a_grace_beyond_what_is_kept_is_refused() -> None:
    with pytest.raises(BadSpec):
        kinds.load("heartbeat").watches({"component": "backup", "grace_s": 100_000})
