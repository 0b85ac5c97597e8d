"""Two choices on the form; behind the link of an hour everything that one person hears and has said."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from incidents.models import Call, Component
from subscribers import clock, contacts, doorstep, services
from subscribers.models import Ask, Contact, Letter, LetterKind, State, Subscription
from tests import world
from tests.subscribers.conftest import FOLLOWER, NOW, PHONE, Pending

Components = dict[str, Component]
pytestmark = pytest.mark.usefixtures("no_counts")


def confirm(letter: Letter) -> None:
    services.confirm(token=services.confirm_url(letter.uid).rpartition("/")[2], now=NOW)


def post(path: str, **form: Any) -> Any:
    answer = Client().post(path, form)
    doorstep.answer(NOW, seconds=10)
    return answer


@pytest.fixture
def mine(pending: Pending) -> tuple[str, Subscription]:
    """Return the way to the settings of somebody who hears by mail, and their row."""
    row, letter = pending()
    confirm(letter)
    return services.manage_url(letter.uid).removeprefix(settings.SITE_URL), row


# --- tell me, wake me ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("want", "address", "channels"),
    [
        ("tell", FOLLOWER, ["email"]),
        ("tell", PHONE, ["sms"]),
        ("wake", PHONE, ["sms", "voice"]),
        ("tell", "https://example.org/hook", ["webhook"]),
        ("tell", "https://hooks.slack.com/services/T/B/x", ["slack"]),
    ],
)
def test_the_address_says_by_which_way(
    components: Components, want: str, address: str, channels: list[str]
) -> None:
    assert post("/subscribe", want=want, address=address).status_code == 200
    rows = Subscription.objects.order_by("channel")
    assert [row.channel for row in rows] == channels
    assert all(row.wake_me is (want == "wake") for row in rows)


def test_a_mail_wakes_nobody_and_what_was_typed_is_kept(components: Components) -> None:
    page = post("/subscribe", want="wake", address=FOLLOWER)
    assert page.status_code == 422
    body = page.content.decode()
    assert "type a telephone number" in body
    assert f'value="{FOLLOWER}"' in body
    assert not Ask.objects.exists()


@pytest.mark.parametrize("address", ["https://[x", "https://x:99999/", "https://"])
def test_what_is_no_address_of_the_web_is_said_in_a_sentence(
    mine: tuple[str, Subscription], address: str
) -> None:
    said = "not an address of the web"
    page = post("/subscribe", want="tell", address=address)
    assert (page.status_code, said in page.content.decode()) == (422, True)
    page = post(mine[0], action="add", address=address)
    assert (page.status_code, said in page.content.decode()) == (422, True)


def test_who_fills_in_the_hidden_field_is_thanked_and_forgotten(components: Components) -> None:
    person = post("/subscribe", want="tell", address=FOLLOWER)
    machine = post("/subscribe", want="tell", address="bot@example.org", website="http://spam")
    assert machine.content == person.content
    assert Ask.objects.count() == 1


def test_only_listed_countries_may_ask(
    components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(settings.ENVIRON, "phone_countries", ("US",))
    try:
        refused = post("/subscribe", want="tell", address="+442071838750")
        taken = post("/subscribe", want="tell", address=PHONE)
    finally:
        object.__setattr__(settings.ENVIRON, "phone_countries", ())
    assert "this country" in refused.content.decode()
    assert taken.status_code == 200


def test_one_incident_only(components: Components) -> None:
    incident = world.incident(components["follow"])
    page = Client().get(f"/subscribe?incident={incident.uid}").content.decode()
    assert incident.name in page
    post("/subscribe", want="tell", address=FOLLOWER, incident=incident.uid)
    row = Subscription.objects.get()
    assert row.only_incidents
    assert list(row.incidents.all()) == [incident]


def test_the_contact_card_is_ours_and_cannot_be_broken_out_of(components: Components) -> None:
    page = world.page()
    page.name = "Follow; status,\nX-EVIL:1" + "é" * 60
    page.save()
    answer = Client().get("/contact.vcf")
    assert answer["Content-Type"].startswith("text/vcard")
    lines = answer.content.decode().split("\r\n")
    assert "TEL;TYPE=WORK,VOICE:+15005550006" in lines
    assert not any(line.startswith("X-EVIL") for line in lines)
    assert max(len(line.encode()) for line in lines) <= 75


# --- the settings ----------------------------------------------------------------------------------


def test_whoever_has_just_confirmed_goes_on_to_the_settings(pending: Pending) -> None:
    _, letter = pending()
    link = services.confirm_url(letter.uid).removeprefix(settings.SITE_URL)
    page = post(link).content.decode()
    onward = re.search(r'href="[^"]*(/manage/[^"]+)"', page)
    assert onward
    assert Client().get(onward.group(1)).status_code == 200
    # Asking alone opens nothing.
    assert "/manage/" not in Client().get(link).content.decode()


def test_habits_are_kept_for_all_ways(mine: tuple[str, Subscription]) -> None:
    path, row = mine
    page = post(
        path, action="habits", language="es", time_zone="America/New_York", quiet_from="22:00", quiet_until="07:00",
        fallback_min="5", wake_test_hour="20", discreet="on",
    )  # fmt: skip
    assert page.status_code == 200
    row = Subscription.objects.select_related("subscriber").get()
    person = row.subscriber
    assert (row.language, row.time_zone, row.discreet) == ("es", "America/New_York", True)
    assert (str(person.quiet_from), person.fallback_after_s, person.wake_test_hour) == ("22:00:00", 300, 20)  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ({"quiet_from": "22:00"}, "beginning and an end"),
        ({"quiet_from": "late", "quiet_until": "7"}, "time of day"),
        ({"fallback_min": "0"}, "number of minutes"),
        ({"fallback_min": "soon"}, "number of minutes"),
        ({"wake_test_hour": "24"}, "hour from 0 to 23"),
    ],
)
def test_a_wrong_habit_is_said_in_a_sentence(
    mine: tuple[str, Subscription], typed: dict[str, str], word: str
) -> None:
    page = post(mine[0], action="habits", **typed)
    assert page.status_code == 422
    assert word in page.content.decode()


def test_pause_and_go_on(mine: tuple[str, Subscription]) -> None:
    path, _ = mine
    assert "Paused until" in post(path, action="pause", days="7").content.decode()
    assert Subscription.objects.get().paused_until > NOW + timedelta(days=6)  # type: ignore[operator]
    assert "go on" in post(path, action="resume").content.decode()
    assert Subscription.objects.get().paused_until is None


def test_a_further_way_belongs_to_the_same_person_and_may_be_tried_first(
    mine: tuple[str, Subscription],
) -> None:
    path, row = mine
    assert "on its way" in post(path, action="add", address=PHONE, channel="").content.decode()
    letter = Letter.objects.get(subscription__channel="sms")
    assert letter.subscription.state == State.PENDING
    confirm(letter)
    text = Subscription.objects.get(channel="sms")
    assert (text.subscriber_id, text.state) == (row.subscriber_id, State.ACTIVE)
    post(path, action="up", subscription=text.uid)
    order = Subscription.objects.order_by("position").values_list("channel", flat=True)
    assert list(order) == ["sms", "email"]


def test_a_further_way_is_as_discreet_and_as_paused_as_the_others(
    mine: tuple[str, Subscription],
) -> None:
    path, row = mine
    post(path, action="habits", language="en", discreet="on")
    post(path, action="pause", days="7")
    row.refresh_from_db()
    post(path, action="add", address=PHONE, channel="")
    confirm(Letter.objects.get(subscription__channel="sms"))
    # Calls to a number that is theirs already.
    services.subscribe(channel="voice", address=PHONE, now=NOW)
    habits = Subscription.objects.values_list("discreet", "paused_until")
    assert list(habits) == [(True, row.paused_until)] * 3
    assert row.paused_until is not None


def test_a_further_contact_is_asked_first_and_hears_nothing_else(
    mine: tuple[str, Subscription],
) -> None:
    path, row = mine
    post(path, action="contact", name="Grandmother", address=PHONE)
    letter = Letter.objects.get(subscription__channel="voice")
    asked = letter.subscription
    assert (asked.state, asked.only_incidents, asked.wake_me) == (State.PENDING, True, True)
    assert asked.subscriber_id != row.subscriber_id
    assert contacts.ready(row.subscriber) == []
    assert services.confirm_code(phone=PHONE, code=services.letter_code(letter), now=NOW)
    contact = Contact.objects.get()
    assert (contact.person_id, contact.subscription_id) == (row.subscriber_id, asked.pk)
    assert [one.pk for one in contacts.ready(row.subscriber)] == [contact.pk]
    assert "Grandmother" in Client().get(path).content.decode()
    post(path, action="drop-contact", contact=str(contact.pk))
    asked.refresh_from_db()
    assert asked.state == State.GONE


def test_asked_twice_a_contact_still_hears_nothing_else(mine: tuple[str, Subscription]) -> None:
    path, row = mine
    for _ in range(2):
        post(path, action="contact", name="Grandmother", address=PHONE)
    asked = Subscription.objects.get(channel="voice")
    assert (asked.only_incidents, asked.every_component) == (True, False)


def test_a_contact_who_is_asked_changes_no_choice_of_its_owner(
    mine: tuple[str, Subscription], components: Components
) -> None:
    """Somebody subscribed a number to one part and has not confirmed yet."""
    services.subscribe(
        channel="voice", address=PHONE, components=[components["login"]], wake_me=False, now=NOW
    )
    post(mine[0], action="contact", name="Grandmother", address=PHONE)
    asked = Subscription.objects.get(channel="voice")
    assert (asked.only_incidents, asked.every_component, asked.wake_me) == (False, False, False)
    assert [component.slug for component in asked.components.all()] == ["login"]


def test_asked_twice_a_follower_of_one_incident_still_hears_nothing_else(
    components: Components,
) -> None:
    incident = world.incident(components["follow"])
    for _ in range(2):
        post("/subscribe", want="tell", address=FOLLOWER, incident=incident.uid)
    row = Subscription.objects.get()
    assert (row.only_incidents, row.every_component) == (True, False)
    confirm(Letter.objects.order_by("-id")[0])
    path = services.manage_url(Letter.objects.order_by("-id")[0].uid)
    post(path.removeprefix(settings.SITE_URL), action="save", subscription=row.uid)
    row.refresh_from_db()
    assert (row.only_incidents, row.every_component) == (True, False)


def test_a_test_now_or_at_a_time_of_day_three_a_day(mine: tuple[str, Subscription]) -> None:
    path, row = mine
    assert "on its way" in post(path, action="test", subscription=row.uid).content.decode()
    later = post(path, action="test", subscription=row.uid, at="07:30").content.decode()
    assert "The test comes at" in later
    due = Letter.objects.filter(kind=LetterKind.TEST).order_by("-id")[0].due_at
    assert due is not None
    assert (due.hour, due.minute) == (7, 30)
    assert "time of day" in post(path, action="test", subscription=row.uid, at="x").content.decode()
    post(path, action="test", subscription=row.uid)
    assert "three tests" in post(path, action="test", subscription=row.uid).content.decode()


def test_what_could_not_be_delivered_is_shown(mine: tuple[str, Subscription]) -> None:
    path, row = mine
    services.undelivered([row.pk], why="550 mailbox full", now=NOW)
    page = Client().get(path).content.decode()
    assert "Not delivered on" in page
    assert "550 mailbox full" in page


def test_the_data_is_handed_over_whole(mine: tuple[str, Subscription]) -> None:
    answer = Client().post(mine[0], {"action": "export"})
    told = json.loads(answer.content)
    assert told["subscriptions"][0]["address"] == FOLLOWER
    assert told["subscriptions"][0]["consents"][0]["text"] == "I ask for it."
    assert "attachment" in answer["Content-Disposition"]


def test_delete_me_asks_once_and_leaves_nothing_but_a_hash(mine: tuple[str, Subscription]) -> None:
    path, row = mine
    assert post(path, action="forget").status_code == 422
    page = post(path, action="forget", sure="on")
    assert "deleted" in page.content.decode()
    row.refresh_from_db()
    assert (row.state, bytes(row.address_sealed), row.consents.count()) == (State.GONE, b"", 0)
    assert row.address_hash


# --- the alarm --------------------------------------------------------------------------------------


def test_operators_are_called_when_hardly_anybody_confirms(components: Components) -> None:
    for number in range(clock.CONVERSION_LETTERS_MIN):
        services.subscribe(channel="sms", address=f"+1617555{number:04}", now=NOW)
    clock.tick(NOW + timedelta(minutes=5))
    assert not Call.objects.exists()
    clock.tick(NOW + timedelta(minutes=11))
    clock.tick(NOW + timedelta(minutes=13))
    assert "PHONE_ASKS_PER_HOUR=0" in Call.objects.get().text


def test_nobody_is_called_while_people_confirm(components: Components) -> None:
    for number in range(clock.CONVERSION_LETTERS_MIN):
        services.subscribe(channel="sms", address=f"+1617555{number:04}", now=NOW)
    Letter.objects.update(used_at=NOW)
    clock.tick(NOW + timedelta(minutes=11))
    assert not Call.objects.exists()
