"""API keys: what they look like, what they may do, when they end."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from desk import keys
from desk.models import ApiKey


def test_no_key_looks_like_an_option() -> None:
    # One in 64 would: that none of these does is no luck.
    assert not [key for key in (keys.new_secret() for _ in range(2_000)) if key.startswith("-")]


def asked(key: str) -> Any:  # Any: a test response
    return Client().get("/v1/pages", headers={"Authorization": f"OAuth {key}"}).status_code


@pytest.mark.django_db
def test_a_key_of_some_days_ends_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_key", "--name", "guest", "--days", "7")
    key = capsys.readouterr().out.strip()
    assert asked(key) == 200
    with time_machine.travel(timezone.now() + timedelta(days=7, seconds=1)):
        assert asked(key) == 401


@pytest.mark.django_db
def test_a_revoked_key_opens_nothing() -> None:
    key = keys.create(name="robot", scopes=[], now=timezone.now())
    ApiKey.objects.update(revoked_at=timezone.now())
    assert asked(key) == 401


@pytest.mark.django_db
@pytest.mark.parametrize("days", ["0", "-3", "9999"])
def test_days_that_cannot_be_are_refused(days: str) -> None:
    with pytest.raises(CommandError, match="--days is .*; expected 1 to 3,660"):
        call_command("create_api_key", "--name", "guest", f"--days={days}")
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_an_old_key_that_begins_with_a_dash_still_works_far_away() -> None:
    with pytest.raises(CommandError, match="does not answer"):
        call_command("status", "--server", "http://127.0.0.1:1", "--key=-old")
