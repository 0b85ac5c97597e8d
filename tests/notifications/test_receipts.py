"""What Twilio calls back with, and people answer: every word, said twice, late, out of order, and by others."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test import Client
from twilio.request_validator import RequestValidator

from notifications import hearing, sending
from notifications.models import Delivery, DeliveryState, Reply, Turned, Wake
from notifications.receipts import twilio
from subscribers import services as people
from subscribers.models import Letter, LetterKind, State, Subscription, Suppression
from tests import world
from tests.notifications.test_outbox import queue

pytestmark = pytest.mark.django_db
NUMBER = "+12125550100"
_count = iter(range(1_000_000))


def call_back(
    url: str, form: dict[str, str], *, token: str = "only-for-tests", signature: str | None = None
) -> int:
    path = urlsplit(url).path
    signed = RequestValidator(token).compute_signature(f"{settings.SITE_URL}{path}", form)
    headers = {"X-Twilio-Signature": signed if signature is None else signature}
    return Client().post(path, form, headers=headers).status_code


def reply(words: str, *, number: str = NUMBER, sid: str = "") -> str:
    """Let a phone write to us; return the text that we answer."""
    form = {"From": number, "Body": words, "MessageSid": sid or f"SM{next(_count):032d}"}
    signed = RequestValidator("only-for-tests").compute_signature(
        f"{settings.SITE_URL}/receipts/twilio", form
    )
    answer = Client().post("/receipts/twilio", form, headers={"X-Twilio-Signature": signed})
    assert answer.status_code == 200
    return answer.content.decode()


def handed_over(channel: str, number: str = NUMBER, **fields: object) -> tuple[Delivery, str]:
    """Return a delivery that Twilio took, and the address that it calls back to."""
    world.person(channel, number, wake_me=channel == "voice")
    queue(world.incident(world.component()))
    delivery = Delivery.objects.select_related("broadcast", "subscription").get(channel=channel)
    words = {"state": DeliveryState.ACCEPTED, "accepted_at": world.NOW, "attempts": 1, **fields}
    Delivery.objects.filter(pk=delivery.pk).update(**words)
    delivery.refresh_from_db()
    return delivery, sending.recipient(delivery, delivery.broadcast, social=False).receipt_url


def state(delivery: Delivery) -> str:
    return Delivery.objects.get(pk=delivery.pk).state


# --- status -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "word", "becomes"),
    [
        *(("accepted", word, "accepted") for word in ("accepted", "queued", "sending", "sent")),
        ("accepted", "delivered", "delivered"),
        ("accepted", "read", "delivered"),
        ("accepted", "undelivered", "bounced"),
        ("accepted", "failed", "bounced"),
        ("accepted", "canceled", "bounced"),
        ("accepted", "never heard of", "accepted"),
        ("unknown", "queued", "accepted"),
        ("unknown", "delivered", "delivered"),
        ("unknown", "failed", "bounced"),
        ("calling", "delivered", "delivered"),
        ("bounced", "sent", "bounced"),
        ("bounced", "delivered", "delivered"),
        ("delivered", "undelivered", "delivered"),
        ("delivered", "sent", "delivered"),
        ("acknowledged", "delivered", "acknowledged"),
        ("acknowledged", "failed", "acknowledged"),
        ("suppressed", "delivered", "suppressed"),
        ("pending", "failed", "pending"),
    ],
)
def test_what_a_message_status_does(was: str, word: str, becomes: str) -> None:
    delivery, url = handed_over("sms", state=was)
    for _ in range(3):
        assert call_back(url, {"MessageStatus": word, "MessageSid": "SM1"}) == 204
    assert state(delivery) == becomes


def test_an_attempt_that_seemed_lost_is_not_made_again_once_twilio_says_that_it_has_it() -> None:
    delivery, url = handed_over("sms", state="pending", maybe_sent=True, provider_id="")
    assert call_back(url, {"MessageStatus": "sent", "MessageSid": "SM77"}) == 204
    delivery.refresh_from_db()
    assert (delivery.state, delivery.provider_id) == ("accepted", "SM77")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["sent", "delivered", "queued"], id="out of order"),
        pytest.param(["delivered"] * 3, id="three times"),
        pytest.param(["undelivered", "delivered"], id="of two copies one came"),
        pytest.param(["delivered", "undelivered"], id="and the other way round"),
    ],
)
def test_the_order_of_words_does_not_matter(words: list[str]) -> None:
    delivery, url = handed_over("sms")
    for word in words:
        assert call_back(url, {"MessageStatus": word, "MessageSid": "SM1"}) == 204
    assert state(delivery) == "delivered"


def test_a_receipt_an_hour_late_counts() -> None:
    delivery, url = handed_over("sms", accepted_at=world.NOW - timedelta(hours=1))
    assert call_back(url, {"MessageStatus": "delivered", "MessageSid": "SM1"}) == 204
    assert state(delivery) == "delivered"


@pytest.mark.parametrize(
    ("code", "dead"),
    [("30005", True), ("30006", True), ("30003", False), ("30008", False), ("", False)],
)
def test_a_number_that_does_not_exist_is_suppressed_and_one_that_is_off_is_not(
    code: str, dead: bool
) -> None:
    delivery, url = handed_over("sms")
    form = {"MessageStatus": "undelivered", "MessageSid": "SM1"}
    call_back(url, form | ({"ErrorCode": code} if code else {}))
    assert state(delivery) == "bounced"
    assert Suppression.objects.filter(channel="sms").exists() == dead


def test_a_dead_number_played_back_later_suppresses_nobody_who_came_back() -> None:
    _, url = handed_over("sms")
    form = {"MessageStatus": "failed", "ErrorCode": "30005", "MessageSid": "SM1"}
    call_back(url, form)
    Suppression.objects.all().delete()
    assert call_back(url, form) == 204
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("initiated", "accepted"),
        ("ringing", "accepted"),
        ("in-progress", "accepted"),
        ("completed", "delivered"),
        ("busy", "bounced"),
        ("no-answer", "bounced"),
        ("failed", "bounced"),
        ("canceled", "bounced"),
    ],
)
def test_what_a_call_status_does(word: str, becomes: str) -> None:
    delivery, url = handed_over("voice")
    assert call_back(url, {"CallStatus": word, "CallSid": "CA1"}) == 204
    delivery.refresh_from_db()
    assert (delivery.state, delivery.answered_at is not None) == (becomes, word == "in-progress")


def test_a_word_about_the_first_call_does_not_end_the_second() -> None:
    delivery, url = handed_over("voice")
    Delivery.objects.filter(pk=delivery.pk).update(attempts=2)
    assert call_back(url, {"CallStatus": "no-answer", "CallSid": "CA1"}) == 204
    assert state(delivery) == "accepted"


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "signature"),
    [
        ("guessed", None),
        ("only-for-tests", ""),
        ("only-for-tests", "bm8="),
        ("only-for-tests", "é"),
    ],
)
def test_a_forgery_is_refused_counted_and_changes_nothing(
    token: str, signature: str | None
) -> None:
    delivery, url = handed_over("sms")
    form = {"MessageStatus": "undelivered", "MessageSid": "SM1"}
    for _ in range(2):
        assert call_back(url, form, token=token, signature=signature) == 403
    assert state(delivery) == "accepted"
    assert Turned.objects.get(door="twilio", why="forged").times == 2


def test_a_signature_over_another_form_or_address_is_a_forgery() -> None:
    delivery, url = handed_over("sms")
    path = urlsplit(url).path
    form = {"MessageStatus": "sent", "MessageSid": "SM1"}
    signed = RequestValidator("only-for-tests").compute_signature(
        f"{settings.SITE_URL}{path}", form
    )
    headers = {"X-Twilio-Signature": signed}
    altered = Client().post(path, form | {"MessageStatus": "delivered"}, headers=headers)
    elsewhere = Client().post("/receipts/twilio", form, headers=headers)
    assert (altered.status_code, elsewhere.status_code) == (403, 403)
    assert state(delivery) == "accepted"


def test_an_oversized_callback_is_refused_before_it_is_read() -> None:
    delivery, url = handed_over("sms")
    form = {"MessageStatus": "delivered", "MessageSid": "SM1", "Body": "x" * twilio.BYTES_MAX}
    assert call_back(url, form) == 413
    assert state(delivery) == "accepted"
    assert Turned.objects.get(why="oversized").times == 1


def test_only_post_is_taken_and_an_unknown_delivery_is_said() -> None:
    _, url = handed_over("sms")
    assert Client().get(urlsplit(url).path).status_code == 405
    form = {"MessageStatus": "delivered", "MessageSid": "SM1"}
    assert call_back("/receipts/twilio/17-AAAAAAAAAAAAAAAAAAAAAA", form) == 404


def test_a_reply_played_back_later_is_refused_counted_and_changes_nothing() -> None:
    world.person("sms", NUMBER)
    reply("START", sid="SM-start")
    Reply.objects.update(at=datetime.now(UTC) - timedelta(hours=1))
    reply("STOP")
    assert (
        call_back("/receipts/twilio", {"From": NUMBER, "Body": "START", "MessageSid": "SM-start"})
        == 403
    )
    assert Suppression.objects.filter(channel="sms").exists()
    assert Turned.objects.get(why="replayed").times == 1


def test_a_reply_that_twilio_sends_again_at_once_is_taken_once() -> None:
    assert "Message" in reply("what?", sid="SM1")
    assert "Message" not in reply("what?", sid="SM1")
    assert Reply.objects.count() == 1


@pytest.mark.parametrize("words", ["STOP", "OK"])
def test_a_reply_that_the_database_could_not_act_on_is_taken_when_twilio_sends_it_again(
    words: str,
) -> None:
    delivery, _ = handed_over("sms")
    with connection.execute_wrapper(refuse_updates), pytest.raises(OperationalError):
        reply(words, sid="SM1")
    assert not Reply.objects.exists()
    reply(words, sid="SM1")
    delivery.subscription.refresh_from_db()
    gone, heard = delivery.subscription.state == "gone", state(delivery) == "acknowledged"
    assert (gone, heard) == (words == "STOP", words == "OK")


def refuse_updates(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:  # Any: Django's own
    if sql.startswith("UPDATE"):
        raise OperationalError("the connection is closed")
    return execute(sql, *rest)


def test_a_key_pressed_an_hour_ago_is_refused() -> None:
    delivery, url = handed_over("voice", accepted_at=datetime.now(UTC) - timedelta(hours=1))
    assert call_back(url, {"Digits": "9", "CallSid": "CA1"}) == 403
    assert not Suppression.objects.exists()
    assert state(delivery) == "accepted"


# --- keys and replies -------------------------------------------------------------------------------------------------


def test_key_one_is_heard_and_key_nine_ends_the_calls() -> None:
    delivery, url = handed_over("voice", accepted_at=datetime.now(UTC))
    assert call_back(url, {"Digits": "1", "CallSid": "CA1"}) == 200
    delivery.refresh_from_db()
    assert (delivery.state, delivery.answered_at is not None) == ("acknowledged", True)
    assert call_back(url, {"Digits": "9", "CallSid": "CA1"}) == 200
    delivery.subscription.refresh_from_db()
    assert delivery.subscription.state == "gone"
    assert {row.channel for row in Suppression.objects.all()} == {"voice"}


def test_any_other_key_means_nothing() -> None:
    delivery, url = handed_over("voice", accepted_at=datetime.now(UTC))
    assert call_back(url, {"Digits": "5", "CallSid": "CA1"}) == 200
    assert state(delivery) == "accepted"


@pytest.mark.parametrize("words", ["Stop.", "REVOKE", "optout", "please stop"])
def test_stop_ends_every_message_to_that_number_whoever_sends_it(words: str) -> None:
    person = world.person("sms", NUMBER)
    called = world.person("voice", NUMBER)
    reply(words)
    for row in (person, called):
        row.refresh_from_db()
        assert row.state == "gone"
    assert {row.channel for row in Suppression.objects.all()} == {"sms", "voice"}


@pytest.mark.parametrize("words", [["start"], ["stop!", "UNSTOP"], ["YES"]])
def test_start_brings_back_what_stop_ended(words: list[str]) -> None:
    world.person("sms", NUMBER)
    world.person("voice", NUMBER, wake_me=True)
    reply("STOP")
    for word in words:
        reply(word)
    assert not Suppression.objects.exists()
    queue(world.incident(world.component()))
    assert {row.channel for row in Delivery.objects.all()} == {"sms", "voice"}


def test_start_brings_nobody_back_who_left_by_themselves() -> None:
    world.person("voice", NUMBER)
    left = world.person("sms", NUMBER)
    people.leave(left, now=datetime.now(UTC))
    hashed = left.address_hash
    hearing.stop(hashed, why="pressed 9", now=datetime.now(UTC), channels=("voice",))
    reply("STOP")
    reply("START")
    assert not Suppression.objects.exists()
    assert {row.state for row in Subscription.objects.all()} == {"gone"}


def test_start_brings_nobody_back_whose_address_is_erased() -> None:
    person = world.person("sms", NUMBER)
    reply("STOP")
    people.forget(person, now=datetime.now(UTC))
    reply("START")
    assert Subscription.objects.get().state == "gone"


def test_start_brings_back_the_newest_and_a_wish_that_nobody_confirmed_gives_way() -> None:
    newest = [world.person("sms", NUMBER) for _ in range(2) if reply("STOP")][-1]
    reply("STOP")
    people.subscribe(channel="sms", address=NUMBER, now=datetime.now(UTC))
    for _ in range(2):
        reply("START")
    assert Subscription.objects.exclude(state="gone").get() == newest
    newest.refresh_from_db()
    assert (newest.state, newest.gone_at) == ("active", None)


def test_start_leaves_a_new_subscription_as_it_is() -> None:
    world.person("sms", NUMBER)
    reply("STOP")
    chosen = world.person("sms", NUMBER)
    reply("START")
    assert Subscription.objects.exclude(state="gone").get() == chosen


def test_ok_acknowledges_the_newest_alarm() -> None:
    delivery, _ = handed_over("sms")
    reply("OK")
    delivery.refresh_from_db()
    assert (delivery.state, delivery.answered_at is not None) == ("acknowledged", True)


def test_yes_confirms_a_subscription_by_text() -> None:
    person = world.person("sms", NUMBER, state=State.PENDING)
    Letter.objects.create(subscription=person, kind=LetterKind.CONFIRM)
    reply("Yes")
    person.refresh_from_db()
    assert person.state == "active"


def test_help_is_answered_once_an_hour_and_what_we_do_not_understand_is_help_too() -> None:
    person = world.person("sms", NUMBER)
    assert "STOP" in reply("who is this?")
    assert "Message" not in reply("hello?")
    assert "Message" not in reply("HELP")
    Reply.objects.update(at=datetime.now(UTC) - timedelta(minutes=61))
    assert "STOP" in reply("HELP")
    person.refresh_from_db()
    assert (person.state, Suppression.objects.exists()) == ("active", False)


# --- the button -------------------------------------------------------------------------------------------------------


def test_opening_the_link_acknowledges_nothing_and_pressing_the_button_does() -> None:
    delivery, _ = handed_over("sms")
    # In a text the link is paid for: it goes to those who would be called.
    assert not sending.recipient(delivery, delivery.broadcast, social=False, asks=True).heard_url
    incident = delivery.broadcast.incident
    assert incident is not None
    Wake.objects.create(
        person=delivery.subscription.subscriber,
        incident=incident,
        broadcast=delivery.broadcast,
        began_at=world.NOW,
        due_at=world.NOW,
    )
    assert not sending.recipient(delivery, delivery.broadcast, social=False).heard_url
    url = sending.recipient(delivery, delivery.broadcast, social=False, asks=True).heard_url
    path = urlsplit(url).path
    page = Client().get(path)
    assert (page.status_code, b"I have heard this" in page.content) == (200, True)
    assert Client().head(path).status_code == 200
    assert state(delivery) == "accepted"
    for _ in range(2):
        assert Client().post(path).status_code == 200
    delivery.refresh_from_db()
    assert (delivery.state, delivery.answered_at is not None) == ("acknowledged", True)


def test_a_link_that_is_not_ours_is_refused_and_counted() -> None:
    delivery, _ = handed_over("sms")
    assert Client().post(f"/receipts/heard/{delivery.pk}-AAAAAAAAAAAAAAAAAAAAAA").status_code == 403
    assert state(delivery) == "accepted"
    assert Turned.objects.get(door="heard", why="forged").times == 1
    assert Subscription.objects.get().state == "active"
