"""All providers at once: how they break, and the page with its buttons to reply."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import facebook
import pytest
import requests
import tweepy
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator

from demo.credentials import Credentials
from demo.providers import Providers, running, usual_replies_url
from tests.demo.clients import (
    FROM,
    TIMEOUT_S,
    TO,
    Caller,
    listening,
    post_raw,
    send,
    twilio_of,
    wait_until,
)

# JSON of a stranger: its shape is what the test looks at.
Json = Any


# Faults.

TARGETS = ["twilio-sms", "twilio-voice", "x", "facebook"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("shape", "kept"), [("accept-then-drop", 1), ("drop", 0)])
def test_a_dropped_connection_tells_nothing(
    providers: Providers, target: str, shape: str, kept: int
) -> None:
    providers.put_faults({target: shape})
    with pytest.raises(requests.ConnectionError):
        send(providers, target, "x")
    assert len(providers.ledger()[target]) == kept


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", ["429", "500", "html", "bad-json"])
def test_a_broken_answer_is_an_error_in_the_client(
    providers: Providers, target: str, shape: str
) -> None:
    providers.put_faults({target: shape})
    with pytest.raises((TwilioRestException, tweepy.HTTPException, facebook.GraphAPIError,
                        ValueError)):  # fmt: skip
        send(providers, target, "x")
    assert providers.ledger()[target] == []


@pytest.mark.parametrize("target", ["x", "facebook"])
def test_nonsense_is_a_success_without_an_id(providers: Providers, target: str) -> None:
    providers.put_faults({target: "nonsense"})
    answer: Json = send(providers, target, "x")
    assert "id" not in (answer if target == "facebook" else answer.data or {})


def test_429_says_when_to_come_back_and_mends_after_its_count(providers: Providers) -> None:
    providers.put_faults({"x": {"shape": "429", "retry_after_s": 90, "count": 1}})
    with pytest.raises(tweepy.TooManyRequests) as refused:
        send(providers, "x", "x")
    assert 80 < refused.value.reset_time - time.time() < 100
    assert send(providers, "x", "x")
    providers.put_faults({"twilio-sms": {"shape": "429", "retry_after_s": 2}})
    answer = post_raw(providers, "Messages", {"To": TO, "From": FROM, "Body": "x"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    assert answer.json()["code"] == 20429


def test_slow_is_late_but_right(providers: Providers) -> None:
    providers.put_faults({"facebook": {"shape": "slow", "delay_s": 0.3}})
    start = time.monotonic()
    send(providers, "facebook", "x")
    assert time.monotonic() - start > 0.3


def test_a_fault_of_one_provider_leaves_the_others_whole(providers: Providers) -> None:
    providers.put_faults({"x": "500"})
    for target in ("twilio-sms", "twilio-voice", "facebook"):
        assert send(providers, target, "x")


def test_a_reader_can_look_while_sending_is_broken(providers: Providers) -> None:
    providers.put_faults({"twilio-sms": "accept-then-drop"})
    with pytest.raises(requests.ConnectionError):
        send(providers, "twilio-sms", "x")
    assert len(twilio_of(providers).messages.list(to=TO)) == 1


def test_a_wrong_fault_is_refused_in_one_sentence(providers: Providers) -> None:
    answer = providers.put_faults({"telegram": "429"})
    assert (answer.status, "Unknown target 'telegram'" in answer.text) == (400, True)


# The page.


def test_the_page_shows_everything_and_escapes_it(providers: Providers) -> None:
    send(providers, "twilio-sms", "<script>alert(1)</script>")
    send(providers, "x", "on X")
    send(providers, "facebook", "on Facebook")
    send(providers, "twilio-voice", "on the phone")
    wait_until(lambda: providers.ledger()["twilio-voice"][0]["status"] == "completed")
    text = requests.get(providers.url, timeout=TIMEOUT_S).text
    assert "<script>" not in text
    for said in ("&lt;script&gt;", "on X", "on Facebook", "on the phone", TO):
        assert said in text


@contextmanager
def replying() -> Iterator[tuple[Providers, Caller]]:
    """Run stand-ins whose numbers' replies reach a listener, with one message sent."""
    with (
        listening() as caller,
        running(step_s=0.002, replies_url=f"{caller.url}/receipts/twilio") as providers,
    ):
        send(providers, "twilio-sms", "Follow is down")
        yield providers, caller


def press(providers: Providers, body: str, **headers: str) -> requests.Response:
    url, form = f"{providers.url}/inbound", {"from": TO, "to": FROM, "body": body}
    return requests.post(url, data=form, headers=headers, timeout=TIMEOUT_S)


def test_a_button_replies_STOP_to_the_product_and_another_START() -> None:
    with replying() as (providers, caller):
        home = requests.get(providers.url, timeout=TIMEOUT_S).text
        assert "Reply STOP" in home
        assert "Reply OK" in home
        assert "Reply START" not in home
        after = press(providers, "STOP").text
        with pytest.raises(TwilioRestException, match="unsubscribed"):
            send(providers, "twilio-sms", "again")
        assert "Reply START" in after
        assert "has said STOP" in after
        assert "has said STOP" not in press(providers, "START").text
        assert send(providers, "twilio-sms", "again")
    path, form, signature = caller.heard[0]
    validator = RequestValidator(providers.credentials.twilio_token)
    assert validator.validate(f"{caller.url}{path}", form, signature)
    assert (form["From"], form["To"], form["Body"], form["OptOutType"]) == (
        TO, FROM, "STOP", "STOP",
    )  # fmt: skip


def test_a_button_replies_OK_and_nothing_is_stopped() -> None:
    with replying() as (providers, caller):
        assert "has said STOP" not in press(providers, "OK").text
    [form] = caller.forms("/receipts/twilio")
    assert form["Body"] == "OK"
    assert "OptOutType" not in form


def test_another_sites_page_cannot_say_STOP() -> None:
    with replying() as (providers, caller):
        assert press(providers, "STOP", Origin="https://elsewhere.example").status_code == 403
        assert press(providers, "STOP", Origin=providers.url).status_code == 200
    assert len(caller.heard) == 1


def test_a_reply_that_the_product_does_not_hear_is_told_in_one_sentence() -> None:
    with running(replies_url="http://127.0.0.1:9/receipts/twilio") as providers:
        answer = press(providers, "OK")
    assert (answer.status_code, "was not reached" in answer.json()["error"]) == (502, True)


def test_replies_go_to_the_products_address_where_it_is_known() -> None:
    assert (
        usual_replies_url({"SITE_URL": "http://s.example/"}) == "http://s.example/receipts/twilio"
    )
    assert usual_replies_url({}) == ""


def test_the_credentials_are_read_from_the_products_variables() -> None:
    given = Credentials.from_environ({"TWILIO_AUTH_TOKEN": "t", "FACEBOOK_PAGE_ID": "7"})
    assert (given.twilio_token, given.facebook_page_id) == ("t", "7")
    assert given.x_consumer_key != Credentials.from_environ({}).x_consumer_key
