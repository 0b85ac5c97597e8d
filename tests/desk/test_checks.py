"""What people see of a check on the desk, and what its rule would have done."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from desk import plot, replays
from desk.roles import Role
from incidents import services as core
from incidents.models import AuditEntry, Incident
from probes import replay as replaying
from probes import services, tally
from probes.kinds import Outcome
from probes.models import Check, Location, Policy, Result, VerdictChange
from probes.rollups import Bucket
from probes.services import NewResult
from tests import world
from tests.desk import staff

pytestmark = pytest.mark.django_db

STALE = "[0].time was 3,612 s old, allowed 660"
SPEC = {
    "steps": [
        {"name": "log in", "component": "login", "url": "http://follow.test/login"},
        {"name": "newest reading", "component": "follow", "url": "http://follow.test/latest"},
    ]
}
INTERVAL = timedelta(seconds=30)


@pytest.fixture
def ann(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ann", password="a long password"))
    return client


@pytest.fixture
def now() -> datetime:
    return timezone.now().replace(microsecond=0)


@pytest.fixture
def check(now: datetime) -> Check:
    for slug in ("login", "follow"):
        world.component(slug)
    for name in ("fra", "nyc"):
        services.create_location(name=name, now=now)
    return Check.objects.create(
        page=world.page(), slug="journey", kind="http", spec=SPEC, interval_s=30,
        locations=["fra", "nyc"], changed_at=now - timedelta(days=30),
        created_at=now - timedelta(days=30), rule={"recover_after_s": 300},
    )  # fmt: skip


def run(at: datetime, reason: str = "", *, total_ms: float = 120.0) -> NewResult:
    """A run that saw both steps; with a reason the second one failed of it."""
    outcome = Outcome.TARGET_FAIL if reason else Outcome.OK
    failed = ["max_age_s"] if reason == STALE else ["status"]
    steps: list[dict[str, Any]] = [
        {"name": "log in", "component": "login", "outcome": "ok", "reason": "", "failed": []},
        {
            "name": "newest reading", "component": "follow", "outcome": outcome.value, "reason": reason,
            "failed": failed if reason else [],
        },
    ]  # fmt: skip
    return NewResult(
        check="journey", sequence=int(at.timestamp() * 1000), at=at, outcome=outcome,
        first_outcome=outcome, attempts=2 if reason else 1, reason="", steps=tuple(steps),
        total_ms=total_ms,
    )  # fmt: skip


def record(name: str, results: Iterable[NewResult], *, now: datetime) -> None:
    services.record(Location.objects.get(name=name), list(results), now=now)


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def seen(html: str) -> str:
    """Return what a reader sees, without the tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


# --- who may ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/desk/checks/", "/desk/checks/journey", "/desk/checks/journey/replay"]
)
def test_a_stranger_sees_no_check(client: Client, check: Check, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


def test_who_may_only_look_has_no_button_and_cannot_try(client: Client, check: Check) -> None:
    staff.sign_in(client, staff.person("eve", Role.VIEWER))

    assert "Try now" not in text(client, "/desk/checks/journey")
    assert client.post("/desk/checks/journey/try").status_code == 403
    check.refresh_from_db()
    assert check.try_id == ""


def test_a_check_that_is_not_there_is_not_found(ann: Client) -> None:
    for path in ("/desk/checks/nothing", "/desk/checks/nothing/replay"):
        assert ann.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/desk/checks/", "/desk/checks/journey", "/desk/checks/journey/replay"]
)
def test_the_policy_is_strict_and_nothing_stands_inline(
    ann: Client, check: Check, path: str
) -> None:
    answer = ann.get(path)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    html = answer.content.decode()
    assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", html)


# --- all checks ---------------------------------------------------------------------------------------------------


def test_the_list_says_what_each_check_says_and_when_it_looked(
    ann: Client, check: Check, now: datetime
) -> None:
    Check.objects.create(page=check.page, slug="silent", kind="tcp", locations=["fra"])
    for name in ("fra", "nyc"):
        record(name, [run(now - INTERVAL, STALE), run(now, STALE)], now=now)

    told = seen(text(ann, "/desk/checks/"))

    # The page counts from its own moment, a second or a few later.
    assert re.search(r"journey http, every 30 s from fra, nyc · last result \d+ s ago", told)
    assert "Follow shows old data" in told
    assert "silent tcp, every 30 s from fra · no result yet" in told


def test_the_list_asks_the_same_for_ten_checks_as_for_one(ann: Client, check: Check) -> None:
    with CaptureQueriesContext(connection) as one:
        ann.get("/desk/checks/")
    for number in range(9):
        Check.objects.create(page=check.page, slug=f"more-{number}", kind="tcp")
    with CaptureQueriesContext(connection) as ten:
        ann.get("/desk/checks/")
    assert len(ten) == len(one)


# --- one check ----------------------------------------------------------------------------------------------------


def test_each_place_shows_its_last_answer_and_the_failed_expectation_in_words(
    ann: Client, check: Check, now: datetime
) -> None:
    record("fra", [run(now - 2 * INTERVAL), run(now - INTERVAL, STALE)], now=now)
    Result.objects.filter(location__name="fra").update(answer='[{"time": "<b>old</b>"}]')

    html = text(ann, "/desk/checks/journey")
    told = seen(html)

    assert STALE in told
    assert "failed after 120 ms, 2 attempts" in told
    assert "nyc Nothing stored from here" in told
    assert '[{"time": "<b>old</b>"}]' in html
    assert "<b>old</b>" not in ann.get("/desk/checks/journey").content.decode()


def test_an_answer_is_cut_after_2_kb(ann: Client, check: Check, now: datetime) -> None:
    record("fra", [run(now)], now=now)
    Result.objects.update(answer="a" * 5000)

    shown = re.search(r"<pre[^>]*>(a+)</pre>", text(ann, "/desk/checks/journey"))

    assert shown
    assert len(shown[1]) == 2048


def test_a_verdict_and_its_changes_stand_with_their_reasons(
    ann: Client, check: Check, now: datetime
) -> None:
    for number in (3, 2, 1):
        at = now - number * INTERVAL
        for name in ("fra", "nyc"):
            record(name, [run(at, STALE if number < 3 else "")], now=at)

    told = seen(text(ann, "/desk/checks/journey"))

    why = f"2 of 2 probes from fra and nyc failed: {STALE}."
    assert f"Follow shows old data since {now - INTERVAL:%-d %b %H:%M:%S} {why}" in told
    before = told.partition("What it said before")[2]
    assert before.index("Follow shows old data") < before.index("Follow working")
    assert why in before


def test_a_try_is_asked_for_and_audited(ann: Client, check: Check) -> None:
    answer = ann.post("/desk/checks/journey/try", follow=True)

    assert "Asked: agents look within 10 s." in unescape(answer.content.decode())
    check.refresh_from_db()
    assert check.try_id
    assert check.try_asked_at
    assert AuditEntry.objects.filter(action="try", subject="journey", actor="ann").exists()


def test_the_agents_hear_of_a_try_with_their_checks(check: Check, now: datetime) -> None:
    fra = Location.objects.get(name="fra")
    before, _ = services.orders(fra)

    services.ask_to_try(check, now=now)

    after, document = services.orders(fra)
    assert before != after
    assert f'"try": [{{"check": "journey", "id": "{check.try_id}"}}]' in document


def test_a_try_is_no_get(ann: Client, check: Check) -> None:
    assert ann.get("/desk/checks/journey/try").status_code == 405


# --- latency ------------------------------------------------------------------------------------------------------


def test_latency_is_drawn_for_each_place_with_words_and_a_table(
    ann: Client, check: Check, now: datetime
) -> None:
    record("fra", [run(now - timedelta(hours=2), total_ms=480)], now=now)

    html = text(ann, "/desk/checks/journey")

    figures = html.split("<figure>")[1:]
    assert len(figures) == 2
    fra, nyc = figures
    assert 'role="img"' in fra
    assert re.search(r'<title id="plot-1">Latency from fra</title>', fra)
    assert re.search(r'<path class="p95" d="M[\d.]+ [\d.]+H[\d.]+"/>', fra)
    assert "The median is 47" in fra or "The median is 48" in fra
    assert '<th scope="col">p99</th>' in fra
    assert 'class="p95" d=""' in nyc
    assert "No run was good: nothing to draw." in nyc


NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TEN = timedelta(minutes=10)


def drawn(*buckets: tuple[int, float | None], shades: Sequence[plot.Shade] = ()) -> plot.Plot:
    """Draw an hour in stretches of ten minutes, at UTC."""
    told = [Bucket(NOON + at * TEN, runs=1, p50_ms=p95, p95_ms=p95) for at, p95 in buckets]
    return plot.draw(
        "fra", told, since=NOON, until=NOON + 6 * TEN, step=TEN, top_ms=100.0, shades=shades,
        zone=ZoneInfo("UTC"),
    )  # fmt: skip


def test_a_line_is_lifted_where_nothing_was_measured() -> None:
    told = drawn((0, 50.0), (1, 100.0), (3, None), (4, 0.0))

    x = [56 + 284 * each / 6 for each in range(7)]
    assert told.p95 == (
        f"M{x[0]:.1f} 59.0H{x[1]:.1f}V8.0H{x[2]:.1f}M{x[4]:.1f} 110.0H{x[5]:.1f}"
    ).replace("M56H", "M56.0H")
    assert "Without a good run: 3 of 6 stretches of 10 min." in told.in_words


def test_trouble_is_shaded_and_says_what_it_was() -> None:
    shade = plot.Shade(NOON + TEN, NOON + 2 * TEN, "not working")

    rect = drawn((0, 50.0), shades=(shade,)).shades[0]

    assert [rect.x, rect.width] == pytest.approx([103.3, 47.3], abs=0.2)
    assert rect.title == "not working, 12:10 to 12:20"


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0.4, 1), (87, 100), (101, 200), (201, 500), (501, 1000), (1200, 2000), (10_000, 10_000)],
)
def test_the_scale_is_round_and_holds_the_slowest(highest: float, top: float) -> None:
    assert plot.top_ms([[Bucket(NOON, p95_ms=highest)], []]) == top


def test_an_outage_of_the_last_day_is_shaded(ann: Client, check: Check, now: datetime) -> None:
    follow = world.component("follow")
    for old, new, hours in (("up", "outage", 5), ("outage", "up", 4)):
        VerdictChange.objects.create(
            of_check=check, component=follow, old=old, new=new, at=now - timedelta(hours=hours)
        )

    html = text(ann, "/desk/checks/journey")

    begin, end = (f"{now - timedelta(hours=hours):%H:%M}" for hours in (5, 4))
    assert f"<title>not working, {begin} to {end}</title>" in html


# --- the replay ---------------------------------------------------------------------------------------------------


def two_days(now: datetime, *, bad: dict[float, str] | None = None) -> None:
    """Keep 48 h of results from both places, one in 5 minutes; `bad` says how many hours ago which failed."""
    Check.objects.update(interval_s=300)
    wrong = {round(hours * 12): reason for hours, reason in (bad or {}).items()}
    for name in ("fra", "nyc"):
        place = Location.objects.get(name=name)
        check = Check.objects.get(slug="journey")
        told = [
            run(now - number * timedelta(minutes=5), wrong.get(number, "")) for number in range(577)
        ]
        Result.objects.bulk_create(
            services._row(place, check, each, skew_s=0, now=now) for each in told
        )


def policy(check: Check, publish: str, **more: Any) -> None:
    Policy.objects.create(
        page=check.page, component=world.component("follow"), verdicts=["outage", "stale"],
        publish=publish, **more,
    )  # fmt: skip


OUT = {20.0: "HTTP 503, expected 200", 20 - 1 / 12: "HTTP 503, expected 200"}


def test_a_quiet_48_h_are_clean_and_a_policy_may_speak(
    ann: Client, check: Check, now: datetime
) -> None:
    two_days(now)
    policy(check, "notify")

    told = seen(text(ann, "/desk/checks/journey/replay"))

    assert "Clean: in 48.0 h nothing would have been said that no incident bears out." in told
    assert "may leave notify" in told


def test_an_alarm_that_no_incident_bears_out_keeps_the_policy_on_notify(
    ann: Client, check: Check, now: datetime
) -> None:
    two_days(now, bad=OUT)
    policy(check, "notify")

    told = seen(text(ann, "/desk/checks/journey/replay"))

    assert "Not clean: 1 of 1 alarm belongs to no incident." in told
    assert "Keep the policies of this check on notify" in told
    assert "As policies are 0 0 1" in told
    assert "All let loose 1 1 0" in told
    at = now - timedelta(hours=20) + timedelta(minutes=5)
    assert f"{at:%-d %b %H:%M:%S} drafted : follow, outage belongs to no incident" in told
    assert "2 of 2 probes from fra and nyc failed: HTTP 503, expected 200." in told


def test_an_incident_that_people_stood_by_bears_an_alarm_out(
    ann: Client, check: Check, now: datetime
) -> None:
    two_days(now, bad=OUT)
    policy(check, "auto", veto_s=0)
    incident = world.incident(world.component("follow"))
    began = now - timedelta(hours=20)
    Incident.objects.update(started_at=began, published_at=began)

    told = seen(text(ann, "/desk/checks/journey/replay"))
    assert "Clean: in 48.0 h" in told
    assert "As policies are 0 1 0" in told
    assert "Followers may not receive readings" not in told or incident.name in told

    core.retract(Incident.objects.get(), body="A false alarm.", actor="ann", speaker="ann", now=now)
    assert "Not clean: 1 of 1 alarm" in seen(text(ann, "/desk/checks/journey/replay"))


def test_an_incident_of_which_the_rule_would_have_said_nothing_is_missed(
    ann: Client, check: Check, now: datetime
) -> None:
    two_days(now)
    world.incident(world.component("follow"))
    Incident.objects.update(started_at=now - timedelta(hours=9))

    told = seen(text(ann, "/desk/checks/journey/replay"))

    assert "It would have missed 1 incident that people stood by." in told


def test_a_slow_burn_is_replayed_too(ann: Client, check: Check, now: datetime) -> None:
    """Two failures a place in an hour are no outage, and at one run in five minutes a sixth."""
    two_days(now, bad={20.0: "HTTP 503, expected 200", 19.75: "HTTP 503, expected 200"})
    Check.objects.update(rule={"burn_failures": 2})
    Policy.objects.create(
        page=check.page, component=world.component("follow"), verdicts=["slow_burn"],
        publish="notify",
    )  # fmt: skip

    told = seen(text(ann, "/desk/checks/journey/replay"))

    assert "slow_burn" in told
    assert "first attempts of the last 60 min failed, 2 of 4 in the last 10 min." in told


def test_a_few_hours_prove_nothing(ann: Client, check: Check, now: datetime) -> None:
    for name in ("fra", "nyc"):
        record(name, [run(now - number * INTERVAL) for number in range(600)], now=now)

    told = seen(text(ann, "/desk/checks/journey/replay"))

    assert "Too early to tell: 5.0 h of 48 h can be replayed." in told


def test_nothing_stored_is_said(ann: Client, check: Check) -> None:
    assert "No result is stored: there is nothing to replay." in seen(
        text(ann, "/desk/checks/journey/replay")
    )


def test_a_replay_changes_and_sends_nothing(ann: Client, check: Check, now: datetime) -> None:
    two_days(now, bad=OUT)
    policy(check, "auto", veto_s=0)

    ann.get("/desk/checks/journey/replay")

    assert not Incident.objects.exists()
    assert not VerdictChange.objects.exists()


def test_a_replay_is_bounded_and_says_so(
    ann: Client, check: Check, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_days(now, bad=OUT)
    monkeypatch.setattr(replays, "RESULTS_MAX", 100)
    monkeypatch.setattr(replaying, "JUDGED_MAX", 50)

    told = seen(text(ann, "/desk/checks/journey/replay"))

    assert "over 100 stored results" in told
    assert "Older results are left out: there are too many." in told


@pytest.mark.slow
def test_the_replay_agrees_with_what_the_machine_did(check: Check, now: datetime) -> None:
    policy(check, "auto", veto_s=60)
    begin = now - timedelta(hours=1)
    Check.objects.update(changed_at=begin)
    for number in range(120):
        at = begin + number * INTERVAL
        reason = "HTTP 503, expected 200" if 20 <= number < 40 or number == 60 else ""
        tally.count(at)
        for name in ("fra", "nyc"):
            record(name, [run(at, reason)], now=at)

    taken = replays.take(check, now=now)

    happened = VerdictChange.objects.order_by("at", "id").values_list(
        "component__slug", "new", "at"
    )
    replayed = [(each.component, each.word, each.at) for each in taken.as_set.changes]
    assert sorted(replayed) == sorted(happened)
