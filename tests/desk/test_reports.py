"""Reports: figures from the records, and cells that no spreadsheet runs."""

import csv
import io
from datetime import UTC, date, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from desk import reports, tables
from incidents import services
from incidents.lifecycle import ComponentStatus, Status
from incidents.models import StatusChange
from tests import world
from tests.desk import staff


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\0=1", "  =cmd|' /C calc'!A0"]
)
def test_no_text_begins_a_formula(text: str) -> None:
    assert tables.cell(text).startswith("'")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""),
        (-1, "-1"),
        (1.5, "1.5"),
        ("plain", "plain"),
        (True, "True"),
        ("+12065550100", "+12065550100"),
    ],
)
def test_what_is_harmless_stays_as_it_is(value: object, said: str) -> None:
    assert tables.cell(value) == said


@pytest.mark.django_db
def test_a_month_is_told_as_page_csv_and_json(client: Client) -> None:
    staff.ann(client)
    incident = world.incident(
        world.component(), name="=HYPERLINK(1)", now=timezone.now(), detected_at=timezone.now(),
        started_at=timezone.now() - timedelta(seconds=30),
    )  # fmt: skip
    services.publish_update(
        incident, status=Status.RESOLVED, body="Over.", actor="ann", now=timezone.now()
    )
    month = f"{timezone.now():%Y-%m}"
    page = client.get("/desk/reports/", {"month": month}).content.decode()
    assert "in public 30 s" in page
    found = client.get("/desk/reports/report.json", {"month": month}).json()
    assert found["month"] == month
    assert round(found["incidents"][0]["published_s"]) == 30
    rows = list(
        csv.reader(
            io.StringIO(client.get("/desk/reports/report.csv", {"month": month}).content.decode())
        )
    )
    assert rows[0][:3] == ["kind", "uid", "name"]
    assert rows[1][2] == "'=HYPERLINK(1)"


@pytest.mark.django_db
@pytest.mark.parametrize("month", ["", "nonsense", "2026-13", "9999999-1"])
def test_what_is_no_month_is_this_one(client: Client, month: str) -> None:
    assert staff.ann(client).get("/desk/reports/", {"month": month}).status_code == 200


@pytest.mark.django_db
def test_uptime_of_a_month_counts_its_own_hours_only() -> None:
    follow = world.component()
    StatusChange.objects.all().delete()
    for day, hour, status in (
        (1, 0, "operational"),
        (10, 0, "major_outage"),
        (10, 12, "operational"),
    ):
        StatusChange.objects.create(
            component=follow,
            status=status,
            at=datetime(2026, 4, day, hour, tzinfo=UTC),
            actor="test",
        )
    start, end = reports.bounds(date(2026, 4, 1), world.page())
    assert reports.percent(follow, start, end) == round(100 * (1 - 12 / (30 * 24)), 4)
    may = reports.bounds(date(2026, 5, 1), world.page())
    assert reports.percent(follow, *may) == 100.0
    assert follow.status == ComponentStatus.OPERATIONAL
