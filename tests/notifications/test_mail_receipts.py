"""Events of mail providers, each from the payload that its documentation shows, through Anymail's reader of it."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from django.conf import settings
from django.test import Client

from notifications.channels import _esp
from notifications.models import Delivery, DeliveryState, Turned
from notifications.receipts import mail
from subscribers.models import Suppression
from tests import world
from tests.notifications.test_outbox import queue

pytestmark = pytest.mark.django_db
READER = "parent@family.example"
ID = "0c3d7a1e-93d5-4a2d-8e1b-message"
SECRET = "agreed:upon"
NOW = datetime.now(UTC)
STAMP = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
EPOCH = int(NOW.timestamp())
SENDGRID_KEY = ec.generate_private_key(ec.SECP256R1())
POSTAL_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: Any) -> str:  # Any: the two kinds of keys share no type
    """Return a public key as the providers show it: base64 without the frame."""
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return "".join(pem.decode().splitlines()[1:-1])


@dataclass(frozen=True, slots=True)
class Posted:
    body: bytes
    headers: dict[str, str]
    content_type: str = "application/json"


def as_json(payload: object) -> Posted:
    given = base64.b64encode(SECRET.encode()).decode()
    return Posted(json.dumps(payload).encode(), {"Authorization": f"Basic {given}"})


# --- one function per provider: its event for a word of ours, signed as it signs ---------------------------------------


def postmark(word: str) -> Posted:
    """https://postmarkapp.com/developer/webhooks/webhooks-overview."""
    bounce = {"RecordType": "Bounce", "ID": 4323372036854775807, "Inactive": True, "BouncedAt": STAMP,
              "Email": READER, "Description": "The server was unable to deliver your message"}  # fmt: skip
    words: dict[str, dict[str, Any]] = {
        "delivered": {"RecordType": "Delivery", "Recipient": READER, "DeliveredAt": STAMP, "Details": "250 OK"},
        "hard": bounce | {"Type": "HardBounce", "TypeCode": 1},
        "soft": bounce | {"Type": "SoftBounce", "TypeCode": 4096, "Inactive": False},
        "complained": {"RecordType": "SpamComplaint", "Type": "SpamComplaint", "Email": READER, "BouncedAt": STAMP},
        "opened": {"RecordType": "Open", "Recipient": READER, "ReceivedAt": STAMP, "FirstOpen": True},
    }  # fmt: skip
    return as_json(words[word] | {"MessageID": ID, "ServerID": 23, "Tag": "", "Metadata": {}})


def mailgun(word: str) -> Posted:
    """https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure/."""
    status = {"code": 550, "message": "No such user", "description": ""}
    words: dict[str, dict[str, Any]] = {
        "delivered": {"event": "delivered", "delivery-status": {"code": 250, "message": "OK"}},
        "hard": {"event": "failed", "severity": "permanent", "reason": "bounce", "delivery-status": status},
        "soft": {"event": "failed", "severity": "temporary", "reason": "generic", "delivery-status": status},
        "complained": {"event": "complained"},
        "opened": {"event": "opened"},
    }  # fmt: skip
    event = words[word] | {
        "id": "DACSsAdVSeGpLid7TN03WA", "timestamp": EPOCH, "recipient": READER, "user-variables": {}, "tags": [],
        "message": {"headers": {"message-id": ID, "to": READER}},
    }  # fmt: skip
    token, stamp = "50 random characters", str(EPOCH)
    signed = hmac.new(SECRET.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    signature = {"token": token, "timestamp": stamp, "signature": signed}
    return as_json({"signature": signature, "event-data": event})


def sendgrid(word: str) -> Posted:
    """https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event."""
    words: dict[str, dict[str, Any]] = {
        "delivered": {"event": "delivered", "response": "250 OK"},
        "hard": {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 no such user"},
        "soft": {"event": "deferred", "response": "400 try again later", "attempt": "5"},
        "complained": {"event": "spamreport"},
        "opened": {"event": "open"},
    }  # fmt: skip
    body = json.dumps([words[word] | {
        "email": READER, "timestamp": EPOCH, "sg_event_id": "ZGVsaXZlcmVk", "sg_message_id": "14c5d75ce93.dfd",
        "smtp-id": f"<{ID}>", "anymail_id": ID,
    }]).encode()  # fmt: skip
    stamp = str(EPOCH)
    signed = SENDGRID_KEY.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return Posted(body, {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signed).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
    })  # fmt: skip


def resend(word: str) -> Posted:
    """https://resend.com/docs/dashboard/webhooks/event-types."""
    kinds = {"delivered": "email.delivered", "hard": "email.bounced", "soft": "email.bounced",
             "complained": "email.complained", "opened": "email.opened"}  # fmt: skip
    bounce = {
        "type": "Permanent" if word == "hard" else "Transient",
        "subType": "General",
        "message": "The recipient's email provider sent a hard bounce message.",
    }
    said: dict[str, object] = {
        "created_at": STAMP,
        "email_id": ID,
        "from": "s@status.test",
        "to": [READER],
        "subject": "x",
    }
    if kinds[word] == "email.bounced":
        said["bounce"] = bounce
    posted = as_json({"type": kinds[word], "created_at": STAMP, "data": said})
    return Posted(posted.body, posted.headers | {"svix-id": "msg_1"})


def brevo(word: str) -> Posted:
    """https://developers.brevo.com/docs/transactional-webhooks."""
    words = {
        "delivered": "delivered",
        "hard": "hard_bounce",
        "soft": "soft_bounce",
        "complained": "spam",
        "opened": "opened",
    }
    return as_json({
        "event": words[word], "email": READER, "id": 26224, "date": STAMP, "ts_event": EPOCH, "ts": EPOCH,
        "message-id": f"<{ID}>", "subject": "x", "reason": "no such user", "tags": [],
    })  # fmt: skip


def mailjet(word: str) -> Posted:
    """https://dev.mailjet.com/email/guides/webhooks/#event-types."""
    words: dict[str, dict[str, Any]] = {
        "delivered": {"event": "sent", "smtp_reply": "sent (250 2.0.0 OK)"},
        "hard": {"event": "bounce", "hard_bounce": True, "blocked": False, "error": "user unknown", "error_related_to": "recipient"},
        "soft": {"event": "bounce", "hard_bounce": False, "blocked": False, "error": "mailbox inactive", "error_related_to": "recipient"},
        "complained": {"event": "spam", "source": "JMRPP"},
        "opened": {"event": "open"},
    }  # fmt: skip
    return as_json(
        [
            words[word]
            | {"time": EPOCH, "MessageID": ID, "email": READER, "CustomID": "", "Payload": ""}
        ]
    )


def mailersend(word: str) -> Posted:
    """https://developers.mailersend.com/general.html#webhooks."""
    kinds = {
        "delivered": "delivered",
        "hard": "hard_bounced",
        "soft": "soft_bounced",
        "complained": "spam_complaint",
        "opened": "opened",
    }
    morph = (
        {"object": "recipient_bounce", "reason": "no such user"}
        if word in ("hard", "soft")
        else None
    )
    body = json.dumps({
        "type": f"activity.{kinds[word]}", "created_at": STAMP,
        "data": {
            "object": "activity", "id": "62fb66bef54a112e920b5493", "type": kinds[word], "created_at": STAMP, "morph": morph,
            "email": {"object": "email", "id": "6", "message": {"object": "message", "id": ID}, "tags": [],
                      "recipient": {"object": "recipient", "email": READER}},
        },
    }).encode()  # fmt: skip
    return Posted(body, {"Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()})


def mailtrap(word: str) -> Posted:
    """https://docs.mailtrap.io/email-api-smtp/advanced/webhooks."""
    words: dict[str, dict[str, Any]] = {
        "delivered": {"event": "delivery"},
        "hard": {"event": "bounce", "bounce_category": "bad_mailbox", "response": "550 no such user", "response_code": 550},
        "soft": {"event": "soft bounce", "response": "452 full", "response_code": 452},
        "complained": {"event": "spam"},
        "opened": {"event": "open"},
    }  # fmt: skip
    event = words[word] | {
        "email": READER,
        "timestamp": EPOCH,
        "message_id": ID,
        "event_id": "1",
        "sending_stream": "transactional",
    }
    body = json.dumps({"events": [event]}).encode()
    return Posted(
        body, {"Mailtrap-Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
    )


def mandrill(word: str) -> Posted:
    """https://mailchimp.com/developer/transactional/docs/webhooks/."""
    words: dict[str, dict[str, Any]] = {
        "delivered": {"event": "delivered"},
        "hard": {"event": "hard_bounce", "msg": {"bounce_description": "bad_mailbox", "diag": "550 no such user"}},
        "soft": {"event": "soft_bounce", "msg": {"bounce_description": "mailbox_full", "diag": "452 full"}},
        "complained": {"event": "spam"},
        "opened": {"event": "open"},
    }  # fmt: skip
    said = words[word]
    message = {"_id": ID, "email": READER, "ts": EPOCH, "tags": [], "metadata": {}} | said.get(
        "msg", {}
    )
    events = json.dumps([{"event": said["event"], "_id": ID, "ts": EPOCH, "msg": message}])
    url = f"{settings.SITE_URL}/receipts/email/mandrill"
    digest = hmac.new(
        SECRET.encode(), f"{url}mandrill_events{events}".encode(), hashlib.sha1
    ).digest()
    return Posted(
        f"mandrill_events={quote_plus(events)}".encode(),
        {"X-Mandrill-Signature": base64.b64encode(digest).decode()},
        "application/x-www-form-urlencoded",
    )


def sparkpost(word: str) -> Posted:
    """https://developers.sparkpost.com/api/webhooks/."""
    words: dict[str, dict[str, Any]] = {
        "delivered": {"type": "delivery"},
        "hard": {"type": "bounce", "bounce_class": "10", "raw_reason": "550 no such user"},
        "soft": {"type": "delay", "bounce_class": "22", "raw_reason": "452 full"},
        "complained": {"type": "spam_complaint"},
    }
    event = words[word] | {
        "rcpt_to": READER,
        "raw_rcpt_to": READER,
        "timestamp": str(EPOCH),
        "transmission_id": ID,
        "event_id": "92356927693813856",
        "rcpt_meta": {},
    }
    key = {"spam_complaint": "message_event"}.get(str(event["type"]), "message_event")
    return as_json([{"msys": {key: event}}])


def postal(word: str) -> Posted:
    """https://docs.postalserver.io/developer/webhooks."""
    message = {
        "id": ID,
        "token": "abcdef123",
        "direction": "outgoing",
        "message_id": ID,
        "to": READER,
        "from": "s@status.test",
        "timestamp": EPOCH,
    }
    payloads: dict[str, dict[str, Any]] = {
        "delivered": {"message": message, "status": "Sent", "details": "accepted", "output": "250 2.0.0 OK", "timestamp": EPOCH},
        "soft": {"message": message, "status": "SoftFail", "details": "later", "output": "452 full", "timestamp": EPOCH},
        "hard": {"original_message": message, "bounce": message | {"id": "b"}},
        "failed": {"message": message, "status": "HardFail", "details": "refused", "output": "550 no such user", "timestamp": EPOCH},
    }  # fmt: skip
    body = json.dumps(
        {"event": "MessageX", "timestamp": float(EPOCH), "uuid": "u", "payload": payloads[word]}
    ).encode()
    signed = POSTAL_KEY.sign(body, padding.PKCS1v15(), hashes.SHA1())  # Postal's own choice of hash
    return Posted(body, {"X-Postal-Signature": base64.b64encode(signed).decode()})


def unisender_go(word: str) -> Posted:
    """https://godocs.unisender.ru/web-api-ref#callback-format."""
    words = {"delivered": ("delivered", ""), "hard": ("hard_bounced", "err_user_unknown"), "soft": ("soft_bounced", "err_mailbox_full"),
             "complained": ("spam", ""), "opened": ("opened", "")}  # fmt: skip
    status, reason = words[word]
    event = {
        "event_name": "transactional_email_status",
        "event_data": {"job_id": ID, "metadata": {"anymail_id": ID}, "email": READER, "status": status,
                       "event_time": NOW.strftime("%Y-%m-%d %H:%M:%S"), "delivery_info": {"delivery_status": reason}},
    }  # fmt: skip
    payload = {"auth": "KEY", "events_by_user": [{"user_id": 1, "events": [event]}]}
    unsigned = json.dumps(payload).encode()
    return Posted(unsigned.replace(b'"KEY"', f'"{hashlib.md5(unsigned).hexdigest()}"'.encode()), {})


def resigned(provider: str, body: bytes) -> Posted:
    """Return any body with a provider's proof, where the proof is not in the body itself."""
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    stamped = SENDGRID_KEY.sign(str(EPOCH).encode() + body, ec.ECDSA(hashes.SHA256()))
    return Posted(body, as_json(None).headers | {
        "Signature": mac,
        "Mailtrap-Signature": mac,
        "X-Twilio-Email-Event-Webhook-Timestamp": str(EPOCH),
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(stamped).decode(),
        "X-Postal-Signature": base64.b64encode(POSTAL_KEY.sign(body, padding.PKCS1v15(), hashes.SHA1())).decode(),
    })  # fmt: skip


MAKERS = {
    "brevo": brevo, "mailersend": mailersend, "mailgun": mailgun, "mailjet": mailjet, "mailtrap": mailtrap,
    "mandrill": mandrill, "postal": postal, "postmark": postmark, "resend": resend, "sendgrid": sendgrid,
    "sparkpost": sparkpost, "unisender_go": unisender_go,
}  # fmt: skip
SECRETS = {"sendgrid": public(SENDGRID_KEY), "postal": public(POSTAL_KEY), "unisender_go": "KEY"}
# Word -> (state afterwards, suppressed?). Absent ones are listed in docs/reference.md.
OUTCOMES = {
    "delivered": ("delivered", False),
    "opened": ("delivered", False),
    "hard": ("bounced", True),
    "failed": ("bounced", False),
    "complained": ("accepted", True),
}
SOFT = {
    # Providers that go on trying say so; those that gave up for today do not take the address for dead.
    **dict.fromkeys(("mailgun", "sendgrid", "sparkpost", "postal", "unisender_go", "mailtrap"), "accepted"),
    **dict.fromkeys(("mailersend", "postmark", "resend", "brevo", "mailjet", "mandrill"), "bounced"),
}  # fmt: skip
ABSENT = {
    ("sparkpost", "opened"), ("mandrill", "delivered"), ("postal", "opened"), ("postal", "complained"),
    *((provider, "failed") for provider in MAKERS if provider != "postal"),
}  # fmt: skip


@pytest.fixture
def delivery() -> Delivery:
    world.person("email", READER)
    queue(world.incident(world.component()))
    found = Delivery.objects.get()
    Delivery.objects.update(
        state=DeliveryState.ACCEPTED, accepted_at=world.NOW, provider_id=f"<{ID}>"
    )
    return found


def configured(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = settings.ENVIRON.raw
    keys = "KEY:SECRET" if provider == "mailjet" else "KEY"
    monkeypatch.setitem(raw, "EMAIL_URL", f"anymail+{provider.replace('_', '-')}://{keys}")
    monkeypatch.setitem(raw, "EMAIL_WEBHOOK_SECRET", SECRETS.get(provider, SECRET))


def post(provider: str, posted: Posted) -> int:
    return (
        Client()
        .post(
            f"/receipts/email/{provider}", posted.body, content_type=posted.content_type, headers=posted.headers
        )
        .status_code
    )  # fmt: skip


CASES = [
    (provider, word) for provider in MAKERS for word in OUTCOMES if (provider, word) not in ABSENT
]


@pytest.mark.parametrize(("provider", "word"), CASES)
def test_an_event_moves_its_delivery(
    provider: str, word: str, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(provider, monkeypatch)
    for _ in range(3):
        assert post(provider, MAKERS[provider](word)) == 200
    delivery.refresh_from_db()
    suppressed = Suppression.objects.filter(channel="email").exists()
    assert (delivery.state, suppressed) == OUTCOMES[word]
    assert READER not in delivery.why


def svix(posted: Posted, key: str, *, at: datetime = NOW) -> Posted:
    """https://docs.svix.com/receiving/verifying-payloads/how-manual: HMAC over id, time and body."""
    stamp = str(int(at.timestamp()))
    mac = hmac.new(
        base64.b64decode(key.removeprefix("whsec_")),
        b"msg_1." + stamp.encode() + b"." + posted.body,
        hashlib.sha256,
    )
    signature = f"v1,{base64.b64encode(mac.digest()).decode()}"
    return Posted(
        posted.body, {"svix-id": "msg_1", "svix-timestamp": stamp, "svix-signature": signature}
    )


SVIX_KEYS = [f"whsec_{base64.b64encode(bytes([number]) * 24).decode()}" for number in (1, 2)]


@pytest.mark.parametrize(
    ("signed_with", "late", "status", "becomes"),
    [
        pytest.param(SVIX_KEYS[0], timedelta(), 200, "delivered", id="ours"),
        pytest.param(SVIX_KEYS[1], timedelta(), 403, "accepted", id="another key"),
        pytest.param(SVIX_KEYS[0], timedelta(minutes=6), 403, "accepted", id="recorded"),
    ],
)
def test_resends_own_signature_is_checked(
    signed_with: str,
    late: timedelta,
    status: int,
    becomes: str,
    delivery: Delivery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configured("resend", monkeypatch)
    monkeypatch.setitem(settings.ENVIRON.raw, "EMAIL_WEBHOOK_SECRET", SVIX_KEYS[0])
    now = datetime.now(UTC)
    assert post("resend", svix(resend("delivered"), signed_with, at=now - late)) == status
    delivery.refresh_from_db()
    assert delivery.state == becomes


def test_with_resends_key_a_password_opens_nothing(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("resend", monkeypatch)
    monkeypatch.setitem(settings.ENVIRON.raw, "EMAIL_WEBHOOK_SECRET", SVIX_KEYS[0])
    given = base64.b64encode(SVIX_KEYS[0].encode()).decode()
    plain = resend("delivered")
    assert post("resend", Posted(plain.body, {"Authorization": f"Basic {given}"})) == 403


@pytest.mark.parametrize("provider", sorted(MAKERS))
def test_a_bounce_for_today_suppresses_nobody(
    provider: str, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(provider, monkeypatch)
    assert post(provider, MAKERS[provider]("soft")) == 200
    delivery.refresh_from_db()
    assert (delivery.state, Suppression.objects.exists()) == (SOFT[provider], False)


@pytest.mark.parametrize("provider", sorted(MAKERS))
def test_an_event_without_its_proof_is_refused_counted_and_changes_nothing(
    provider: str, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(provider, monkeypatch)
    posted = MAKERS[provider]("delivered")
    bare = Posted(posted.body.replace(b'"signature":', b'"unsigned":'), {}, posted.content_type)
    if provider == "unisender_go":
        bare = Posted(posted.body.replace(b'"auth": "', b'"auth": "0'), {})
    assert post(provider, bare) == 403
    delivery.refresh_from_db()
    assert delivery.state == "accepted"
    assert Turned.objects.get(door="email").why == "forged"


def test_every_provider_that_we_send_with_is_here_or_known_to_tell_nothing() -> None:
    assert set(_esp.PROVIDERS) - set(mail.PROVIDERS) == {"scaleway"}
    assert set(MAKERS) == set(mail.PROVIDERS)


def test_without_the_agreed_secret_and_from_another_provider_nothing_is_taken(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("postmark", monkeypatch)
    assert post("brevo", brevo("hard")) == 403
    assert post("nobody", brevo("hard")) == 403
    monkeypatch.setitem(settings.ENVIRON.raw, "EMAIL_WEBHOOK_SECRET", "")
    assert post("postmark", postmark("hard")) == 403
    assert not Suppression.objects.exists()


def test_events_of_last_month_are_played_back_and_refused(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("postmark", monkeypatch)
    old = (NOW - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    posted = postmark("hard")
    assert (
        post("postmark", Posted(posted.body.replace(STAMP.encode(), old.encode()), posted.headers))
        == 403
    )
    assert Turned.objects.get().why == "replayed"
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[]", 400), (b'{"a": 1}', 200), (b"x" * 2_000_001, 413)]
)
def test_a_body_that_is_no_event_changes_nothing(
    body: bytes, status: int, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("postmark", monkeypatch)
    assert post("postmark", Posted(body, postmark("hard").headers)) == status
    delivery.refresh_from_db()
    assert delivery.state == "accepted"


SHAPES = (
    b"[]", b"{}", b"1", b'"x"', b"null", b"[[]]", b"[1]", b"[null]", b'{"events": 1}', b'{"signature": 1}',
    b'{"signature": []}', b'{"signature": null}', b'{"auth": 1}', b'{"auth": "0", "events_by_user": []}',
    b'{"auth": "0", "events_by_user": 1}', b'{"event-data": []}', b'{"data": []}', b'{"type": "email.bounced", "data": 1}',
    b"[" * 50_000, b"\xff", b"",
)  # fmt: skip


@pytest.mark.parametrize("provider", sorted(MAKERS))
def test_a_body_of_another_shape_is_no_fault_of_ours(
    provider: str, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(provider, monkeypatch)
    answers = {body[:40]: post(provider, resigned(provider, body)) for body in SHAPES}
    assert {body: status for body, status in answers.items() if status not in (200, 400, 403)} == {}
    delivery.refresh_from_db()
    assert delivery.state == "accepted"


@pytest.mark.parametrize("provider", ["mailgun", "unisender_go"])
def test_a_list_where_the_proof_is_in_an_object_is_refused_in_a_sentence(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(provider, monkeypatch)
    answer = Client().post(f"/receipts/email/{provider}", b"[]", content_type="application/json")
    assert answer.status_code == 400
    assert answer.content == b"this is no callback of this provider\n"
    assert Turned.objects.get(door="email").why == "unreadable"


@pytest.mark.parametrize(
    ("provider", "ours", "theirs", "status"),
    [
        pytest.param("mailjet", str(EPOCH), f"{EPOCH}{'0' * 30}", 400, id="a time that no calendar has"),
        pytest.param("postmark", STAMP, STAMP.rstrip("Z"), 400, id="a time without a zone"),
        pytest.param("postmark", READER, "\\ud800@family.example", 200, id="half a character"),
    ],
)  # fmt: skip
def test_an_event_with_a_value_that_is_none_changes_nothing(
    provider: str, ours: str, theirs: str, status: int, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    configured(provider, monkeypatch)
    posted = MAKERS[provider]("hard")
    odd = Posted(posted.body.replace(ours.encode(), theirs.encode()), posted.headers)
    assert post(provider, odd) == status
    delivery.refresh_from_db()
    assert delivery.state == "accepted"


def test_a_reason_that_no_database_takes_is_noted_without_what_it_does_not_take(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("postmark", monkeypatch)
    posted = postmark("hard")
    body = posted.body.replace(b"was unable", b"was\\u0000 \\ud800 unable")
    assert post("postmark", Posted(body, posted.headers)) == 200
    delivery.refresh_from_db()
    assert delivery.why == "The server was ? unable to deliver your message"


def test_an_event_about_another_mail_or_reader_changes_nothing(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("postmark", monkeypatch)
    posted = postmark("hard")
    for one, other in ((ID, "another-id"), (READER, "someone@else.example")):
        assert (
            post(
                "postmark",
                Posted(posted.body.replace(one.encode(), other.encode()), posted.headers),
            )
            == 200
        )
    delivery.refresh_from_db()
    assert (delivery.state, Suppression.objects.exists()) == ("accepted", False)
