"""Every channel against the contract of channels, over loopback."""

import json
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, cast
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from demo import mailbox, providers
from demo.mailbox import Mailbox
from demo.pages import ask
from demo.providers import Providers
from notifications import channels
from notifications.channels import (
    Channel,
    Misconfigured,
    Notice,
    Outcome,
    Recipient,
    Result,
    _http,
    email,
    facebook,
    sms,
    voice,
    webpush,
    x,
)
from notifications.messages import sms_segments, weighted_length

QUICK = _http.Timeouts(connect_s=0.5, read_s=0.5, delivery_s=1.5)
TWILIO = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "t", "TWILIO_FROM": "+15005550006"}
X_KEYS = dict.fromkeys(
    ["X_CONSUMER_KEY", "X_CONSUMER_SECRET", "X_ACCESS_TOKEN", "X_ACCESS_TOKEN_SECRET"], "k"
)
FACEBOOK = {"FACEBOOK_PAGE_ID": "1", "FACEBOOK_PAGE_TOKEN": "t"}


def notice(**changes: object) -> Notice:
    """Return the first word of the night, with `changes`."""
    first = Notice(
        kind="update",
        thread="abc123",
        sequence=1,
        subject="Follow is down: check the wearer's own device",
        headline="Follow is down",
        title="Follow is down",
        state="Not working: Readings and alerts. We are investigating.",
        body="Followers may not receive readings or alerts.",
        what_to_do="Check the wearer's own device. Do not delete or re-install the app.",
        next_update_by="02:30 EST (07:30 UTC)",
        url="https://status.example.org/incidents/abc123",
        language="en",
        sender="Follow status",
        short="Check the wearer's own device.",
        published_at=datetime.now(ZoneInfo("America/New_York")),
        status="investigating",
        critical=True,
    )
    return replace(first, **changes)  # type: ignore[arg-type] # a table's values


def recipient(delivery: str, address: str, **changes: object) -> Recipient:
    return replace(Recipient(delivery, address), **changes)  # type: ignore[arg-type] # as above


@dataclass(frozen=True, slots=True)
class Rig:
    """One channel, its stand-in's switch, and what arrived there."""

    channel: Channel
    good: tuple[str, ...]
    bad: str
    put: Callable[[Mapping[str, object]], object]
    arrived: Callable[[], list[dict[str, object]]]

    def send(self, *recipients: Recipient, what: Notice | None = None) -> dict[str, Outcome]:
        return dict(self.channel.send(what or notice(), iter(recipients)))

    def send_one(self, what: Notice | None = None, **changes: object) -> Outcome:
        return self.send(recipient("1", self.good[0], **changes), what=what)["1"]


def environ_of(stand_in: Providers) -> dict[str, str]:
    keys = stand_in.credentials
    return {
        "TWILIO_ACCOUNT_SID": keys.twilio_sid,
        "TWILIO_AUTH_TOKEN": keys.twilio_token,
        "TWILIO_FROM": "+15005550006",
        "TWILIO_API_URL": stand_in.url,
        "X_CONSUMER_KEY": keys.x_consumer_key,
        "X_CONSUMER_SECRET": keys.x_consumer_secret,
        "X_ACCESS_TOKEN": keys.x_access_token,
        "X_ACCESS_TOKEN_SECRET": keys.x_access_token_secret,
        "X_API_URL": stand_in.url,
        "FACEBOOK_PAGE_ID": keys.facebook_page_id,
        "FACEBOOK_PAGE_TOKEN": keys.facebook_page_token,
        "FACEBOOK_API_URL": stand_in.url,
    }


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Providers]:
    with providers.running() as running:
        yield running


@pytest.fixture(scope="module", params=[True, False], ids=["pipelining", "one by one"])
def post_box(request: pytest.FixtureRequest) -> Iterator[Mailbox]:
    with mailbox.running(pipelining=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def plain_box() -> Iterator[Mailbox]:
    with mailbox.running() as running:
        yield running


def email_rig(box: Mailbox) -> Rig:
    ask("DELETE", f"{box.url}/messages")
    box.put_faults({})
    channel = email.configure(
        {"EMAIL_URL": box.smtp_url, "EMAIL_FROM": "status@follow.example"}, timeouts=QUICK
    )
    assert channel
    people = tuple(f"parent{n}@example.org" for n in range(60))
    return Rig(channel, people, "bad@example.org", box.put_faults, box.messages)


def provider_rig(name: str, stand_in: Providers) -> Rig:
    ask("DELETE", f"{stand_in.url}/ledger")
    stand_in.put_faults({})
    target = {"sms": "twilio-sms", "voice": "twilio-voice"}.get(name, name)
    channel = _with_timeouts(name, environ_of(stand_in))
    numbers = tuple(f"+1500555{n:04}" for n in range(1000, 1060))
    good = numbers if name in ("sms", "voice") else ("the account",)
    return Rig(
        channel,
        good,
        "+1" if name in ("sms", "voice") else "",
        lambda fault: stand_in.put_faults({target: fault} if fault else {}),
        lambda: stand_in.ledger()[target],
    )


def _with_timeouts(
    name: str, environ: Mapping[str, str], timeouts: _http.Timeouts = QUICK
) -> Channel:
    modules = {"sms": sms, "voice": voice, "x": x, "facebook": facebook}
    channel = modules[name].configure(environ, timeouts=timeouts)
    assert channel is not None
    return cast(Channel, channel)


PROVIDER_CHANNELS = ["sms", "voice", "x", "facebook"]
EVERY = ["email", *PROVIDER_CHANNELS]


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "email":
        found = email_rig(request.getfixturevalue("plain_box"))
    else:
        found = provider_rig(request.param, request.getfixturevalue("stand_in"))
    yield found
    found.channel.close()


on_every = pytest.mark.parametrize("rig", EVERY, indirect=True)
on_providers = pytest.mark.parametrize("rig", PROVIDER_CHANNELS, indirect=True)


# The contract: what the outbox may rely on, whatever the channel.


@on_every
def test_what_the_provider_took_is_accepted_with_its_id_and_is_there_once(rig: Rig) -> None:
    outcome = rig.send_one()
    assert outcome.result is Result.ACCEPTED
    assert outcome.provider_id
    assert len(rig.arrived()) == 1


@on_providers
def test_too_many_requests_is_a_retry_and_nothing_was_sent(rig: Rig) -> None:
    rig.put({"shape": "429", "retry_after_s": 40})
    outcome = rig.send_one()
    assert outcome.result is Result.RETRY
    assert outcome.retry_after_s is not None
    assert outcome.retry_after_s > 30
    assert rig.arrived() == []


@on_providers
@pytest.mark.parametrize(
    "shape", ["500", "html", "slow", "drop", "accept-then-drop", "nonsense", "bad-json"]
)
def test_an_answer_that_does_not_say_yes_is_unknown_and_never_accepted(
    rig: Rig, shape: str
) -> None:
    rig.put({"shape": shape, "delay_s": 2} if shape == "slow" else {"shape": shape})
    outcome = rig.send_one()
    assert outcome.result is Result.UNKNOWN
    assert outcome.why
    assert outcome.provider_id == ""


@pytest.mark.parametrize("name", EVERY)
def test_a_provider_that_cannot_be_reached_is_a_retry(name: str, stand_in: Providers) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
    environ = {**environ_of(stand_in), "EMAIL_URL": f"smtp://{nobody}"}
    environ |= {k: f"http://{nobody}" for k in environ if k.endswith("_API_URL")}
    channel = channels.modules()[name].configure(environ)
    assert channel
    outcomes = dict(channel.send(notice(), iter([recipient("1", "parent@example.org")])))
    assert outcomes["1"].result is Result.RETRY
    channel.close()


@pytest.mark.parametrize("rig", ["email", "sms", "voice"], indirect=True)
def test_one_bad_address_does_not_hurt_its_neighbours(rig: Rig) -> None:
    if rig.bad.endswith("@example.org"):
        rig.put({"smtp": {"shape": "550", "address": "bad@*"}})
    outcomes = rig.send(
        recipient("1", rig.good[0]), recipient("2", rig.bad), recipient("3", rig.good[1])
    )
    assert [outcomes[n].result for n in "123"] == [
        Result.ACCEPTED,
        Result.REFUSED,
        Result.ACCEPTED,
    ]
    assert outcomes["2"].dead
    assert not outcomes["1"].dead
    assert len(rig.arrived()) == 2


@on_every
def test_a_channel_never_pulls_further_ahead_than_its_group(rig: Rig) -> None:
    pulled = 0

    def batch() -> Iterator[Recipient]:
        nonlocal pulled
        for n in range(len(rig.good)):
            pulled += 1
            yield recipient(str(n), rig.good[n])

    ahead = []
    for told, _ in enumerate(rig.channel.send(notice(), batch()), start=1):
        ahead.append(pulled - told)
    assert len(ahead) == len(rig.good)
    assert max(ahead) < rig.channel.group


@on_every
def test_nothing_is_sent_before_it_is_pulled(rig: Rig) -> None:
    outcomes = rig.channel.send(notice(), iter([recipient("1", rig.good[0])]))
    assert rig.arrived() == []
    assert next(outcomes)[1].result is Result.ACCEPTED


WORDY = "We are adding servers and move readings over to them, one region after the other. " * 40
JAPANESE = "フォローアプリは現在ご利用いただけません。装着者のデバイスを確認してください。" * 10


@on_every
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="as usual"),
        pytest.param(
            {"what_to_do": "", "next_update_by": "", "body": ""}, id="as little as can be"
        ),
        pytest.param({"body": WORDY, "what_to_do": WORDY, "state": WORDY}, id="far too long"),
        pytest.param(
            {"headline": JAPANESE, "what_to_do": JAPANESE, "body": JAPANESE}, id="Japanese"
        ),
        pytest.param({"headline": "x" * 5000, "what_to_do": "y" * 5000}, id="one word without end"),
        pytest.param({"body": "👨‍👩‍👧‍👦 🇺🇸 é ﷽", "automatic": True, "final": True}, id="emoji"),
        pytest.param({"text_override": WORDY}, id="an operator's own words, too many"),
        pytest.param({"kind": "letter", "thread": ""}, id="a letter"),
        pytest.param({"kind": "call", "thread": "", "language": "es-MX"}, id="a call"),
    ],
)
def test_every_text_fits_the_channel(rig: Rig, changes: dict[str, object]) -> None:
    what = notice(**changes)
    assert rig.send_one(what).result is Result.ACCEPTED
    assert what.url.split("/")[-1] in rig.channel.preview(what) or rig.channel.name == "voice"


@pytest.mark.parametrize(
    ("rig", "arrived"),
    [
        pytest.param("sms", 1, id="text: found in the account's list"),
        pytest.param("voice", 2, id="call: rings again, as wanted"),
        pytest.param("x", 1, id="X: refuses the duplicate"),
        pytest.param("facebook", 1, id="Facebook: found in the page's feed"),
        pytest.param("email", 2, id="e-mail: again with the same Message-ID"),
    ],
    indirect=["rig"],
)
def test_what_was_sent_after_all_is_recognised(rig: Rig, arrived: int) -> None:
    lost = "drop-after-data" if rig.channel.name == "email" else "accept-then-drop"
    rig.put({"smtp": lost} if rig.channel.name == "email" else {"shape": lost})
    assert rig.send_one().result is Result.UNKNOWN
    rig.put({})
    again = rig.send_one(attempt=2, maybe_sent=True)
    assert again.result is Result.ACCEPTED
    ids = {str(m.get("id", m.get("message_id"))).strip("<>") for m in rig.arrived()}
    assert again.provider_id in ids
    assert len(rig.arrived()) == arrived
    assert len(ids) == (arrived if rig.channel.name == "voice" else 1)


@pytest.mark.parametrize("rig", ["sms", "facebook"], indirect=True)
def test_what_was_not_sent_is_sent_after_the_look_up(rig: Rig) -> None:
    rig.put({"shape": "drop"})
    assert rig.send_one().result is Result.UNKNOWN
    rig.put({})
    assert rig.send_one(attempt=2, maybe_sent=True).result is Result.ACCEPTED
    assert len(rig.arrived()) == 1


# Configuration.


@pytest.mark.parametrize("name", EVERY)
def test_a_channel_for_which_nothing_is_set_is_off(name: str) -> None:
    assert channels.modules()[name].configure({"SITE_URL": "https://status.example.org"}) is None


@pytest.mark.parametrize(
    ("name", "environ", "says"),
    [
        ("sms", {"TWILIO_ACCOUNT_SID": "AC1"}, "TWILIO_AUTH_TOKEN"),
        ("sms", {"TWILIO_FROM": "+15005550006"}, "TWILIO_ACCOUNT_SID"),
        ("voice", {**TWILIO, "TWILIO_FROM": ""}, "TWILIO_FROM"),
        ("sms", {**TWILIO, "TWILIO_SMS_PER_S": "fast"}, "TWILIO_SMS_PER_S"),
        ("voice", {**TWILIO, "TWILIO_CALLS_PER_S": "0"}, "TWILIO_CALLS_PER_S"),
        ("sms", {**TWILIO, "TWILIO_API_URL": "localhost:1"}, "TWILIO_API_URL"),
        ("x", {**X_KEYS, "X_ACCESS_TOKEN_SECRET": ""}, "X_ACCESS_TOKEN_SECRET"),
        ("x", {"X_CONSUMER_KEY": "k"}, "X_CONSUMER_SECRET"),
        ("facebook", {"FACEBOOK_PAGE_ID": "1"}, "FACEBOOK_PAGE_TOKEN"),
        ("facebook", {**FACEBOOK, "FACEBOOK_API_VERSION": "25"}, "FACEBOOK_API_VERSION"),
        ("email", {"EMAIL_URL": "http://host"}, "EMAIL_URL"),
        ("email", {"EMAIL_URL": "smtp://"}, "EMAIL_URL"),
        ("email", {"EMAIL_URL": "smtp://user@host"}, "EMAIL_URL"),
        ("email", {"EMAIL_URL": f"smtp://user:{quote('ä')}@host"}, "EMAIL_URL"),
        ("email", {"EMAIL_URL": "smtp://host:99999"}, "EMAIL_URL"),
        ("email", {"EMAIL_URL": "anymail+carrier-pigeon://KEY"}, "EMAIL_URL"),
        ("email", {"EMAIL_URL": "anymail+mailjet://KEY"}, "EMAIL_URL"),
        ("email", {"EMAIL_URL": "smtp://host", "EMAIL_FROM": "nobody"}, "EMAIL_FROM"),
        ("email", {"EMAIL_FALLBACK_URL": "smtp://host"}, "EMAIL_URL"),
    ],
)
def test_half_a_configuration_is_refused_in_one_sentence(
    name: str, environ: dict[str, str], says: str
) -> None:
    with pytest.raises(Misconfigured, match=says) as refused:
        channels.modules()[name].configure(environ)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_an_error_about_the_mail_server_does_not_show_its_password() -> None:
    with pytest.raises(Misconfigured) as refused:
        email.configure({"EMAIL_URL": "smtpx://user:hunter2@host"})
    assert "hunter2" not in str(refused.value)


def test_the_rates_are_the_accounts() -> None:
    assert sms.configure({**TWILIO, "TWILIO_SMS_PER_S": "2.5"}).per_s == 2.5  # type: ignore[union-attr] # it is configured
    assert voice.configure(TWILIO).per_s == 1  # type: ignore[union-attr] # it is configured


def test_a_messaging_service_sends_texts_but_cannot_call() -> None:
    environ = {**TWILIO, "TWILIO_FROM": "", "TWILIO_MESSAGING_SERVICE_SID": "MG1"}
    assert sms.configure(environ)
    assert voice.configure(environ) is None


# Text messages and calls.


@pytest.mark.parametrize("rig", ["sms"], indirect=True)
def test_a_number_that_said_stop_is_refused_and_suppressed(rig: Rig, stand_in: Providers) -> None:
    ask("POST", f"{stand_in.url}/inbound", {"from": rig.good[7], "body": "STOP"})
    outcome = rig.send(recipient("1", rig.good[7]))["1"]
    assert outcome.result is Result.REFUSED
    assert outcome.dead
    assert "stopped" in outcome.why


@pytest.mark.parametrize("rig", ["sms", "voice"], indirect=True)
def test_a_reason_does_not_show_a_persons_number(rig: Rig) -> None:
    outcome = rig.send(recipient("1", "0015005551234567"))["1"]
    assert outcome.result is Result.REFUSED
    assert "500555" not in outcome.why


@pytest.mark.parametrize("name", ["sms", "x", "facebook"])
def test_a_broken_account_loses_nobody(name: str, stand_in: Providers) -> None:
    environ = environ_of(stand_in)
    environ |= {"TWILIO_AUTH_TOKEN": "wrong", "X_ACCESS_TOKEN_SECRET": "wrong"}
    channel = _with_timeouts(name, {**environ, "FACEBOOK_PAGE_TOKEN": "wrong"})
    outcome = dict(channel.send(notice(), iter([recipient("1", "+15005551000")])))["1"]
    assert outcome.result is Result.RETRY
    assert outcome.retry_after_s == 3600


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {},
            "Follow is down. Check the wearer's own device. Next update by 02:30 EST. "
            "https://status.example.org/incidents/abc123 STOP=end",
            id="one part: state, what to do, next word, link",
        ),
        pytest.param(
            {"automatic": True},
            "Follow is down (automatic). Check the wearer's own device. Next update by 02:30 EST. "
            "https://status.example.org/incidents/abc123 STOP=end",
            id="automatic texts say so",
        ),
        pytest.param(
            {
                "headline": "Resolved: Follow is down",
                "next_update_by": "",
                "final": True,
                "what_to_do": "Open Follow and confirm a reading.",
                "body": "Alerts from 01:02 to 06:12 may have been missed.",
            },
            "Resolved: Follow is down. Open Follow and confirm a reading. Alerts from 01:02 to 06:12 may "
            "have been missed. https://status.example.org/incidents/abc123",
            id="all-clear: what may have been missed",
        ),
        pytest.param(
            {
                "kind": "call",
                "headline": "Goes out at 01:04 EST: Follow is down",
                "next_update_by": "",
                "what_to_do": "Publish, edit or veto it now.",
                "body": "3 of 3 locations see it. More.",
            },
            "Goes out at 01:04 EST: Follow is down. 3 of 3 locations see it. Publish, edit or veto it now. "
            "https://status.example.org/incidents/abc123",
            id="a call: what is, then what to do",
        ),
        pytest.param(
            {"what_to_do": "Check the wearer’s own device – now.", "next_update_by": ""},
            "Follow is down. Check the wearer's own device - now. "
            "https://status.example.org/incidents/abc123 STOP=end",
            id="typographic characters are made plain",
        ),
    ],
)
def test_the_words_of_a_text_message(changes: dict[str, object], expected: str) -> None:
    text = sms.sms_text(notice(**{"what_to_do": "Check the wearer's own device.", **changes}))
    assert text == expected
    assert sms_segments(text) == ("GSM-7", 1)


def test_a_long_text_message_keeps_the_first_thing_to_do_the_promise_and_the_link() -> None:
    text = sms.sms_text(notice(what_to_do=f"Check the wearer's own device. {WORDY}"))
    assert sms_segments(text) == ("GSM-7", 1)
    assert "Check the wearer's own device." in text
    assert "Next update by 02:30 EST." in text
    assert text.endswith("https://status.example.org/incidents/abc123")


HEARD = "https://status.example.org/receipts/heard/123-AAAAAAAAAAAAAAAAAAAAAA"


def test_a_text_to_who_would_be_called_says_how_to_answer() -> None:
    text = sms.sms_text(notice(), HEARD)
    assert "Check the wearer's own device." in text
    assert text.endswith(f"Heard? Reply OK, or: {HEARD}")
    assert sms_segments(text) == ("GSM-7", 2)
    assert HEARD in sms.sms_text(
        notice(what_to_do=f"Check the wearer's own device. {WORDY}"), HEARD
    )
    for language in ("es", "fr", "de"):
        text = sms.sms_text(notice(language=language), HEARD)
        assert (text.endswith(HEARD), sms_segments(text)) == (True, ("GSM-7", 2))
    assert "Reply OK" not in sms.sms_text(notice())


def test_where_the_link_does_not_fit_the_word_alone_is_asked_for() -> None:
    """In a script of 67 characters a part."""
    text = sms.sms_text(notice(headline="Читання не надходять", what_to_do=""), HEARD)
    assert HEARD not in text
    assert "Reply OK." in text
    assert sms_segments(text)[1] <= sms.PARTS_MAX


def test_a_push_has_a_button_only_where_an_answer_is_waited_for() -> None:
    asks, says = webpush.message(notice(), HEARD), webpush.message(notice())
    assert (asks["heard"], asks["heard_label"]) == (HEARD, "I have heard this")
    assert (says["heard"], says["heard_label"]) == ("", "")


@pytest.mark.parametrize("rig", ["voice"], indirect=True)
def test_a_call_is_said_again_until_a_key_is_pressed(rig: Rig) -> None:
    script = voice.twiml(notice(), "https://status.example.org/receipts/twilio/1")
    assert script.count("<Gather") == voice.READINGS
    assert script.count("Press 1") == voice.READINGS
    assert 'action="https://status.example.org/receipts/twilio/1"' in script
    assert 'language="en-US"' in script
    assert 'language="es-MX"' in voice.twiml(notice(language="es"), "https://status.example.org/r")


def test_a_call_cannot_be_talked_into_other_verbs() -> None:
    script = voice.twiml(notice(headline="</Say><Dial>+1900</Dial>"), "https://x.example/r")
    assert "<Dial>" not in script


# X and Facebook.


@pytest.mark.parametrize("rig", ["x"], indirect=True)
def test_updates_on_x_are_a_thread(rig: Rig) -> None:
    first = rig.send_one()
    second = rig.send_one(notice(sequence=2), previous_id=first.provider_id)
    assert second.result is Result.ACCEPTED
    assert rig.arrived()[0]["in_reply_to"] == first.provider_id


@pytest.mark.parametrize("rig", ["x"], indirect=True)
def test_a_thread_on_x_goes_on_without_a_deleted_post(rig: Rig) -> None:
    outcome = rig.send_one(notice(sequence=2), previous_id="1")
    assert outcome.result is Result.ACCEPTED
    assert rig.arrived()[0]["in_reply_to"] == ""


@pytest.mark.parametrize("rig", ["x"], indirect=True)
def test_a_duplicate_on_x_that_we_did_not_send_is_refused(rig: Rig) -> None:
    rig.send_one()
    assert rig.send_one().result is Result.REFUSED


@pytest.mark.parametrize("override", ["", "Our own words, as always."])
def test_posts_of_different_updates_differ(override: str) -> None:
    texts = {x.post_text(notice(sequence=n, text_override=override)) for n in range(1, 6)}
    assert len(texts) == 5
    assert all(weighted_length(text) <= 280 for text in texts)
    assert all(override in text for text in texts)


@pytest.mark.parametrize("rig", ["facebook"], indirect=True)
def test_later_updates_edit_the_first_line_and_add_a_comment(rig: Rig) -> None:
    first = rig.send_one()
    resolved = notice(
        sequence=2, headline="Resolved: Follow is down", next_update_by="", body="Fixed."
    )
    second = rig.send_one(resolved, first_id=first.provider_id, previous_id=first.provider_id)
    assert second.result is Result.ACCEPTED
    comment, post = rig.arrived()
    assert comment["id"] == second.provider_id
    assert comment["in_reply_to"] == post["id"] == first.provider_id
    first_line, _, rest = str(post["body"]).partition("\n")
    assert "Resolved: Follow is down" in first_line
    assert "Check the wearer's own device." in rest
    assert "02:30" not in str(post["body"])


@pytest.mark.parametrize("rig", ["facebook"], indirect=True)
def test_a_comment_that_may_be_there_is_not_written_twice(rig: Rig) -> None:
    first = rig.send_one()
    later = notice(sequence=2, headline="Cause found: Follow is down")
    rig.put({"shape": "accept-then-drop"})
    edited = rig.send_one(later, first_id=first.provider_id)
    assert edited.result is Result.RETRY  # An edit may be made again.
    commented = rig.send_one(later, first_id=first.provider_id)
    assert commented.result is Result.UNKNOWN
    rig.put({})
    again = rig.send_one(later, first_id=first.provider_id, maybe_sent=True)
    assert again.result is Result.ACCEPTED
    assert len(rig.arrived()) == 2


@pytest.mark.parametrize("rig", ["facebook"], indirect=True)
def test_a_deleted_post_is_written_anew(rig: Rig) -> None:
    outcome = rig.send_one(notice(sequence=2), first_id="1029384756_1")
    assert outcome.result is Result.ACCEPTED
    assert rig.arrived()[0]["in_reply_to"] == ""


class OddGraph(BaseHTTPRequestHandler):
    """A failure that looks like a success to a client that reads only the body."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        raw = b'{"id": "1_2"}'
        self.send_response(500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent in the test's output."""


def test_an_id_in_a_failed_answer_of_facebook_is_no_success() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), OddGraph) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        channel = facebook.configure({**FACEBOOK, "FACEBOOK_API_URL": url}, timeouts=QUICK)
        assert channel
        outcomes = dict(channel.send(notice(), iter([recipient("1", "the account")])))
        channel.close()
        server.shutdown()
    assert outcomes["1"].result is Result.UNKNOWN


@pytest.mark.parametrize("name", PROVIDER_CHANNELS)
def test_a_delivery_whose_time_is_up_is_not_begun(name: str, stand_in: Providers) -> None:
    ask("DELETE", f"{stand_in.url}/ledger")
    no_time = _http.Timeouts(delivery_s=0)
    channel = _with_timeouts(name, environ_of(stand_in), no_time)
    outcomes = dict(channel.send(notice(), iter([recipient("1", "+15005551000")])))
    channel.close()
    assert outcomes["1"].result is Result.RETRY
    assert not any(stand_in.ledger().values())


# E-mail over SMTP.


def opened(box: Mailbox, number: int = -1) -> EmailMessage:
    found = box.store.whole(int(str(box.messages()[number]["n"])))
    assert found
    return message_from_bytes(found.raw, policy=policy.default)


def body_of(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part
    return str(part.get_content()).replace("\r\n", "\n")


UMLAUTS = (
    "Größe – “quoted” é 漢字 👨‍👩‍👧‍👦\n.a line that begins with a dot\n..and another\nFrom here on"
)


def test_each_reader_gets_a_mail_of_their_own(post_box: Mailbox) -> None:
    rig = email_rig(post_box)
    links = {
        "manage_url": "https://s.example/manage/{}?a=1&b=2",
        "unsubscribe_url": "https://s.example/unsubscribe/{}",
    }
    people = [
        recipient(str(n), rig.good[n], **{k: v.format(n) for k, v in links.items()})
        for n in range(3)
    ]
    outcomes = rig.send(*people, what=notice(body=UMLAUTS))
    assert [o.result for o in outcomes.values()] == [Result.ACCEPTED] * 3
    # They come over several connections, in any order.
    arrived = {str(mail["To"]): mail for mail in (opened(post_box, n) for n in range(3))}
    for n in range(3):
        mail = arrived[rig.good[n]]
        assert mail["Message-ID"] == f"<{outcomes[str(n)].provider_id}>"
        assert mail["Message-ID"] == f"<inc-abc123.u1.{n}@follow.example>"
        assert mail["List-Unsubscribe"] == f"<https://s.example/unsubscribe/{n}>"
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert f"https://s.example/manage/{n}?a=1&b=2\n" in body_of(mail, "plain")
        assert f'"https://s.example/manage/{n}?a=1&amp;b=2"' in body_of(mail, "html")
        assert UMLAUTS in body_of(mail, "plain")
        others = {0, 1, 2} - {n}
        assert not any(
            f"/{other}" in mail.as_string() or rig.good[other] in mail.as_string()
            for other in others
        )
    rig.channel.close()


def test_the_headers_of_an_update(plain_box: Mailbox) -> None:
    rig = email_rig(plain_box)
    rig.send_one()
    mail = opened(plain_box)
    assert mail["Subject"] == "Follow is down: check the wearer's own device"
    assert mail["From"] == "Follow status <status@follow.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert mail["In-Reply-To"] == mail["References"] == "<inc-abc123@follow.example>"
    assert mail["Date"].datetime
    assert mail.get_content_type() == "multipart/alternative"
    assert "List-Unsubscribe" not in mail
    rig.channel.close()


def test_a_letter_belongs_to_no_thread(plain_box: Mailbox) -> None:
    rig = email_rig(plain_box)
    rig.send_one(notice(kind="letter", thread=""))
    mail = opened(plain_box)
    assert "In-Reply-To" not in mail
    assert mail["Message-ID"] == "<letter.1@follow.example>"
    rig.channel.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Down\r\nBcc: everyone@example.org"},
        {"subject": "Down\u2028\x00\x0bBcc: everyone@example.org"},
        {"sender": 'Follow"\r\nBcc: everyone@example.org'},
        {"thread": "abc>\r\nBcc: everyone@example.org"},
    ],
    ids=["subject", "odd line ends", "sender", "thread"],
)
def test_nothing_can_add_a_header(plain_box: Mailbox, changes: dict[str, object]) -> None:
    rig = email_rig(plain_box)
    assert rig.send_one(notice(**changes)).result is Result.ACCEPTED
    mail = opened(plain_box)
    assert "Bcc" not in mail
    assert [str(m["to"]) for m in rig.arrived()] == ["['parent0@example.org']"]
    rig.channel.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "parent@example.org\r\nRCPT TO:<everyone@example.org>"},
        {"address": "parent@example.org>"},
        {"address": "Parent <parent@example.org>"},
        {"address": "two@example.org,three@example.org"},
        {"address": "größe@example.org"},
        {"address": "nobody"},
        {"manage_url": "https://s.example/\r\nBcc: everyone@example.org"},
        {"unsubscribe_url": "https://s.example/>,<mailto:x@y.z"},
        {"unsubscribe_url": "https://s.example/" + "x" * 1000},
    ],
)
def test_a_poisoned_row_is_refused_alone(plain_box: Mailbox, changes: dict[str, object]) -> None:
    rig = email_rig(plain_box)
    poisoned = replace(recipient("2", rig.good[1]), **changes)  # type: ignore[arg-type] # a table's values
    outcomes = rig.send(recipient("1", rig.good[0]), poisoned, recipient("3", rig.good[2]))
    assert [outcomes[n].result for n in "123"] == [Result.ACCEPTED, Result.REFUSED, Result.ACCEPTED]
    assert len(rig.arrived()) == 2
    rig.channel.close()


def test_an_international_domain_is_sent_in_its_ascii_form(plain_box: Mailbox) -> None:
    rig = email_rig(plain_box)
    assert rig.send(recipient("1", "parent@größe.example"))["1"].result is Result.ACCEPTED
    assert rig.arrived()[0]["to"] == ["parent@xn--gre-6ka8i.example"]
    rig.channel.close()


def test_no_line_of_a_mail_is_longer_than_servers_take(plain_box: Mailbox) -> None:
    rig = email_rig(plain_box)
    long = "é" * 3000 + " " + '"' * 3000 + " " + "漢" * 3000 + " word" * 2000
    rig.send_one(
        notice(body=long, what_to_do=long, state=long), manage_url="https://s.example/" + "m" * 800
    )
    found = plain_box.store.whole(int(str(rig.arrived()[0]["n"])))
    assert found
    assert max(len(line) for line in found.raw.split(b"\r\n")) <= 998
    assert b"\n" not in found.raw.replace(b"\r\n", b"")
    assert f"/{'m' * 800}\n" in body_of(opened(plain_box), "plain")
    rig.channel.close()


def test_the_order_of_a_mail_is_state_what_to_do_promise_details_link(plain_box: Mailbox) -> None:
    rig = email_rig(plain_box)
    rig.send_one(notice(automatic=True, body="Details follow."))
    words = ["Not working", "Check the wearer", "Next update by 02:30 EST (07:30 UTC)", "Details follow.",
             "/incidents/abc123", "Posted automatically"]  # fmt: skip
    for kind in ("plain", "html"):
        text = re.sub(r"<title>.*?</title>", "", body_of(opened(plain_box), kind))
        places = [text.find(word) for word in words]
        assert -1 not in places
        assert places == sorted(places)
    rig.channel.close()


def test_html_in_an_update_stays_text(plain_box: Mailbox) -> None:
    rig = email_rig(plain_box)
    rig.send_one(notice(body="<script>alert(1)</script>", headline="<b>down</b>"))
    html = body_of(opened(plain_box), "html")
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    rig.channel.close()


def test_451_is_a_retry_and_the_next_one_is_taken(post_box: Mailbox) -> None:
    rig = email_rig(post_box)
    rig.put({"smtp": {"shape": "451", "address": "parent0@*"}})
    outcomes = rig.send(recipient("1", rig.good[0]), recipient("2", rig.good[1]))
    assert [outcomes[n].result for n in "12"] == [Result.RETRY, Result.ACCEPTED]
    assert rig.good[0] not in outcomes["1"].why
    rig.channel.close()


def test_a_lost_answer_to_the_message_is_unknown_and_the_next_one_is_taken(
    post_box: Mailbox,
) -> None:
    rig = email_rig(post_box)
    rig.put({"smtp": {"shape": "drop-after-data", "address": "parent0@*"}})
    outcomes = rig.send(recipient("1", rig.good[0]), recipient("2", rig.good[1]))
    assert [outcomes[n].result for n in "12"] == [Result.UNKNOWN, Result.ACCEPTED]
    rig.channel.close()


def test_a_mail_server_that_answers_too_late_is_unknown(post_box: Mailbox) -> None:
    rig = email_rig(post_box)
    rig.put({"smtp": {"shape": "slow", "delay_s": 2}})
    assert rig.send_one().result is Result.UNKNOWN
    rig.channel.close()


Script = dict[str, bytes | None]


class Scripted(socketserver.ThreadingTCPServer):
    """A mail server that answers each stage as told; None hangs up."""

    allow_reuse_address = True
    daemon_threads = True
    GOOD: ClassVar[Script] = {
        "MAIL": b"250 ok",
        "RCPT": b"250 ok",
        "DATA": b"354 go",
        "END": b"250 taken",
    }

    def __init__(self, script: Script, *, extension: bytes, hang_up_after: int = 10**6) -> None:
        super().__init__(("127.0.0.1", 0), ScriptedHandler)
        self.script: Script = {**self.GOOD, **script}
        self.extension = extension
        self.hang_up_after = hang_up_after
        self.taken = 0
        self.connections = 0


class ScriptedHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast(Scripted, self.server)
        server.connections += 1
        self.wfile.write(b"220 ready\r\n")
        taken_here = 0
        self.stage = ""
        while taken_here < server.hang_up_after and (line := self.rfile.readline()):
            verb = line[:4].upper().decode()
            answer = self.misplaced(verb) or self.answer(server, verb)
            if b"<good" in line:
                answer = b"250 ok"
            if answer is None:
                return
            self.wfile.write(answer + b"\r\n")
            if answer.startswith(b"2"):
                self.stage = {"MAIL": "MAIL", "RCPT": "RCPT", "RSET": ""}.get(verb, self.stage)
            if verb == "DATA" and answer.startswith(b"354"):
                empty = self.skip_message()
                answer = b"554 no recipients" if empty else server.script["END"]
                if answer is None:
                    return
                server.taken += answer.startswith(b"250")
                taken_here += 1
                self.stage = ""
                self.wfile.write(answer + b"\r\n")

    def misplaced(self, verb: str) -> bytes | None:
        """Return how a server answers a second MAIL (RFC 5321 §4.1.4); it may be lax with the rest."""
        return b"503 5.5.1 nested MAIL" if verb == "MAIL" and self.stage else None

    def answer(self, server: Scripted, verb: str) -> bytes | None:
        if verb == "EHLO":
            return b"250-here\r\n250 " + server.extension
        return server.script.get(verb, b"250 ok")

    def skip_message(self) -> bool:
        lines = 0
        while (line := self.rfile.readline()) and line != b".\r\n":
            lines += 1
        return not lines


@contextmanager
def scripted(
    script: Script, *, extension: bytes, hang_up_after: int = 10**6
) -> Iterator[tuple[Channel, Scripted]]:
    with ExitStack() as stack:
        server = stack.enter_context(
            Scripted(script, extension=extension, hang_up_after=hang_up_after)
        )
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        stack.callback(server.shutdown)
        channel = email.configure(
            {"EMAIL_URL": f"smtp://127.0.0.1:{server.server_address[1]}?connections=1"},
            timeouts=QUICK,
        )
        assert channel
        stack.callback(channel.close)
        yield channel, server


@pytest.mark.parametrize("extension", [b"PIPELINING", b"HELP"])
@pytest.mark.parametrize(
    ("script", "result", "dead"),
    [
        pytest.param({}, Result.ACCEPTED, False, id="all goes well"),
        pytest.param({"MAIL": None}, Result.RETRY, False, id="hangs up at MAIL"),
        pytest.param({"RCPT": None}, Result.RETRY, False, id="hangs up at RCPT"),
        pytest.param({"DATA": None}, Result.RETRY, False, id="hangs up at DATA"),
        pytest.param({"END": None}, Result.UNKNOWN, False, id="hangs up after the message"),
        pytest.param({"END": b"nonsense"}, Result.UNKNOWN, False, id="answers nonsense"),
        pytest.param({"MAIL": b"550 5.7.1 not from you"}, Result.RETRY, False, id="refuses us"),
        pytest.param({"RCPT": b"550 5.1.1 who"}, Result.REFUSED, True, id="no such mailbox"),
        pytest.param({"RCPT": b"550 5.1.10 null MX"}, Result.REFUSED, True, id="takes no mail"),
        pytest.param({"RCPT": b"550 5.7.1 policy"}, Result.REFUSED, False, id="policy"),
        pytest.param({"RCPT": b"550 5.1.8 bad sender"}, Result.REFUSED, False, id="bad sender"),
        pytest.param({"RCPT": b"452 4.2.2 full"}, Result.RETRY, False, id="mailbox full"),
        pytest.param({"RCPT": b"421 busy"}, Result.RETRY, False, id="busy at RCPT"),
        pytest.param({"DATA": b"451 later"}, Result.RETRY, False, id="later at DATA"),
        pytest.param({"END": b"451 4.7.1 later"}, Result.RETRY, False, id="later after all"),
        pytest.param({"END": b"554 5.7.1 spam"}, Result.REFUSED, False, id="spam"),
    ],
)
def test_what_each_answer_of_a_mail_server_means(
    script: Script, result: Result, dead: bool, extension: bytes
) -> None:
    with scripted(script, extension=extension) as (channel, _):
        outcomes = list(channel.send(notice(), iter([recipient("1", "parent@example.org")])))
    assert [(o.result, o.dead) for _, o in outcomes] == [(result, dead)]


@pytest.mark.parametrize("extension", [b"PIPELINING", b"HELP"])
@pytest.mark.parametrize(
    "script",
    [
        pytest.param({"RCPT": b"550 5.1.1 who"}, id="refused at RCPT, DATA taken"),
        pytest.param({"RCPT": b"550 5.1.1 who", "DATA": b"503 no"}, id="refused at RCPT and DATA"),
    ],
)
def test_a_refusal_leaves_nothing_behind(script: Script, extension: bytes) -> None:
    with scripted(script, extension=extension) as (channel, server):
        batch = [recipient("1", "bad@example.org"), recipient("2", "good@example.org")]
        outcomes = channel.send(notice(), iter(batch))
        assert next(outcomes)[1].result is Result.REFUSED
        server.script = dict(Scripted.GOOD)
        assert next(outcomes)[1].result is Result.ACCEPTED
        assert server.connections == 1


def test_a_reason_does_not_show_a_persons_address() -> None:
    with scripted({"RCPT": b"550 5.1.1 <parent@example.org> who"}, extension=b"HELP") as (
        channel,
        _,
    ):
        outcomes = dict(channel.send(notice(), iter([recipient("1", "parent@example.org")])))
    assert outcomes["1"].why == "550 5.1.1 <the address> who"


@pytest.mark.parametrize("extension", [b"PIPELINING", b"HELP"])
def test_a_kept_connection_that_the_server_closed_costs_nobody_their_mail(extension: bytes) -> None:
    with scripted({}, extension=extension, hang_up_after=2) as (channel, server):
        batch = [recipient(str(n), f"parent{n}@example.org") for n in range(7)]
        outcomes = [outcome.result for _, outcome in channel.send(notice(), iter(batch))]
        assert outcomes == [Result.ACCEPTED] * 7
        assert (server.taken, server.connections) == (7, 4)


def test_one_connection_serves_several_batches() -> None:
    with scripted({}, extension=b"HELP") as (channel, server):
        for _ in range(3):
            list(channel.send(notice(), iter([recipient("1", "parent@example.org")])))
        assert (server.taken, server.connections) == (3, 1)


def test_the_second_way_takes_what_the_first_did_not(plain_box: Mailbox) -> None:
    rig = email_rig(plain_box)
    with scripted({"RCPT": b"451 later"}, extension=b"HELP") as (_, broken):
        environ = {
            "EMAIL_URL": f"smtp://127.0.0.1:{broken.server_address[1]}",
            "EMAIL_FALLBACK_URL": plain_box.smtp_url,
        }
        channel = email.configure(environ, timeouts=QUICK)
        assert channel
        batch = [recipient(str(n), rig.good[n]) for n in range(20)]
        outcomes = [outcome.result for _, outcome in channel.send(notice(), iter(batch))]
        channel.close()
    assert outcomes == [Result.ACCEPTED] * 20
    assert len(rig.arrived()) == 20


def test_what_the_first_way_did_not_take_is_not_kept_to_the_end_of_the_batch(
    plain_box: Mailbox,
) -> None:
    rig = email_rig(plain_box)
    with scripted({"RCPT": b"451 later"}, extension=b"HELP") as (_, half):
        environ = {
            # The addresses that begin with "good" are taken, so that it never counts as down.
            "EMAIL_URL": f"smtp://127.0.0.1:{half.server_address[1]}?connections=1",
            "EMAIL_FALLBACK_URL": plain_box.smtp_url,
        }
        channel = email.configure(environ, timeouts=QUICK)
        assert channel
        seen: list[int] = []

        def batch() -> Iterator[Recipient]:
            for n in range(email.NOT_TAKEN_MAX * 4):
                seen.append(len(rig.arrived()))
                word = "good" if n % 2 else "parent"
                yield recipient(str(n), f"{word}{n}@example.org")

        outcomes = [outcome.result for _, outcome in channel.send(notice(), batch())]
        channel.close()
    assert outcomes == [Result.ACCEPTED] * email.NOT_TAKEN_MAX * 4
    assert len(rig.arrived()) == email.NOT_TAKEN_MAX * 2
    assert seen[-1] >= email.NOT_TAKEN_MAX


def test_the_second_way_does_not_repeat_what_the_first_may_have_taken(plain_box: Mailbox) -> None:
    rig = email_rig(plain_box)
    with scripted({"END": None}, extension=b"HELP") as (_, broken):
        environ = {
            "EMAIL_URL": f"smtp://127.0.0.1:{broken.server_address[1]}",
            "EMAIL_FALLBACK_URL": plain_box.smtp_url,
        }
        channel = email.configure(environ, timeouts=QUICK)
        assert channel
        outcomes = dict(channel.send(notice(), iter([recipient("1", rig.good[0])])))
        channel.close()
    assert outcomes["1"].result is Result.UNKNOWN
    assert rig.arrived() == []


# E-mail through a provider's API.


class Postmark(BaseHTTPRequestHandler):
    """Postmark's batch call, as https://postmarkapp.com/developer/api/email-api describes it."""

    calls: ClassVar[list[list[dict[str, object]]]] = []
    shape: ClassVar[str] = ""
    asked: ClassVar[int] = 0
    pause_s: ClassVar[float] = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = body if isinstance(body, list) else [body]
        Postmark.asked += 1
        time.sleep(self.pause_s)
        if self.shape == "drop":
            return
        if self.shape:
            self.reply(int(self.shape), {"ErrorCode": 100, "Message": "as told"})
        elif any("poison" in str(m["To"]) for m in messages):
            self.reply(422, {"ErrorCode": 403, "Message": "Invalid JSON"} if len(messages) > 1 else
                       {"ErrorCode": 300, "Message": f"Invalid 'To' address: '{messages[0]['To']}'."})  # fmt: skip
        else:
            self.calls.append(messages)
            answers = [self.answer(str(m["To"])) for m in messages]
            self.reply(200, answers if isinstance(body, list) else answers[0])

    def answer(self, to: str) -> dict[str, object]:
        if "inactive" in to:
            message = f"Found inactive addresses: {to}. Inactive recipients are ones that bounced."
            return {"ErrorCode": 406, "Message": message}
        return {"ErrorCode": 0, "Message": "OK", "MessageID": f"id-{to}", "To": to}

    def reply(self, status: int, answer: object) -> None:
        raw = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("Retry-After", "77")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent in the test's output."""


@contextmanager
def postmark_line(timeouts: _http.Timeouts) -> Iterator[Channel]:
    Postmark.calls, Postmark.shape, Postmark.asked, Postmark.pause_s = [], "", 0, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Postmark) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"anymail+postmark://KEY?api_url=http://127.0.0.1:{server.server_address[1]}/"
        channel = email.configure(
            {"EMAIL_URL": url, "EMAIL_FROM": "s@follow.example"}, timeouts=timeouts
        )
        assert channel
        yield channel
        channel.close()
        server.shutdown()


@pytest.fixture
def postmark() -> Iterator[Channel]:
    with postmark_line(replace(QUICK, delivery_s=_http.DELIVERY_S)) as channel:
        yield channel


def many(count: int, *, start: int = 0) -> list[Recipient]:
    return [
        recipient(str(n), f"p{n}@example.org", unsubscribe_url=f"https://s.example/u/{n}")
        for n in range(start, start + count)
    ]


def test_a_provider_gets_one_call_for_hundreds(postmark: Channel) -> None:
    outcomes = dict(postmark.send(notice(), iter(many(600))))
    assert [len(call) for call in Postmark.calls] == [500, 100]
    assert {o.result for o in outcomes.values()} == {Result.ACCEPTED}
    assert outcomes["7"].provider_id == "id-p7@example.org"
    headers = {
        h["Name"]: h["Value"] for h in cast(list[dict[str, str]], Postmark.calls[0][7]["Headers"])
    }
    assert headers["List-Unsubscribe"] == "<https://s.example/u/7>"
    assert headers["In-Reply-To"] == "<inc-abc123@follow.example>"
    assert "u/8" not in json.dumps(Postmark.calls[0][7])


def test_a_refused_address_in_a_call_does_not_hurt_the_others(postmark: Channel) -> None:
    batch = [*many(3), recipient("x", "inactive@example.org"), *many(3, start=3)]
    outcomes = dict(postmark.send(notice(), iter(batch)))
    assert outcomes.pop("x").result is Result.REFUSED
    assert {o.result for o in outcomes.values()} == {Result.ACCEPTED}


def test_an_address_that_spoils_the_whole_call_is_found(postmark: Channel) -> None:
    batch = [*many(5), recipient("x", "poison@example.org"), *many(5, start=5)]
    outcomes = dict(postmark.send(notice(), iter(batch)))
    assert outcomes.pop("x").result is Result.REFUSED
    assert {o.result for o in outcomes.values()} == {Result.ACCEPTED}
    assert sorted(str(m["To"]) for call in Postmark.calls for m in call) == sorted(
        f"p{n}@example.org" for n in range(10)
    )


@pytest.mark.slow
def test_looking_for_who_spoils_a_call_takes_no_longer_than_one_delivery_may() -> None:
    with postmark_line(QUICK) as channel:
        Postmark.shape, Postmark.pause_s = "422", 0.1
        outcomes = dict(channel.send(notice(), iter(many(500))))
    assert len(outcomes) == 500
    # QUICK leaves 1.5 s, that is fifteen such answers; halving to the end would take a thousand.
    assert Postmark.asked <= 15
    assert Result.RETRY in {outcome.result for outcome in outcomes.values()}


def test_an_address_twice_in_a_batch_gets_both(postmark: Channel) -> None:
    batch = [recipient("1", "same@example.org"), recipient("2", "same@example.org")]
    outcomes = dict(postmark.send(notice(), iter(batch)))
    assert [o.result for o in outcomes.values()] == [Result.ACCEPTED] * 2
    assert [len(call) for call in Postmark.calls] == [1, 1]


@pytest.mark.parametrize(
    ("shape", "result", "after_s"),
    [
        ("429", Result.RETRY, 77),
        ("401", Result.RETRY, 3600),
        ("500", Result.UNKNOWN, None),
        ("503", Result.UNKNOWN, None),
        ("drop", Result.UNKNOWN, None),
    ],
)
def test_a_call_that_fails_settles_everybody_in_it(
    postmark: Channel, shape: str, result: Result, after_s: float | None
) -> None:
    Postmark.shape = shape
    outcomes = dict(postmark.send(notice(), iter(many(3))))
    assert [(o.result, o.retry_after_s) for o in outcomes.values()] == [(result, after_s)] * 3


def test_a_provider_channel_pulls_no_more_than_one_call(postmark: Channel) -> None:
    batch = iter(many(1200))
    next(postmark.send(notice(), batch))
    assert 1200 - len(list(batch)) == postmark.group == 500
