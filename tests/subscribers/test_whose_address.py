"""Whoever proves an address owns its row: no page of somebody else takes it, shows it, or tells whether it is known."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from subscribers import clock, contacts, doorstep, services
from subscribers.models import (
    CONTACTS_MAX,
    Contact,
    Letter,
    LetterKind,
    State,
    Subscriber,
    Subscription,
)
from tests.subscribers.conftest import NOW, PHONE, Pending

pytestmark = pytest.mark.usefixtures("no_counts")
VICTIM = "victim@example.org"


def confirm(letter: Letter) -> None:
    services.confirm(token=services.confirm_url(letter.uid).rpartition("/")[2], now=NOW)


def newest(kind: LetterKind = LetterKind.CONFIRM) -> Letter:
    return Letter.objects.filter(kind=kind).order_by("-id")[0]


def post(path: str, **form: Any) -> Any:
    answer = Client().post(path, form)
    doorstep.answer(NOW, seconds=10)
    return answer


def page(path: str) -> str:
    return Client().get(path).content.decode()


def exported(path: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(Client().post(path, {"action": "export"}).content)
    return told


def person_of(address: str) -> int:
    row = services.find(channel="email" if "@" in address else "sms", address=address)
    assert row is not None
    return row.subscriber_id


@pytest.fixture
def theirs(pending: Pending) -> tuple[str, Subscriber]:
    """Return the way to a stranger's settings, and the stranger."""
    row, letter = pending()
    confirm(letter)
    return services.manage_url(letter.uid).removeprefix(settings.SITE_URL), row.subscriber


Theirs = tuple[str, Subscriber]


def add(path: str, address: str = VICTIM, channel: str = "") -> Any:
    return post(path, action="add", address=address, channel=channel)


# --- a further way ------------------------------------------------------------------------------------


def test_who_is_added_and_confirms_belongs_to_the_page_that_asked(theirs: Theirs) -> None:
    path, person = theirs
    add(path)
    assert VICTIM not in json.dumps(exported(path))
    confirm(newest())
    assert person_of(VICTIM) == person.pk
    assert VICTIM in json.dumps(exported(path))
    assert Subscriber.objects.count() == 1


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param(["add", "subscribe"], id="added first"),
        pytest.param(["subscribe", "add"], id="added afterwards"),
        pytest.param(["add", "subscribe", "add"], id="added again"),
        pytest.param(["add", "manage"], id="their own link was asked for"),
        pytest.param(["add", "add", "add", "subscribe"], id="no letter left for the owner"),
    ],
)
@pytest.mark.parametrize("which", [0, -1])
def test_who_asks_themself_belongs_to_nobody_else(
    theirs: Theirs, asks: list[str], which: int
) -> None:
    """Whichever of the letters they press: those look alike."""
    path, person = theirs
    for ask in asks:
        match ask:
            case "add":
                add(path)
            case "subscribe":
                post("/subscribe", want="tell", address=VICTIM)
            case "manage":
                post("/manage", address=VICTIM)
    letters = Letter.objects.filter(subscription__channel="email").exclude(
        subscription__subscriber=person
    )
    confirm(list(letters.order_by("id"))[which])
    assert person_of(VICTIM) != person.pk
    row = services.find(channel="email", address=VICTIM)
    assert row is not None
    assert row.state == State.ACTIVE
    assert row.uid not in page(path)
    assert VICTIM not in json.dumps(exported(path))


def test_added_on_two_pages_it_belongs_to_neither(theirs: Theirs, pending: Pending) -> None:
    path, person = theirs
    other, letter = pending(address="other@example.org")
    confirm(letter)
    add(path)
    add(services.manage_url(letter.uid).removeprefix(settings.SITE_URL))
    confirm(newest())
    assert person_of(VICTIM) not in (person.pk, other.subscriber_id)


def test_an_address_that_was_added_can_be_neither_paused_nor_ended_there(theirs: Theirs) -> None:
    path, person = theirs
    add(path)
    row = services.find(channel="email", address=VICTIM)
    assert row is not None
    for action in ("unsubscribe", "save", "up", "test"):
        assert post(path, action=action, subscription=row.uid).status_code == 422
    post(path, action="pause", days="30")
    post(path, action="habits", language="es", discreet="on")
    post(path, action="forget", sure="on")
    row.refresh_from_db()
    assert (row.state, row.paused_until, row.discreet) == (State.PENDING, None, False)
    confirm(newest())
    assert person_of(VICTIM) != person.pk


def test_calls_of_a_number_whose_texts_are_somebodys_belong_to_them(
    theirs: Theirs, pending: Pending
) -> None:
    path, person = theirs
    owner, letter = pending("sms", PHONE)
    add(path, PHONE, "voice")
    confirm(letter)
    confirm(newest())
    rows = Subscription.objects.exclude(channel="email")
    assert {row.state for row in rows} == {State.ACTIVE}
    assert {row.subscriber_id for row in rows} == {owner.subscriber_id}
    assert owner.subscriber_id != person.pk


def test_texts_asked_for_by_the_owner_do_not_join_who_added_the_calls(theirs: Theirs) -> None:
    path, person = theirs
    add(path, PHONE, "voice")
    post("/subscribe", want="tell", address=PHONE)
    confirm(newest())
    assert person_of(PHONE) != person.pk


def test_after_two_days_who_never_confirmed_may_be_added(theirs: Theirs) -> None:
    path, person = theirs
    services.subscribe(channel="email", address=VICTIM, now=NOW - timedelta(days=2))
    add(path)
    confirm(newest())
    assert person_of(VICTIM) == person.pk


# --- a further contact --------------------------------------------------------------------------------


def name(path: str, address: str = PHONE) -> Any:
    return post(path, action="contact", name="Grandmother", address=address)


def test_a_contact_who_is_subscribed_already_is_asked_by_letter(
    theirs: Theirs, pending: Pending
) -> None:
    path, person = theirs
    row, letter = pending("voice", PHONE)
    confirm(letter)
    name(path)
    assert not Contact.objects.exists()
    assert "Grandmother" not in page(path)
    asked = newest()
    assert asked.pk != letter.pk
    link = services.confirm_url(asked.uid).removeprefix(settings.SITE_URL)
    assert "As a further contact of somebody" in page(link)
    assert "<button" in page(link)
    assert contacts.ready(person) == []
    assert services.confirm_code(phone=PHONE, code=services.letter_code(asked), now=NOW)
    assert [one.subscription_id for one in contacts.ready(person)] == [row.pk]
    assert "Grandmother" in page(path)
    row.refresh_from_db()
    assert (row.only_incidents, row.subscriber_id == person.pk) == (False, False)


def test_a_code_for_a_contact_opens_no_settings_of_who_was_here_before(
    theirs: Theirs, pending: Pending
) -> None:
    """A code has six digits: it must not open more than it was sent for."""
    _, letter = pending("voice", PHONE)
    confirm(letter)
    name(theirs[0])
    code = services.letter_code(newest())
    assert code != services.letter_code(letter)
    assert "/manage/" not in post("/confirm", phone=PHONE, code=code).content.decode()


def test_yes_to_a_text_makes_a_contact(theirs: Theirs, pending: Pending) -> None:
    path, person = theirs
    row, letter = pending("sms", PHONE)
    confirm(letter)
    contacts.name_contact(
        person, channel="sms", address=PHONE, name="G", language="en", consent_text="Yes.", now=NOW
    )
    assert services.confirm_by_reply(channel="sms", address_hash=row.address_hash, now=NOW)
    assert len(contacts.ready(person)) == 1


def test_who_is_named_by_a_person_who_was_forgotten_is_nobodys_contact(theirs: Theirs) -> None:
    path, _ = theirs
    name(path)
    post(path, action="forget", sure="on")
    confirm(newest())
    assert not Contact.objects.exists()


def test_a_full_list_takes_no_further_contact(theirs: Theirs) -> None:
    path, person = theirs
    numbers = [f"+1617555{number:04}" for number in range(CONTACTS_MAX + 1)]
    for number in numbers:
        name(path, number)
    for letter in Letter.objects.filter(subscription__channel="voice"):
        confirm(letter)
    assert person.contacts.count() == CONTACTS_MAX


# --- the same for known and unknown -------------------------------------------------------------------


@pytest.mark.parametrize("action", ["add", "contact"])
def test_a_page_tells_nothing_of_an_address_that_was_asked(
    theirs: Theirs, pending: Pending, action: str
) -> None:
    path, _ = theirs
    known, unknown = PHONE, "+16175550199"
    for channel in ("sms", "voice"):
        confirm(pending(channel, known)[1])

    def asked(address: str) -> list[object]:
        said = post(path, action=action, name="Grandmother", address=address, channel="")
        clock.tick(NOW)
        told = exported(path)
        return [said.status_code, said.content, page(path), told]

    before = page(path)
    first, second = asked(known), asked(unknown)
    assert first == second
    assert first[2] == before
