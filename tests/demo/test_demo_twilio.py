"""The stand-in of Twilio, through the client that the product uses."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator

from demo.providers import Providers
from tests.demo.clients import (
    FROM,
    TIMEOUT_S,
    TO,
    Caller,
    listening,
    post_raw,
    twilio_of,
    wait_until,
)

# JSON of a stranger: its shape is what the test looks at.
Json = Any


def test_an_sms_is_accepted_in_twilios_form(providers: Providers) -> None:
    message = twilio_of(providers).messages.create(to=TO, from_=FROM, body="Follow is down")
    assert re.fullmatch(r"SM[0-9a-f]{32}", str(message.sid))
    assert (message.status, message.error_code) == ("queued", None)
    assert isinstance(message.date_created, datetime)
    entry = providers.ledger()["twilio-sms"][0]
    assert (entry["to"], entry["body"], entry["id"]) == (TO, "Follow is down", message.sid)


def test_an_sms_by_messaging_service_needs_no_number(providers: Providers) -> None:
    service = "MG" + "0" * 32
    message = twilio_of(providers).messages.create(to=TO, messaging_service_sid=service, body="x")
    assert (message.status, message.messaging_service_sid) == ("accepted", service)


def test_callbacks_come_in_order_and_signed(providers: Providers) -> None:
    keys = providers.credentials
    with listening() as caller:
        url = f"{caller.url}/receipts/twilio?delivery=7"
        twilio_of(providers).messages.create(to=TO, from_=FROM, body="x", status_callback=url)
        wait_until(lambda: len(caller.heard) == 3)
    statuses = [form["MessageStatus"] for _, form, _ in caller.heard]
    assert statuses == ["queued", "sent", "delivered"]
    validator = RequestValidator(keys.twilio_token)
    _, form, signature = caller.heard[0]
    assert validator.validate(url, form, signature)
    assert not validator.validate(url, {**form, "To": FROM}, signature)
    assert not RequestValidator("another").validate(url, form, signature)


def test_a_message_may_end_undelivered(providers: Providers) -> None:
    providers.put_phones({TO: {"sms": "undelivered"}})
    with listening() as caller:
        twilio_of(providers).messages.create(
            to=TO, from_=FROM, body="x", status_callback=f"{caller.url}/cb"
        )
        wait_until(lambda: len(caller.heard) == 3)
    assert caller.heard[-1][1]["ErrorCode"] == "30003"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        pytest.param({"From": FROM, "Body": "x"}, 21604, id="no To"),
        pytest.param({"To": TO, "Body": "x"}, 21603, id="no From"),
        pytest.param({"To": TO, "From": FROM}, 21602, id="no Body"),
        pytest.param({"To": "12", "From": FROM, "Body": "x"}, 21211, id="no number"),
        pytest.param({"To": TO, "From": FROM, "Body": "x" * 1601}, 21617, id="too long"),
        pytest.param({"To": TO, "From": "+0", "Body": "x"}, 21212, id="bad From"),
    ],
)
def test_a_wrong_sms_is_refused_with_twilios_code(
    providers: Providers, form: dict[str, str], code: int
) -> None:
    answer = post_raw(providers, "Messages", form)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert set(answer.json()) == {"code", "message", "more_info", "status"}
    assert providers.ledger()["twilio-sms"] == []


def test_a_body_of_1600_is_taken(providers: Providers) -> None:
    form = {"To": TO, "From": FROM, "Body": "x" * 1600}
    assert post_raw(providers, "Messages", form).status_code == 201


def test_a_wrong_token_is_20003(providers: Providers) -> None:
    with pytest.raises(TwilioRestException) as refused:
        twilio_of(providers, token="wrong").messages.create(to=TO, from_=FROM, body="x")
    assert (refused.value.status, refused.value.code) == (401, 20003)


def test_after_STOP_a_number_is_21610_until_START(providers: Providers) -> None:
    def says(body: str, url: str) -> None:
        asked = {"from": TO, "to": FROM, "body": body, "url": url}
        answer = requests.post(f"{providers.url}/inbound", json=asked, timeout=TIMEOUT_S)
        assert answer.json()["answered"] == 200

    with listening() as caller:
        says("Stop ", f"{caller.url}/in")
        with pytest.raises(TwilioRestException) as refused:
            twilio_of(providers).messages.create(to=TO, from_=FROM, body="x")
        says("START", f"{caller.url}/in")
    assert refused.value.code == 21610
    assert twilio_of(providers).messages.create(to=TO, from_=FROM, body="x").sid
    path, form, signature = caller.heard[0]
    validator = RequestValidator(providers.credentials.twilio_token)
    assert validator.validate(f"{caller.url}{path}", form, signature)
    assert (form["From"], form["Body"], form["OptOutType"]) == (TO, "Stop ", "STOP")


def test_messages_can_be_found_again_by_number_and_time(providers: Providers) -> None:
    client = twilio_of(providers)
    for number in (TO, TO, "+12025550199"):
        client.messages.create(to=number, from_=FROM, body="x")
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    assert len(client.messages.list(to=TO, date_sent_after=now - hour)) == 2
    assert client.messages.list(to=TO, date_sent_after=now + hour) == []
    assert len(client.messages.list(page_size=2)) == 3
    sid = str(client.messages.list(to="+12025550199")[0].sid)
    assert client.messages(sid).fetch().to == "+12025550199"


def test_an_unknown_message_is_20404(providers: Providers) -> None:
    with pytest.raises(TwilioRestException) as refused:
        twilio_of(providers).messages("SM" + "0" * 32).fetch()
    assert (refused.value.status, refused.value.code) == (404, 20404)


# Twilio: calls.

EVENTS = ["initiated", "ringing", "answered", "completed"]


def place_call(providers: Providers, caller: Caller, **given: str) -> str:
    call = twilio_of(providers).calls.create(
        to=TO,
        from_=FROM,
        status_callback=f"{caller.url}/status",
        status_callback_event=EVENTS,
        **given,
    )
    wait_until(lambda: any(f["CallStatus"] in ENDS for f in caller.forms("/status")))
    return str(call.sid)


ENDS = ("completed", "busy", "no-answer", "failed")


def test_a_call_is_answered_told_and_acknowledged_with_a_key(providers: Providers) -> None:
    with listening() as caller:
        caller.answers["/twiml"] = (
            f'<Response><Gather numDigits="1" action="{caller.url}/pressed">'
            "<Say>Follow is down. Press 1.</Say></Gather><Say>Goodbye</Say></Response>"
        )
        caller.answers["/pressed"] = "<Response><Say>Thank you</Say></Response>"
        sid = place_call(providers, caller, url=f"{caller.url}/twiml")
    statuses = [form["CallStatus"] for form in caller.forms("/status")]
    assert statuses == ["initiated", "ringing", "in-progress", "completed"]
    [pressed] = caller.forms("/pressed")
    assert (pressed["Digits"], pressed["CallSid"]) == ("1", sid)
    entry = providers.ledger()["twilio-voice"][0]
    assert entry["said"] == ["Follow is down. Press 1.", "Thank you"]
    validator = RequestValidator(providers.credentials.twilio_token)
    assert all(validator.validate(caller.url + path, form, s) for path, form, s in caller.heard)
    assert twilio_of(providers).calls(sid).fetch().status == "completed"


def test_a_call_may_bring_its_words_along(providers: Providers) -> None:
    with listening() as caller:
        place_call(providers, caller, twiml="<Response><Say>Wake up</Say></Response>")
    assert providers.ledger()["twilio-voice"][0]["said"] == ["Wake up"]


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        pytest.param("no", "no-answer", id="nobody answers"),
        pytest.param("busy", "busy", id="busy"),
        pytest.param("hang", "completed", id="answered, nothing pressed"),
    ],
)
def test_a_call_that_is_not_acknowledged(providers: Providers, answer: str, last: str) -> None:
    providers.put_phones({"*": {"answer": answer}})
    with listening() as caller:
        gather = f'<Gather action="{caller.url}/pressed"><Say>Press 1</Say></Gather>'
        place_call(providers, caller, twiml=f"<Response>{gather}</Response>")
    assert caller.forms("/status")[-1]["CallStatus"] == last
    assert caller.forms("/pressed") == []


def test_a_call_without_events_hears_of_its_end_only(providers: Providers) -> None:
    with listening() as caller:
        twilio_of(providers).calls.create(
            to=TO, from_=FROM, twiml="<Response/>", status_callback=f"{caller.url}/status"
        )
        wait_until(lambda: any(form["CallStatus"] in ENDS for _, form, _ in caller.heard))
    assert [form["CallStatus"] for form in caller.forms("/status")] == ["completed"]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        pytest.param({"From": FROM, "Twiml": "<Response/>"}, 21201, id="no To"),
        pytest.param({"To": TO, "Twiml": "<Response/>"}, 21213, id="no From"),
        pytest.param({"To": TO, "From": FROM}, 21205, id="nothing to say"),
        pytest.param({"To": "x", "From": FROM, "Twiml": "<Response/>"}, 21211, id="no number"),
    ],
)
def test_a_wrong_call_is_refused(providers: Providers, form: dict[str, str], code: int) -> None:
    assert post_raw(providers, "Calls", form).json()["code"] == code


def test_wrong_phones_are_refused_in_one_sentence(providers: Providers) -> None:
    answer = providers.put_phones({TO: {"answer": "maybe"}})
    assert answer.status == 400
    assert "answer must be one of" in answer.text
