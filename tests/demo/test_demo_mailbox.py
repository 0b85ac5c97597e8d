"""The mailbox: what arrives is kept, shown safely and counted, and it can be broken."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
import requests

from demo.mailbox import Mailbox, running
from demo.store import Store, wanted_headers

TIMEOUT_S = 5
# JSON of a stranger: its shape is what the test looks at.
Json = Any


@pytest.fixture(scope="module")
def service() -> Iterator[Mailbox]:
    """One mailbox for the whole file."""
    with running() as mailbox:
        yield mailbox


@pytest.fixture
def mailbox(service: Mailbox) -> Iterator[Mailbox]:
    """The mailbox, empty and whole again afterwards."""
    yield service
    service.put_faults({})
    requests.delete(f"{service.url}/messages", timeout=TIMEOUT_S)


def connected(mailbox: Mailbox) -> smtplib.SMTP:
    return smtplib.SMTP(*mailbox.smtp_address, timeout=TIMEOUT_S)


def letter(to: str = "ana@example.org", subject: str = "Follow is down") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Follow status <status@example.org>"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = f"<inc-1.u1.{to}>"
    message["References"] = "<inc-1@example.org>"
    message["List-Unsubscribe"] = f"<https://status.example.org/u/{'t' * 60}>, <mailto:u@x.org>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("Confirm: https://status.example.org/confirm/abc.\n.\n..two dots\n")
    message.add_alternative("<h1>Down</h1><script>alert(1)</script>", subtype="html")
    return message


def send(mailbox: Mailbox, *messages: EmailMessage) -> None:
    with connected(mailbox) as client:
        for message in messages:
            client.send_message(message)


def page(mailbox: Mailbox, path: str) -> requests.Response:
    return requests.get(f"{mailbox.url}{path}", timeout=TIMEOUT_S)


def last_number(mailbox: Mailbox) -> Json:
    return mailbox.messages()[-1]["n"]


def test_a_message_is_listed_with_its_metadata(mailbox: Mailbox) -> None:
    send(mailbox, letter(subject="Caída: señal — Follow"))
    [found] = mailbox.messages()
    assert found["to"] == ["ana@example.org"]
    assert found["subject"] == "Caída: señal — Follow"
    assert found["from"] == "Follow status <status@example.org>"
    assert found["message_id"] == "<inc-1.u1.ana@example.org>"
    assert found["references"] == "<inc-1@example.org>"
    assert found["auto_submitted"] == "auto-generated"
    assert "/u/ttt" in str(found["list_unsubscribe"])
    assert str(found["list_unsubscribe"]).endswith("<mailto:u@x.org>")
    assert found["envelope_from"] == "status@example.org"


def test_the_raw_message_is_what_was_sent_dots_and_all(mailbox: Mailbox) -> None:
    sent = letter().as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    with connected(mailbox) as client:
        client.sendmail("s@example.org", ["a@example.org"], sent)
    raw = page(mailbox, f"/messages/{last_number(mailbox)}.eml").content
    assert raw == sent
    assert b"\r\n.\r\n..two dots\r\n" in raw


def test_messages_come_in_order_since_a_number(mailbox: Mailbox) -> None:
    send(mailbox, *(letter(f"p{n}@example.org") for n in range(6)))
    numbers: list[Json] = [found["n"] for found in mailbox.messages()]
    assert numbers == sorted(numbers)
    third = numbers[2]
    assert [found["to"] for found in mailbox.messages(since=third)] == [
        ["p3@example.org"],
        ["p4@example.org"],
        ["p5@example.org"],
    ]
    assert [found["to"] for found in mailbox.messages(since=third, limit=1)] == [["p3@example.org"]]
    assert mailbox.messages(since=numbers[-1]) == []


def test_one_message_to_many_counts_once_with_all_recipients(mailbox: Mailbox) -> None:
    with connected(mailbox) as client:
        client.sendmail("s@example.org", ["a@example.org", "b@example.org"], b"Subject: x\r\n\r\nx")
    assert mailbox.messages()[0]["to"] == ["a@example.org", "b@example.org"]


def test_the_count_and_the_emptying(mailbox: Mailbox) -> None:
    send(mailbox, letter(), letter())
    assert page(mailbox, "/count").json()["count"] == 2
    assert requests.delete(f"{mailbox.url}/messages", timeout=TIMEOUT_S).json() == {"count": 0}
    assert page(mailbox, "/count").json()["count"] == 0


def test_an_odd_page_of_the_list_is_refused_in_one_sentence(mailbox: Mailbox) -> None:
    answer = page(mailbox, "/messages.json?limit=many")
    assert (answer.status_code, answer.json()["error"][:5]) == (400, "limit")


def test_the_page_lists_and_shows_a_message_without_running_it(mailbox: Mailbox) -> None:
    send(mailbox, letter(subject="<b>bold</b>"))
    number = last_number(mailbox)
    home = page(mailbox, "/")
    assert f"/messages/{number}" in home.text
    assert "&lt;b&gt;bold&lt;/b&gt;" in home.text
    shown = page(mailbox, f"/messages/{number}")
    assert "<script>" not in shown.text
    assert 'sandbox="allow-popups' in shown.text
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert "script-src" not in shown.headers["Content-Security-Policy"]
    assert '<a href="https://status.example.org/confirm/abc"' in shown.text
    assert "List-Unsubscribe" in shown.text


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing at all"),
        pytest.param(b"no header\r\n\r\nbody", id="no header"),
        pytest.param(b"Subject: =?utf-8?b?broken\r\n\r\nx", id="broken encoded word"),
        pytest.param(b"Subject: =?no-such-charset?q?x?=\r\n\r\nx", id="unknown header charset"),
        pytest.param(b"Content-Type: text/plain; charset=no-such\r\n\r\nx", id="unknown charset"),
        pytest.param(b"Content-Type: multipart/mixed\r\n\r\nx", id="multipart without boundary"),
        pytest.param(
            b"From: <<>>,\r\nTo: @@\r\nDate: never\r\n\r\n\xff\xfe", id="broken addresses"
        ),
    ],
)
def test_a_broken_message_is_kept_and_shown(mailbox: Mailbox, raw: bytes) -> None:
    with connected(mailbox) as client:
        client.sendmail("s@example.org", ["a@example.org"], raw)
    number = last_number(mailbox)
    assert page(mailbox, f"/messages/{number}").status_code == 200
    assert page(mailbox, f"/messages/{number}.eml").status_code == 200
    assert page(mailbox, "/").status_code == 200


def test_a_message_that_is_not_there_is_404(mailbox: Mailbox) -> None:
    assert page(mailbox, "/messages/999999").status_code == 404
    assert page(mailbox, "/messages/999999.eml").status_code == 404


# Faults.


@pytest.mark.parametrize(("shape", "code"), [("550", 550), ("451", 451)])
def test_an_address_is_refused_and_the_others_are_taken(
    mailbox: Mailbox, shape: str, code: int
) -> None:
    mailbox.put_faults({"shape": shape, "address": "*@bad.example"})
    with connected(mailbox) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail("s@example.org", ["x@bad.example"], b"x")
        client.sendmail("s@example.org", ["x@good.example"], b"x")
    assert refused.value.recipients["x@bad.example"][0] == code
    assert [found["to"] for found in mailbox.messages()] == [["x@good.example"]]


def test_a_connection_dropped_after_the_data_leaves_the_message(mailbox: Mailbox) -> None:
    mailbox.put_faults({"shape": "drop-after-data", "count": 1})
    client = connected(mailbox)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        client.send_message(letter())
    client.close()
    assert len(mailbox.messages()) == 1
    send(mailbox, letter())
    assert len(mailbox.messages()) == 2


def test_a_slow_answer_is_late_and_the_next_command_waits(mailbox: Mailbox) -> None:
    mailbox.put_faults({"shape": "slow", "delay_s": 0.3})
    with connected(mailbox) as client:
        client.timeout = 0.1
        client.send_message(letter())
        assert client.noop()[0] == 250
    assert len(mailbox.messages()) == 1


def test_a_ratio_strikes_the_same_way_each_time(mailbox: Mailbox) -> None:
    taken: list[int] = []
    for _ in range(2):
        mailbox.put_faults({"shape": "451", "ratio": 0.3, "seed": 5})
        codes = []
        with connected(mailbox) as client:
            client.ehlo()
            client.mail("s@example.org")
            codes = [client.rcpt(f"p{n}@example.org")[0] for n in range(50)]
        taken.append(codes.count(250))
        mailbox.put_faults({})
    assert taken[0] == taken[1]
    assert 25 <= taken[0] <= 45


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"shape": "999"}, id="shape"),
        pytest.param({"shape": "550", "address": 7}, id="address"),
        pytest.param({"ratio": 0.5}, id="no shape"),
        pytest.param(["550"], id="a list"),
    ],
)
def test_a_wrong_fault_is_refused_and_changes_nothing(mailbox: Mailbox, fault: Json) -> None:
    answer = requests.put(f"{mailbox.url}/faults", json=fault, timeout=TIMEOUT_S)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")
    assert page(mailbox, "/faults").json()["faults"] == {}


# The conversation itself.


def talk(mailbox: Mailbox, said: bytes) -> list[str]:
    """Say everything at once and return the answers until the server hangs up."""
    with socket.create_connection(mailbox.smtp_address, TIMEOUT_S) as conversation:
        conversation.sendall(said)
        heard = b""
        while piece := conversation.recv(65536):
            heard += piece
    return [line[:3] for line in heard.decode().splitlines()]


def test_a_pipelined_conversation_is_answered_in_order(mailbox: Mailbox) -> None:
    envelope = b"MAIL FROM:<s@x.org>\r\nRCPT TO:<a@x.org>\r\nDATA\r\nSubject: 1\r\n\r\nx\r\n.\r\n"
    answers = talk(mailbox, b"HELO me\r\n" + envelope * 2 + b"QUIT\r\n")
    assert answers == ["220", "250", *(["250", "250", "354", "250"] * 2), "221"]
    assert len(mailbox.messages()) == 2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param(b"RCPT TO:<a@x.org>\r\n", "503", id="RCPT before MAIL"),
        pytest.param(b"DATA\r\n", "503", id="DATA before RCPT"),
        pytest.param(b"MAIL FROM:nobody\r\n", "501", id="no address"),
        pytest.param(b"TURN\r\n", "502", id="unknown command"),
    ],
)
def test_a_wrong_command_is_told_so(mailbox: Mailbox, said: bytes, code: str) -> None:
    assert talk(mailbox, said + b"QUIT\r\n") == ["220", code, "221"]


def test_an_endless_line_is_cut_off(mailbox: Mailbox) -> None:
    assert talk(mailbox, b"X" * 5000) == ["220", "552"]


def test_an_end_of_message_cut_in_two_is_found(mailbox: Mailbox) -> None:
    with socket.create_connection(mailbox.smtp_address, TIMEOUT_S) as conversation:
        lines = conversation.makefile("rb")
        conversation.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"MAIL FROM:<s@x.org>\r\n", b"RCPT TO:<a@x.org>\r\n", b"DATA\r\n"):
            conversation.sendall(piece)
            lines.readline()
        lines.readline()
        for piece in (b"Subject: cut\r\n\r\nx\r", b"\n.", b"\r", b"\nQUIT\r\n"):
            conversation.sendall(piece)
            time.sleep(0.05)  # Each piece has to arrive by itself.
        assert [lines.readline()[:3] for _ in range(2)] == [b"250", b"221"]
        lines.close()
    assert mailbox.messages()[0]["subject"] == "cut"


def test_pipelining_can_be_switched_off(mailbox: Mailbox) -> None:
    with connected(mailbox) as client:
        client.ehlo()
        assert client.has_extn("pipelining")
    with running(pipelining=False) as plain, connected(plain) as client:
        client.ehlo()
        assert not client.has_extn("pipelining")


# Memory.


def test_old_messages_become_light() -> None:
    store = Store(whole_max=3)
    for number in range(5):
        store.add("s@x.org", (f"p{number}@x.org",), b"Subject: same\r\nMessage-ID: <1>\r\n\r\nx")
    assert [store.whole(number) is not None for number in range(1, 6)] == [False] * 2 + [True] * 3
    assert [light.to[0] for light in store.after(0, 10)] == [f"p{n}@x.org" for n in range(5)]
    assert store.metadata(store.after(0, 1)[0])["is_whole"] is False


def test_big_messages_do_not_fill_the_memory() -> None:
    store = Store(whole_bytes_max=2500)
    for _ in range(5):
        store.add("s@x.org", ("p@x.org",), b"x" * 1000)
    assert [store.whole(number) is not None for number in range(1, 6)] == [False] * 3 + [True] * 2


def test_headers_are_read_unfolded_and_from_the_head_only() -> None:
    raw = b"subject: one\r\n two\r\nX-Other: 1\r\n\r\nSubject: three\r\n"
    assert wanted_headers(raw) == {"subject": "one two"}
