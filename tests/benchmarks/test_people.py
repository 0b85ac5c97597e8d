"""The measures of the people's room measure: a difference is seen, a wrong mail is named."""

import random
from datetime import UTC, datetime

import pytest

from benchmarks import ranks, rfc_mail

NOW = datetime(2026, 11, 27, 10, tzinfo=UTC)
GOOD = (
    b"From: Follow <status@follow.example>\r\nTo: a@x.example\r\nDate: Fri, 27 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <inc-1.u1.9@follow.example>\r\nSubject: Down\r\nAuto-Submitted: auto-generated\r\n"
    b"List-Unsubscribe: <https://s.example/u/x>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nDown\r\n"
    b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Down</p>\r\n--b--\r\n"
)


def test_the_rank_test_tells_a_shift_and_not_chance() -> None:
    dice = random.Random(1)
    first = [dice.gauss(10, 1) for _ in range(1_000)]
    same = [dice.gauss(10, 1) for _ in range(1_000)]
    slower = [value + 0.2 for value in same]
    assert ranks.p_value(first, same) > 0.05
    assert ranks.p_value(first, slower) < 0.001
    assert ranks.p_value([1.0] * 20 + [2.0], [1.0] * 20 + [2.0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b"", b"", ""),
        (b"Date: Fri, 27", b"Date: Fri 27", "date"),
        (b"<inc-1.u1.9@follow.example>", b"<no id>", "message-id"),
        (b"To: a@x.example\r\n", b"To: a@x.example\r\nTo: b@x.example\r\n", "2 times"),
        (b"Subject: Down", "Subject: D\u00f6wn".encode(), "not ASCII"),
        (b"Down\r\n--b", b"Down\n--b", "stands alone"),
        (b"Down\r\n--b", b"D" * 999 + b"\r\n--b", "line of 999"),
        (b"=One-Click", b"=Once", "list-unsubscribe-post"),
        (b"List-Unsubscribe: <", b"List-Unsubscribe:\r\n <", "folded"),
        (b"--b--", b"", "closing boundary"),
    ],
)
def test_a_wrong_mail_is_named(old: bytes, new: bytes, word: str) -> None:
    found = rfc_mail.faults(GOOD.replace(old, new, 1) if old else GOOD, now=NOW, one_click=True)
    assert (word in " ".join(found)) if word else (found == [])
