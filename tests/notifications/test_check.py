"""A channel that is configured wrongly says so before the night."""

import socket
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from demo import mailbox as mailboxes
from demo.mailbox import Mailbox
from notifications import channels
from notifications.channels import email


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with mailboxes.running() as running:
        yield running


def opened(url: str, **more: str) -> email.Email:
    found = channels.configured({"EMAIL_URL": url, **more})["email"]
    assert isinstance(found, email.Email)
    return found


def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"smtp://127.0.0.1:{free.getsockname()[1]}"


def test_a_server_that_lets_us_in_is_ok(mailbox: Mailbox) -> None:
    assert opened(mailbox.smtp_url).check() == ""
    assert mailbox.messages() == []


def test_the_second_way_is_tried_too_and_named(mailbox: Mailbox) -> None:
    said = opened(mailbox.smtp_url, EMAIL_FALLBACK_URL=nobody()).check()
    assert said.startswith("EMAIL_FALLBACK_URL: 127.0.0.1:")
    assert "does not answer" in said


def test_a_server_without_the_encryption_asked_for_is_said_so(mailbox: Mailbox) -> None:
    url = mailbox.smtp_url.replace("smtp://", "smtp+tls://")
    assert "no encryption" in opened(url).check()


def test_the_command_fails_and_names_the_channel(settings: Any) -> None:  # pytest-django's own type
    settings.OPEN_CHANNELS = {"email": opened(nobody())}
    out = StringIO()
    with pytest.raises(CommandError, match="email"):
        call_command("check_channels", stdout=out)
    assert "does not answer" in out.getvalue()
