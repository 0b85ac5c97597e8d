"""Batches on their way through real channels to the stand-ins."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError

from demo import mailbox as mailboxes
from demo import providers as stand_ins
from demo.credentials import Credentials
from demo.mailbox import Mailbox
from demo.providers import Providers
from incidents.lifecycle import Status
from incidents.models import Incident
from notifications import channels, outbox, pacing, reports, sending
from notifications.channels import AddressKind, Outcome, Recipient
from notifications.messages import Notice
from notifications.models import Delivery
from notifications.outbox import Claim, Due
from subscribers.models import Role, Suppression
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


def test_a_provider_of_everybody_that_asks_for_time_gets_it(providers: Providers) -> None:
    world.person("sms", "+12125550100")
    providers.put_faults({"twilio-sms": {"shape": "429", "retry_after_s": 600}})
    assert told("sms", world.incident(world.component())) == ["pending"]
    assert pacing.held_s("sms") > 500


class Obliging:
    """A channel that takes everything at once."""

    name, label, provider, group, per_s = "email", "E-mail", "test", 500, None
    address_kind = AddressKind.EMAIL

    def __init__(self) -> None:
        self.taken: list[str] = []

    def send(
        self, notice: Notice, recipients: Iterator[Recipient]
    ) -> Iterator[tuple[str, Outcome]]:
        for each in recipients:
            self.taken.append(each.delivery)
            yield each.delivery, channels.accepted("id")

    def check(self) -> str:
        return ""

    def close(self) -> None:
        pass


def test_what_is_known_is_written_though_the_next_look_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "ASK_AGAIN_S", -1.0)  # before each one
    monkeypatch.setattr(sending, "SETTLE_S", 60.0)
    looks: list[int] = []
    admit = outbox.admit

    def admitted(claim: Claim, ids: Sequence[int]) -> list[Due]:
        looks.append(len(ids))
        if len(looks) == 10:
            raise OperationalError("the database is gone")
        return admit(claim, ids)

    monkeypatch.setattr(outbox, "admit", admitted)
    obliging = Obliging()
    monkeypatch.setitem(sending._local.channels, "email", obliging)
    for number in range(20):
        world.person(address=f"p{number}@family.example")
    queue(world.incident(world.component()))
    with pytest.raises(OperationalError):
        sending.drain("email", seconds=10)
    written = Delivery.objects.filter(state="accepted").values_list("pk", flat=True)
    assert len(obliging.taken) == 9
    assert sorted(map(int, obliging.taken)) == sorted(written)


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
