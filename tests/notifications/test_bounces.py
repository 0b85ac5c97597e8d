"""Mails that come back, in the words of the servers that sent them."""

import pytest

from notifications import bounces
from notifications.bounces import Bounce

SECRET = "only-for-tests"
SENDER = "Status <status@status.test>"


def report(
    *, action: str = "failed", status: str = "5.1.1", to: str = "", diagnostic: str = "smtp; 550 5.1.1 <parent@family.example>: no such user"
) -> bytes:  # fmt: skip
    """Return a delivery status notification as Postfix writes it."""
    to = to or bounces.return_path(SENDER, "17", SECRET)
    return f"""\
Return-Path: <>
From: MAILER-DAEMON@mx.family.example (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b/1"

--b/1
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.family.example.

--b/1
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.family.example
Arrival-Date: Mon, 30 Nov 2026 01:05:10 -0500 (EST)

Final-Recipient: rfc822; parent@family.example
Action: {action}
Status: {status}
Diagnostic-Code: {diagnostic}

--b/1
Content-Type: text/rfc822-headers

From: Status <status@status.test>
To: parent@family.example
Subject: Followers may not receive readings

--b/1--
""".replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("action", "status", "failed", "dead"),
    [
        pytest.param("failed", "5.1.1", True, True, id="no such mailbox"),
        pytest.param("failed", "5.1.2", True, True, id="no such domain"),
        pytest.param("failed", "5.4.4", True, True, id="a domain without a mail server"),
        pytest.param("failed", "5.2.1", True, True, id="the mailbox is closed"),
        pytest.param("failed", "5.2.2", True, False, id="a full mailbox is no dead address"),
        pytest.param("failed", "5.7.1", True, False, id="a filter's refusal is no word about the address"),
        pytest.param("failed", "4.4.7", True, False, id="given up after days"),
        pytest.param("delayed", "4.4.1", False, False, id="only late"),
        pytest.param("FAILED", "5.1.1 ", True, True, id="case and blanks do not matter"),
    ],
)  # fmt: skip
def test_what_a_report_says(action: str, status: str, failed: bool, dead: bool) -> None:
    found = bounces.read(report(action=action, status=status), SECRET)
    assert found is not None
    assert (found.delivery, found.failed, found.dead) == (17, failed, dead)


def test_the_reason_is_the_servers_and_holds_nobodys_address() -> None:
    found = bounces.read(report(), SECRET)
    assert found == Bounce(17, True, True, "5.1.1 550 5.1.1 the address: no such user")


def test_the_reason_is_one_that_a_database_takes() -> None:
    raw = report(diagnostic="smtp; 550 no\x00 such é").decode().encode("latin-1")
    found = bounces.read(raw, SECRET)
    assert found == Bounce(17, True, True, "5.1.1 550 no such \N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(report(action="delivered", status="2.0.0"), id="it arrived"),
        pytest.param(report(action="relayed"), id="it went on"),
        pytest.param(report(to="status@status.test"), id="to no delivery"),
        pytest.param(report(to="status+b-18-AAAAAAAAAAAAAAAAAAAAAA@status.test"), id="a forged token"),
        pytest.param(
            report(to=bounces.return_path(SENDER, "17", "another secret")), id="another installation's"
        ),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe\x00", id="no mail at all"),
        pytest.param(
            report().replace(b"message/delivery-status", b"text/plain"), id="a holiday notice to the same address"
        ),
        pytest.param(report() + b"x" * bounces.BYTES_MAX, id="larger than any bounce"),
    ],
)  # fmt: skip
def test_what_is_no_bounce_of_ours_changes_nothing(raw: bytes) -> None:
    assert bounces.read(raw, SECRET) is None


def test_the_address_it_comes_back_to_fits_and_names_the_delivery() -> None:
    path = bounces.return_path(SENDER, "123456789", SECRET)
    assert path.startswith("status+b-123456789-")
    assert path.endswith("@status.test")
    assert len(path.rpartition("@")[0]) <= 64


def test_a_long_sender_keeps_its_own_address() -> None:
    long = f"{'x' * 50}@status.test"
    assert bounces.return_path(long, "17", SECRET) == long
