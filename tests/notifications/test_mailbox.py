"""Bounces that arrive in a mailbox, on Debian's own IMAP server."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings

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
