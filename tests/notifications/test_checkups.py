"""Accounts that are asked before the night: good, revoked, out of credit, expiring, silent."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from demo import providers as stand_ins
from demo.credentials import Credentials
from demo.providers import Providers
from notifications import checkups
from notifications.channels import Checked
from notifications.models import Checkup

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
ACCOUNTS = ("facebook", "sms", "x")


@pytest.fixture(scope="module")
def running() -> Iterator[Providers]:
    with stand_ins.running(Credentials(), step_s=0.002) as found:
        yield found


@pytest.fixture
def providers(running: Providers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Providers]:
    for name in ("TWILIO", "X", "FACEBOOK"):
        monkeypatch.setitem(settings.ENVIRON.raw, f"{name}_API_URL", running.url)
    keys = running.credentials
    for name, value in {
        "TWILIO_ACCOUNT_SID": keys.twilio_sid,
        "TWILIO_AUTH_TOKEN": keys.twilio_token,
        "X_CONSUMER_KEY": keys.x_consumer_key,
        "X_CONSUMER_SECRET": keys.x_consumer_secret,
        "X_ACCESS_TOKEN": keys.x_access_token,
        "X_ACCESS_TOKEN_SECRET": keys.x_access_token_secret,
        "FACEBOOK_PAGE_ID": keys.facebook_page_id,
        "FACEBOOK_PAGE_TOKEN": keys.facebook_page_token,
    }.items():
        monkeypatch.setitem(settings.ENVIRON.raw, name, value)
    yield running
    running.put_faults({})


def test_good_accounts_are_asked_once_a_day_and_say_nothing(providers: Providers) -> None:
    assert checkups.due_channels(NOW) == list(ACCOUNTS)
    found = [checkups.examine(name) for name in ACCOUNTS]
    assert found == [Checked(True)] * 3
    assert checkups.due_channels(NOW) == []
    assert checkups.due_channels(NOW + timedelta(hours=25)) == list(ACCOUNTS)
    assert checkups.problems(NOW) == []


@pytest.mark.parametrize(
    ("channel", "variable", "word"),
    [
        ("x", "X_ACCESS_TOKEN_SECRET", "keys"),
        ("facebook", "FACEBOOK_PAGE_TOKEN", "token"),
        ("sms", "TWILIO_AUTH_TOKEN", "account"),
    ],
)
def test_a_revoked_key_is_red_before_the_night(
    channel: str, variable: str, word: str, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.ENVIRON.raw, variable, "revoked")
    checkups.examine(channel)
    [problem] = checkups.problems(NOW)
    assert "would fail tonight" in problem
    assert word in problem
    assert "revoked" not in problem
    assert channel in checkups.due_channels(NOW + timedelta(hours=2))


def test_an_account_of_x_without_credits_is_red(providers: Providers) -> None:
    providers.put_faults({"x": "402"})
    checkups.examine("x")
    assert "no credits" in checkups.problems(NOW)[0]


def test_a_provider_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ACCOUNTS:
        checkups.examine(name)  # the settings' addresses, where nobody answers
    assert len(checkups.problems(NOW)) == 3


def test_a_token_that_ends_within_the_week_is_said() -> None:
    Checkup.objects.create(
        channel="facebook", at=NOW, good=True, expires_at=NOW + timedelta(days=6)
    )
    assert "expires" in checkups.problems(NOW)[0]
    Checkup.objects.update(expires_at=NOW + timedelta(days=8))
    assert checkups.problems(NOW) == []
