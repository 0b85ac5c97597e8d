"""Batches on their way through real channels to the stand-ins, and what providers call back with."""

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from twilio.request_validator import RequestValidator

from demo import mailbox as mailboxes
from demo import providers as stand_ins
from demo.credentials import Credentials
from demo.mailbox import Mailbox
from demo.providers import Providers
from incidents.lifecycle import Status
from incidents.models import Incident
from notifications import channels, reports, sending
from notifications.models import Delivery
from subscribers.models import Letter, LetterKind, Role, State, Suppression
from tests import world
from tests.notifications.test_outbox import queue, say

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    """Twilio, X and Facebook, with the credentials that the settings hold."""
    with stand_ins.running(Credentials.from_environ(os.environ), step_s=0.002) as running:
        yield running


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with mailboxes.running() as running:
        yield running


@pytest.fixture(autouse=True)
def _channels_lead_to_the_stand_ins(providers: Providers, mailbox: Mailbox) -> Iterator[None]:
    """Open this thread's channels with the stand-ins' addresses, as the environment of a demo says them."""
    environ = settings.ENVIRON.raw | {
        "EMAIL_URL": mailbox.smtp_url,
        **{f"{name}_API_URL": providers.url for name in ("TWILIO", "X", "FACEBOOK")},
    }
    opened = channels.configured(environ)
    sending._local.channels = opened
    sending._courses.clear()  # what earlier tests' providers did is no fault of these
    yield
    for channel in opened.values():
        channel.close()
    del sending._local.channels
    providers.put_faults({})
    mailbox.put_faults({})


def told(channel: str, incident: Incident) -> list[str]:
    """Queue and send what waits on `channel`; return the states in the ledger."""
    queue(incident)
    sending.drain(channel, seconds=10)
    rows = Delivery.objects.filter(broadcast__incident=incident, channel=channel)
    return [delivery.state for delivery in rows.order_by("broadcast__number", "pk")]


def test_a_mail_arrives_with_its_own_unsubscribe_link(mailbox: Mailbox) -> None:
    people = [world.person(address=f"p{n}@family.example") for n in range(3)]
    before = len(mailbox.messages())
    assert told("email", world.incident(world.component())) == ["accepted"] * 3
    fresh: list[Any] = list(mailbox.messages()[before:])  # JSON of a stranger
    links = {mail["list_unsubscribe"] for mail in fresh}
    assert {mail["to"][0] for mail in fresh} == {f"p{n}@family.example" for n in range(3)}
    assert all(any(person.uid in link for link in links) for person in people)


def test_one_refused_address_does_not_hurt_its_neighbours(mailbox: Mailbox) -> None:
    for name in ("a", "dead", "c"):
        world.person(address=f"{name}@family.example")
    mailbox.put_faults({"shape": "550", "address": "dead@*"})
    assert told("email", world.incident()) == ["accepted", "refused", "accepted"]
    assert Suppression.objects.get().channel == "email"


def test_a_mail_server_that_is_busy_is_tried_again(mailbox: Mailbox) -> None:
    world.person()
    mailbox.put_faults({"shape": "451"})
    incident = world.incident(world.component())
    assert told("email", incident) == ["pending"]
    mailbox.put_faults({})
    Delivery.objects.update(due_at=world.NOW)
    assert told("email", incident) == ["accepted"]


def test_an_answer_that_never_came_is_unknown_and_never_accepted(mailbox: Mailbox) -> None:
    world.person()
    mailbox.put_faults({"shape": "drop-after-data"})
    told("email", world.incident(world.component()))
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.maybe_sent, delivery.accepted_at) == ("pending", True, None)


@pytest.mark.parametrize("nonsense", ["nonsense", "bad-json", "html"])
def test_a_provider_that_answers_nonsense_has_accepted_nothing(
    providers: Providers, nonsense: str
) -> None:
    world.person("sms", "+12125550100")
    providers.put_faults({"twilio-sms": nonsense})
    told("sms", world.incident(world.component()))
    assert Delivery.objects.get().state == "pending"


def test_x_gets_a_thread_and_facebook_one_post_with_comments(providers: Providers) -> None:
    world.person("x", "account", role=Role.SOCIAL)
    world.person("facebook", "page", role=Role.SOCIAL)
    incident = world.incident(world.component())
    assert told("x", incident) == ["accepted"]
    assert told("facebook", incident) == ["accepted"]
    say(incident, Status.IDENTIFIED)
    assert told("x", incident) == ["accepted", "accepted"]
    assert told("facebook", incident) == ["accepted", "accepted"]
    newest, first = providers.ledger()["x"][:2]
    assert newest["in_reply_to"] == first["id"]
    kinds = [bool(entry["in_reply_to"]) for entry in providers.ledger()["facebook"][:2]]
    assert kinds == [True, False]


def test_reach_counts_everybody_once() -> None:
    for name in ("a", "b", "c"):
        world.person(address=f"{name}@family.example")
    incident = world.incident()
    told("email", incident)
    reach = reports.of_incident(incident, since=world.NOW)["email"]
    assert (reach.eligible, reach.counts["accepted"], reach.counts["pending"]) == (3, 3, 0)
    assert reach.last_s is not None
    assert reach.last_s >= (reach.first_s or 0) > 0


# --- receipts ---------------------------------------------------------------------------------------------------------


def call_back(url: str, form: dict[str, str], *, token: str = "only-for-tests") -> int:
    path = urlsplit(url).path
    signature = RequestValidator(token).compute_signature(f"{settings.SITE_URL}{path}", form)
    return Client().post(path, form, headers={"X-Twilio-Signature": signature}).status_code


def a_sent_delivery(channel: str) -> tuple[Delivery, str]:
    person = world.person(channel, "+12125550100", wake_me=channel == "voice")
    incident = world.incident(world.component())
    told(channel, incident)
    delivery = Delivery.objects.get(subscription=person)
    broadcast = delivery.broadcast
    return delivery, sending.recipient(delivery, broadcast, social=False).receipt_url


def test_a_receipt_moves_a_delivery_forward_and_never_back() -> None:
    delivery, url = a_sent_delivery("sms")
    for status in ("delivered", "sent", "queued", "delivered"):
        assert call_back(url, {"MessageStatus": status}) == 204
    delivery.refresh_from_db()
    assert delivery.state == "delivered"


def test_a_forged_receipt_is_refused_and_changes_nothing() -> None:
    delivery, url = a_sent_delivery("sms")
    state = Delivery.objects.get().state
    assert call_back(url, {"MessageStatus": "undelivered"}, token="guessed") == 403
    delivery.refresh_from_db()
    assert delivery.state == state


def test_key_one_is_heard_and_key_nine_ends_the_calls() -> None:
    delivery, url = a_sent_delivery("voice")
    assert call_back(url, {"Digits": "1"}) == 200
    delivery.refresh_from_db()
    assert delivery.state == "acknowledged"
    assert delivery.answered_at is not None
    assert call_back(url, {"Digits": "9"}) == 200
    delivery.subscription.refresh_from_db()
    assert delivery.subscription.state == "gone"


def test_stop_is_heard_in_its_words_and_ends_every_message_to_that_number() -> None:
    person = world.person("sms", "+12125550100")
    assert call_back("/receipts/twilio", {"From": "+12125550100", "Body": " Stop. "}) == 200
    person.refresh_from_db()
    assert person.state == "gone"
    assert {row.channel for row in Suppression.objects.all()} == {"sms", "voice"}


def reply(words: str, *, number: str = "+12125550100") -> None:
    assert call_back("/receipts/twilio", {"From": number, "Body": words}) == 200


def test_start_allows_writing_again() -> None:
    world.person("sms", "+12125550100")
    reply("STOP")
    reply("start")
    assert not Suppression.objects.exists()


def test_ok_acknowledges_the_newest_alarm() -> None:
    delivery, _ = a_sent_delivery("sms")
    reply("OK")
    delivery.refresh_from_db()
    assert (delivery.state, delivery.answered_at is not None) == ("acknowledged", True)


def test_yes_confirms_a_subscription_by_text() -> None:
    person = world.person("sms", "+12125550100", state=State.PENDING)
    Letter.objects.create(subscription=person, kind=LetterKind.CONFIRM)
    reply("Yes")
    person.refresh_from_db()
    assert person.state == "active"


def test_what_we_do_not_understand_changes_nothing() -> None:
    person = world.person("sms", "+12125550100")
    reply("who is this?")
    person.refresh_from_db()
    assert (person.state, Suppression.objects.exists()) == ("active", False)


def test_advice_is_repeated_until_the_end(mailbox: Mailbox) -> None:
    world.person(address="advised@family.example")
    incident = world.incident(what_to_do="Check the wearer.")
    told("email", incident)
    for status in (Status.IDENTIFIED, Status.RESOLVED):
        say(incident, status)
        told("email", incident)
    mails = [
        mail for mail in mailbox.store.newest_first(10) if mail.to == ("advised@family.example",)
    ]
    bodies = [whole.raw for mail in mails if (whole := mailbox.store.whole(mail.number))]
    assert [b"Check the wearer." in body for body in bodies] == [False, True, True]
