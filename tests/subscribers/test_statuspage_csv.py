"""Subscribers come over in the columns of Statuspage's own export."""

from pathlib import Path

import pytest

from incidents.models import Component
from subscribers import services
from subscribers.models import Letter, State, Subscription
from tests.subscribers.test_import_subscribers import bring

HEADER = "id,mode,email,phone_number,phone_country,endpoint,quarantined_at,components,created_at,obfuscated_channel_name"
SINCE = "2024-03-01T10:00:00.000Z"


def test_each_kind_comes_in_confirmed_with_its_components(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    login = components["login"]
    said, refused = bring(
        tmp_path,
        f'q3k6cm9phfws,email,a@family.example,,,,,"[""{login.uid}""]",{SINCE},',
        f"a2k6cm9phfws,sms,,206-555-0100,US,,,,{SINCE},",
        f"b3k6cm9phfws,webhook,,,,https://example.org/hook,,{login.name},{SINCE},",
        header=HEADER,
    )
    assert refused == []
    assert said.startswith("3 added")
    rows = {row.channel: row for row in Subscription.objects.all()}
    assert {row.state for row in rows.values()} == {State.ACTIVE}
    assert [each.slug for each in rows["email"].components.all()] == ["login"]
    assert rows["sms"].every_component
    assert services.address_of(rows["sms"]) == "+12065550100"
    assert [each.slug for each in rows["webhook"].components.all()] == ["login"]
    assert not Letter.objects.exists()


def test_running_twice_changes_nothing(tmp_path: Path, components: dict[str, Component]) -> None:
    line = f"x,email,a@family.example,,,,,,{SINCE},"
    bring(tmp_path, line, header=HEADER)
    said, _ = bring(tmp_path, line, header=HEADER)
    assert said.startswith("0 added; 1 here already; 0 refused")


def test_the_columns_of_its_import_template_are_taken_too(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    bring(tmp_path, "email,a@family.example,2024-03-01", header="Type,Email,Created At")
    assert Subscription.objects.get().state == State.ACTIVE


def test_who_had_not_confirmed_over_there_waits_here(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    bring(tmp_path, f"email,a@family.example,unconfirmed,{SINCE}", header="mode,email,state,created_at")  # fmt: skip
    assert Subscription.objects.get().state == State.PENDING


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param(f"x,pager,a@b.example,,,,,,{SINCE},", 'mode is "pager"; expected one of email', id="mode"),
        pytest.param(f"x,sms,,206-555-0100,ZZ,,,,{SINCE},", 'no telephone number of phone_country "ZZ"', id="country"),
        pytest.param(f"x,email,a@b.example,,,,,lost,{SINCE},", 'components names "lost"; there is no such', id="component"),
        pytest.param(f"x,email,a@b.example,,,,{SINCE},,{SINCE},", "quarantined over there", id="quarantined"),
        pytest.param("x,email,a@b.example,,,,,,yesterday,", 'consent_at is "yesterday"', id="date"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_and_the_rest_comes_in(
    tmp_path: Path, components: dict[str, Component], line: str, words: str
) -> None:
    _, refused = bring(tmp_path, line, f"x,email,good@family.example,,,,,,{SINCE},", header=HEADER)
    assert len(refused) == 1
    assert "line 2: " in refused[0]
    assert words in refused[0]
    assert Subscription.objects.count() == 1
