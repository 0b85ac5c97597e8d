"""subscribers.csv: good rows come in, bad rows are named with their line, nobody is written to."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from incidents.models import Component
from subscribers import services
from subscribers.addresses import Kind
from subscribers.models import Consent, Letter, State, Subscriber, Subscription
from tests.subscribers.conftest import FOLLOWER, NOW, PHONE, Pending

HEADER = "channel,address,components,language,time_zone,wake_me,consent_source,consent_at"
GOOD = "email,a@example.org,,,,,form,2019-12-01T09:00:00Z"
WITH_CONSENT = "form,2019-12-01"


def bring(folder: Path, *lines: str, header: str = HEADER) -> tuple[str, list[str]]:
    """Import a file of these lines; return what was said of it and of each bad row."""
    return bring_bytes(folder, "\n".join((header, *lines)).encode())


def bring_bytes(folder: Path, content: bytes) -> tuple[str, list[str]]:
    file = folder / "subscribers.csv"
    file.write_bytes(content)
    out, err = StringIO(), StringIO()
    call_command("import_subscribers", str(file), stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue().splitlines()


def test_a_row_with_consent_is_active_at_once_and_nobody_is_written_to(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    said, refused = bring(
        tmp_path,
        f"voice,{PHONE},login|follow,es,America/New_York,yes,paper form,2019-12-01T09:00:00Z",
    )
    row = Subscription.objects.get()
    assert (row.state, row.language, row.wake_me) == (State.ACTIVE, "es", True)
    assert row.subscriber.time_zone == "America/New_York"
    assert {component.slug for component in row.components.all()} == {"login", "follow"}
    assert services.address_of(row) == PHONE
    assert "paper form" in Consent.objects.get().text
    assert not Letter.objects.exists()
    assert refused == []
    assert said.startswith("1 added; 0 here already; 0 refused")


def test_running_twice_changes_nothing(tmp_path: Path, components: dict[str, Component]) -> None:
    lines = [GOOD, f"sms,{PHONE},login,,,,{WITH_CONSENT}", "email,b@example.org,,,,,,"]
    bring(tmp_path, *lines)
    before = _everything()
    said, _ = bring(tmp_path, *lines)
    assert _everything() == before
    assert said.startswith("0 added; 3 here already; 0 refused")


def _everything() -> list[object]:
    models = (Subscriber, Subscription, Subscription.components.through, Consent, Letter)
    return [list(model.objects.order_by("pk").values()) for model in models]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param("email,nobody,,,,,,", "name@example.org", id="no mail address"),
        pytest.param("sms,0171 5550123,,,,,form,2019-12-01", "country code", id="no country code"),
        pytest.param(f"sms,{PHONE},,,,,,", "consent_source and consent_at", id="a phone without consent"),
        pytest.param(f"voice,{PHONE},,,,,form,", "consent_at is empty", id="half a consent"),
        pytest.param("email,a@example.org,,,,,,2019-12-01", "consent_source is empty", id="the other half"),
        pytest.param(f"sms,{PHONE},,,,,form,yesterday", "consent_at", id="a consent at no time"),
        pytest.param(f"sms,{PHONE},,,,,form,2999-01-01", "not come yet", id="a consent to come"),
        pytest.param("pigeon,coop 4,,,,,,", '"pigeon"', id="no such channel"),
        pytest.param("x,@me,,,,,,", "own account", id="the page's account"),
        pytest.param("email,a@example.org,sugar,,,,,", '"sugar"', id="no such component"),
        pytest.param("email,a@example.org,,klingon!,,,,", "language", id="no language"),
        pytest.param("email,a@example.org,,,Mars/Base,,,", "time zone", id="no time zone"),
        pytest.param("email,a@example.org,,,,maybe,,", "yes or no", id="neither yes nor no"),
        pytest.param("email,a@example.org", "2 fields", id="too few fields"),
        pytest.param("email,a@example.org,,,,,,,", "9 fields", id="too many fields"),
        pytest.param('email,"a@example.org\nBcc: b@example.org",,,,,,', "invisible", id="a header smuggled in"),
        pytest.param("email,b@example.org,,,,,fo\0rm,2019-12-01", "NUL", id="a NUL in the consent"),
        pytest.param("email,=cmd()@example.org,,,,,,", "before the @", id="a formula"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_its_line_and_the_rest_comes_in(
    tmp_path: Path, components: dict[str, Component], line: str, word: str
) -> None:
    said, refused = bring(tmp_path, GOOD, "", line, "email,c@example.org,,,,,,")
    assert len(refused) == 1
    assert refused[0].startswith("subscribers.csv: line 4: ")
    assert word in refused[0]
    assert Subscription.objects.count() == 2
    assert "1 refused" in said


def test_bad_rows_come_in_the_order_of_their_lines(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    _, refused = bring(tmp_path, "email,x,,,,,,", "short", "email,y,,,,,,")
    assert [line.split(":")[1] for line in refused] == [" line 2", " line 3", " line 4"]


def test_a_row_that_is_not_utf8_is_one_bad_row(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    content = (
        f"\ufeff{HEADER}\r\nemail,a@example.org,,,,,,\r\n".encode()
        + b"email,\xff@example.org,,,,,,\r\n"
    )
    _, refused = bring_bytes(tmp_path, content)
    assert len(refused) == 1
    assert "line 3: The row is not in UTF-8" in refused[0]
    assert Subscription.objects.count() == 1


def test_a_row_with_a_nul_and_a_monstrous_field_are_bad_rows(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    _, refused = bring(
        tmp_path, "email,a\0@example.org,,,,,,", f"email,{'a' * 200_000},,,,,,", GOOD
    )
    assert [line.split(":")[1] for line in refused] == [" line 2", " line 3"]
    assert Subscription.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "word"),
    [
        pytest.param(b"", "empty", id="an empty file"),
        pytest.param(b"address,phone\n", "line 1", id="another header"),
        pytest.param(b"channel,address,consent\n", "line 1", id="a misspelt column"),
        pytest.param(b"channel,address,address\n", "line 1", id="a column twice"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00", "line", id="a picture"),
    ],
)
def test_a_file_that_is_no_list_of_subscribers_is_refused_whole(
    tmp_path: Path, db: None, content: bytes, word: str
) -> None:
    with pytest.raises(CommandError, match=word) as refused:
        bring_bytes(tmp_path, content)
    assert refused.value.returncode == 1


def test_a_missing_file_is_one_sentence(tmp_path: Path, db: None) -> None:
    with pytest.raises(CommandError, match="No such file"):
        call_command("import_subscribers", str(tmp_path / "none.csv"))


def test_columns_may_stand_in_another_order(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    bring(tmp_path, "a@example.org,EMAIL", header="Address, Channel")
    assert Subscription.objects.get().channel == "email"


def test_mail_without_consent_waits_for_its_owner(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    said, _ = bring(tmp_path, "email,a@example.org,,,,,,")
    assert Subscription.objects.get().state == State.PENDING
    assert "1 without consent" in said
    bring(tmp_path, GOOD)
    assert Subscription.objects.get().state == State.ACTIVE


def test_the_same_address_twice_in_a_file_comes_in_once(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    bring(tmp_path, GOOD, GOOD.replace("a@example.org", "A@Example.ORG"))
    assert Subscription.objects.count() == 1


def test_texts_and_calls_of_one_number_are_one_persons(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    """Who answers OK to the text is not called as well: the ladder asks whose they are."""
    other = PHONE.replace("0123", "0124")
    bring(
        tmp_path,
        f"sms,{PHONE},,,,,{WITH_CONSENT}",
        f"voice,{PHONE},,,,yes,{WITH_CONSENT}",
        f"sms,{other},,,,,{WITH_CONSENT}",
    )
    bring(tmp_path, f"voice,{other},,,,yes,{WITH_CONSENT}")
    rows = Subscription.objects.values_list("address_hash", "subscriber")
    assert (len(rows), len(set(rows))) == (4, 2)
    assert Subscriber.objects.count() == 2


def test_calls_brought_in_later_are_as_discreet_as_the_texts(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    bring(tmp_path, f"sms,{PHONE},,,,,{WITH_CONSENT}")
    Subscription.objects.update(discreet=True, paused_until=NOW)
    bring(tmp_path, f"voice,{PHONE},,,,yes,{WITH_CONSENT}")
    habits = Subscription.objects.values_list("discreet", "paused_until")
    assert list(habits) == [(True, NOW)] * 2


def test_who_left_is_not_brought_back_by_an_old_list(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    bring(tmp_path, GOOD)
    services.leave(Subscription.objects.get(), now=NOW)
    said, _ = bring(tmp_path, GOOD)
    assert "1 left alone" in said
    assert not Subscription.objects.filter(state=State.ACTIVE).exists()


def test_a_consent_given_after_leaving_counts(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    bring(tmp_path, GOOD)
    left_at = NOW.replace(year=2018)
    services.leave(Subscription.objects.get(), now=left_at)
    bring(tmp_path, GOOD)
    assert Subscription.objects.filter(state=State.ACTIVE).count() == 1


def test_who_said_stop_is_left_alone(tmp_path: Path, components: dict[str, Component]) -> None:
    hashed = services.hash_of(Kind.PHONE, PHONE)
    services.suppress(channel="sms", address_hash=hashed, reason="STOP", by_owner=True, now=NOW)
    said, _ = bring(tmp_path, f"sms,{PHONE},,,,,{WITH_CONSENT}")
    assert "1 left alone" in said
    assert not Subscription.objects.exists()


def test_a_persons_own_choice_outweighs_the_file(tmp_path: Path, pending: Pending) -> None:
    subscription, letter = pending()
    services.confirm(token=services.confirm_url(letter.uid).rpartition("/")[2], now=NOW)
    bring(tmp_path, f"email,{FOLLOWER},login,es,,,{WITH_CONSENT}")
    subscription.refresh_from_db()
    assert (subscription.every_component, subscription.language) == (True, "en")


@pytest.mark.slow
def test_a_chunk_costs_the_same_few_queries_however_many_rows_it_has(
    tmp_path: Path, components: dict[str, Component]
) -> None:
    counts = []
    for block, size in ((2, 200), (3, services.BRING_IN_CHUNK)):
        lines = (f"sms,+1617{block}{n:06},login,,,,{WITH_CONSENT}" for n in range(size))
        with CaptureQueriesContext(connection) as queries:
            said, _ = bring(tmp_path, *lines)
        assert said.startswith(f"{size:,} added")
        counts.append(len([q for q in queries if "SAVEPOINT" not in q["sql"]]))
    # SQLite takes fewer values in one statement, so there the inserts come in parts.
    allowed = 0 if connection.vendor == "postgresql" else 60
    assert counts[1] - counts[0] <= allowed
