"""Bounces that arrive in a mailbox, on Debian's own IMAP server."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection

from demo import mailbox as mailboxes
from notifications import bounces, channels, mailbox, sending
from notifications.models import Delivery, DeliveryState
from subscribers.models import Suppression
from tests import world
from tests.notifications import imap
from tests.notifications.imap import Imap
from tests.notifications.test_bounces import SENDER, report
from tests.notifications.test_outbox import queue

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Imap]:
    with imap.running() as running:
        yield running


def handed_over() -> Delivery:
    world.person("email", "parent@family.example")
    queue(world.incident(world.component()))
    Delivery.objects.update(state=DeliveryState.ACCEPTED, accepted_at=world.NOW)
    return Delivery.objects.get()


def returned(delivery: Delivery, **words: str) -> bytes:
    to = bounces.return_path(SENDER, str(delivery.pk), settings.SECRET_KEY)
    return report(to=to, **words)


def look(server: Imap) -> int:
    with mailbox.opened(mailbox.address(server.url)) as box:
        return mailbox.look(box, NOW)


@pytest.mark.django_db
def test_a_bounce_suppresses_a_full_mailbox_does_not_and_what_is_not_ours_stays(
    server: Imap,
) -> None:
    delivery = handed_over()
    server.put(returned(delivery, action="delayed", status="4.4.1"))
    assert look(server) == 0
    server.put(report(to="status@status.test"))
    assert (look(server), server.left()) == (0, [True])
    server.put(returned(delivery, status="5.2.2"))
    assert look(server) == 1
    delivery.refresh_from_db()
    assert (delivery.state, Suppression.objects.exists()) == ("bounced", False)
    Delivery.objects.update(state=DeliveryState.ACCEPTED)
    for _ in range(2):
        server.put(returned(delivery))
    assert look(server) == 1
    delivery.refresh_from_db()
    assert (delivery.state, Suppression.objects.get().channel) == ("bounced", "email")
    assert "no such user" in delivery.why
    assert server.left() == [True]


def nested(depth: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: x\r\n\r\nx\r\n"


@pytest.mark.parametrize(
    ("depth", "said"),
    [
        pytest.param(250, [], id="read, and no bounce"),
        pytest.param(3_000, ["RecursionError"], id="cannot be read"),
    ],
)
@pytest.mark.django_db
def test_a_bad_mail_costs_itself_only(
    server: Imap, depth: int, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    delivery = handed_over()
    before = len(server.left())
    server.put(nested(depth))
    server.put(returned(delivery))
    assert look(server) == 1
    delivery.refresh_from_db()
    assert delivery.state == "bounced"
    assert server.left() == [True] * (before + 1)
    words = "a mail in the bounce mailbox cannot be read and stays there: "
    warned = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert warned == [f"{words}{name}" for name in said]


@pytest.mark.django_db
def test_a_bounce_with_a_letter_that_is_not_ascii_is_taken(server: Imap) -> None:
    delivery = handed_over()
    server.put(returned(delivery, diagnostic="smtp; 550 no such usér"))
    assert look(server) == 1
    delivery.refresh_from_db()
    assert (delivery.state, "no such us" in delivery.why) == ("bounced", True)


@pytest.mark.django_db
def test_a_database_that_fails_leaves_the_mail_unread(server: Imap) -> None:
    delivery = handed_over()
    server.put(returned(delivery))
    with connection.execute_wrapper(gone), pytest.raises(DatabaseError):
        look(server)
    assert server.left()[-1] is False
    assert look(server) == 1


def gone(*_: object) -> None:
    raise OperationalError("the connection is closed")


@pytest.mark.parametrize("greeting", [b"", b"* BYE too many connections\r\n"])
@pytest.mark.django_db(transaction=True)
def test_the_reader_outlives_a_server_that_sends_it_away(greeting: bytes) -> None:
    before = set(threading.enumerate())
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as rude:
        reader = mailbox.BounceReader(f"imap://u:p@127.0.0.1:{rude.getsockname()[1]}", stop)
        with rude.accept()[0] as caller:
            caller.sendall(greeting)
    [thread] = set(threading.enumerate()) - before
    deadline = time.monotonic() + mailbox.ANSWER_S
    while time.monotonic() < deadline and thread.is_alive() and not reader.why:
        time.sleep(0.01)
    assert (reader.why in ("abort", "error"), thread.is_alive()) == (True, True)
    stop.set()
    thread.join(mailbox.ANSWER_S)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_reader_hears_of_a_bounce_while_it_waits(server: Imap) -> None:
    delivery = handed_over()
    stop = threading.Event()
    before = {thread.ident for thread in threading.enumerate()}
    mailbox.BounceReader(server.url, stop)
    server.put(returned(delivery))
    deadline = time.monotonic() + 4 * mailbox.LOOK_S
    while time.monotonic() < deadline and not Suppression.objects.exists():
        time.sleep(0.05)
    stop.set()
    assert Suppression.objects.filter(channel="email").exists()
    server.put(report(to="status@status.test"))  # ends the wait
    for thread in threading.enumerate():
        if thread.ident not in before and thread.name == "bounces":
            thread.join(60)


@pytest.mark.slow
@pytest.mark.django_db
def test_a_mail_leaves_with_the_address_that_its_bounce_comes_back_to(
    monkeypatch: pytest.MonkeyPatch, server: Imap
) -> None:
    monkeypatch.setitem(settings.ENVIRON.raw, "BOUNCE_MAILBOX_URL", server.url)
    world.person("email", "parent@family.example")
    with mailboxes.running() as caught:
        opened = channels.configured(settings.ENVIRON.raw | {"EMAIL_URL": caught.smtp_url})
        sending._local.channels = opened
        sending._courses.clear()
        queue(world.incident(world.component()))
        sending.drain("email", seconds=10)
        [mail] = list[Any](caught.messages())  # JSON of a stranger
        opened["email"].close()
        del sending._local.channels
    delivery = Delivery.objects.get()
    back = bounces.return_path("status@status.test", str(delivery.pk), settings.SECRET_KEY)
    assert (delivery.state, mail["envelope_from"]) == ("accepted", back)


@pytest.mark.parametrize(
    "url",
    ["pop3://u:p@host", "imaps://host", "imaps://u:p@host:99999", "imaps://:p@host", "nonsense"],
)
def test_a_mailbox_that_cannot_be_understood_is_said_without_its_password(url: str) -> None:
    with pytest.raises(mailbox.BadMailbox, match="BOUNCE_MAILBOX_URL") as raised:
        mailbox.address(url)
    assert ":p@" not in str(raised.value)
