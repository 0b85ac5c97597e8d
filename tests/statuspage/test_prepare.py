"""What a start does to the database: a demo takes none that is somebody's, and its own again."""

from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from desk import siteconfig
from incidents import reads
from incidents.models import Component, Page
from probes.models import Location
from statuspage import prepare
from tests.world import NOW

pytestmark = pytest.mark.django_db
SITE = Path(__file__).resolve().parents[2] / "demo" / "site.yaml"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the demo's site.yaml as the demo fills it in."""
    text = SITE.read_text(encoding="utf-8").replace("SITE_URL", "http://status.test")
    made = tmp_path / "site.yaml"
    made.write_text(text.replace("FOLLOW_URL", "http://127.0.0.1:1"), encoding="utf-8")
    return made


def test_a_demo_leaves_somebodys_page_alone(site: Path) -> None:
    page = reads.the_page()
    with pytest.raises(prepare.Occupied, match="a page that no demo made"):
        prepare.prepare(NOW, demo=site)
    assert Page.objects.get().name == page.name
    assert not Component.objects.exists()
    assert not Location.objects.exists()
    assert not get_user_model().objects.exists()


def test_a_demo_leaves_alone_who_is_called_operator(site: Path) -> None:
    reads.the_page()
    somebody = get_user_model().objects.create_user(prepare.DEMO_USER)
    with pytest.raises(prepare.Occupied):
        prepare.prepare(NOW, demo=site)
    assert list(get_user_model().objects.all()) == [somebody]


def test_a_demo_takes_an_empty_database_and_its_own_again(site: Path) -> None:
    first = prepare.prepare(NOW, demo=site)
    again = prepare.prepare(NOW, demo=site)
    assert first["user"] == again["user"] == prepare.DEMO_USER
    assert first["password"] != again["password"]


def test_a_demo_that_failed_on_its_way_leaves_no_page_behind(site: Path) -> None:
    whole = site.read_text(encoding="utf-8")
    site.write_text("checks: 7\n", encoding="utf-8")
    with pytest.raises(siteconfig.BadSite):
        prepare.prepare(NOW, demo=site)
    site.write_text(whole, encoding="utf-8")
    assert prepare.prepare(NOW, demo=site)["user"] == prepare.DEMO_USER
