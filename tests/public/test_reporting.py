""" "I have this problem too": counted for operators, limited, and nowhere in public."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from incidents import reads
from incidents.models import Component
from public import clock, reporting
from public.models import ProblemReport

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(minute=30, second=0, microsecond=0)


@pytest.fixture
def follow() -> Component:
    return Component.objects.create(
        page=reads.the_page(), slug="follow", name="Readings", position=1, created_at=NOW, updated_at=NOW
    )  # fmt: skip


def test_a_report_is_counted_once_an_hour_for_each_network_and_component(follow: Component) -> None:
    reporting.report(slug="follow", network="192.0.2.0/24", now=NOW)
    with pytest.raises(reporting.AlreadyCounted):
        reporting.report(slug="follow", network="192.0.2.0/24", now=NOW)
    reporting.report(slug="follow", network="198.51.100.0/24", now=NOW)
    reporting.report(slug="", network="192.0.2.0/24", now=NOW)
    assert reporting.counted(NOW) == {"follow": 2, "": 1}
    reporting.report(slug="follow", network="192.0.2.0/24", now=NOW + timedelta(hours=1))
    assert reporting.counted(NOW + timedelta(hours=1)) == {"follow": 1}


def test_a_flood_from_many_networks_is_cut(
    follow: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "PER_MINUTE_MAX", 3)
    for number in range(3):
        reporting.report(slug="follow", network=f"net {number}", now=NOW)
    with pytest.raises(reporting.AlreadyCounted):
        reporting.report(slug="follow", network="net 4", now=NOW)
    reporting.report(slug="follow", network="net 4", now=NOW + timedelta(seconds=61))


def test_nobody_can_be_followed_from_hour_to_hour(follow: Component) -> None:
    for hours in (0, 1):
        reporting.report(slug="follow", network="192.0.2.0/24", now=NOW + timedelta(hours=hours))
    kept = list(ProblemReport.objects.values_list("network", flat=True))
    assert len(set(kept)) == 2
    assert not any("192.0.2" in each for each in kept)


def test_the_form_says_thanks_and_the_second_time_when_again(
    client: Client, follow: Component, folder: Path
) -> None:
    first = client.post("/report", {"component": "follow", "language": "en"})
    assert (first.status_code, first["Location"]) == (303, "/thanks")
    second = client.post("/report", {"component": "follow", "language": "es"})
    assert second.status_code == 429
    assert "una hora" in second.content.decode()
    assert second["Retry-After"] == "3600"


@pytest.mark.parametrize("slug", ["\x00", "fol\x00low", "nope"])
def test_a_component_that_there_is_not_counts_as_not_sure(client: Client, slug: str) -> None:
    assert client.post("/report", {"component": slug}).status_code == 303
    assert reporting.counted(timezone.now()) == {"": 1}


def test_what_is_reported_is_nowhere_in_public(follow: Component, folder: Path) -> None:
    clock.tick(NOW)
    before = {path: path.read_bytes() for path in folder.rglob("index.html")}
    for number in range(50):
        reporting.report(slug="follow", network=f"net {number}", now=NOW)
    clock.tick(NOW + timedelta(seconds=1))
    assert before
    assert {path: path.read_bytes() for path in folder.rglob("index.html")} == before


def test_reports_are_deleted_after_thirty_days(follow: Component) -> None:
    reporting.report(slug="follow", network="net", now=NOW - timedelta(days=31))
    reporting.report(slug="follow", network="net", now=NOW - timedelta(days=29))
    reporting.forget(NOW)
    assert ProblemReport.objects.count() == 1
