"""What people write back: every word we promise to understand, and what must not be mistaken for one."""

from datetime import UTC, datetime, timedelta

import pytest

from notifications import replies
from notifications.replies import Meaning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((word, Meaning.STOP) for word in sorted(replies.STOP_WORDS)),
        *((word.upper(), Meaning.STOP) for word in ("stop", "revoke", "optout", "stopall")),
        ("please stop", Meaning.STOP),
        ("Please STOP!!", Meaning.STOP),
        ("stop please.", Meaning.STOP),
        ("STOP texting me", Meaning.STOP),
        ("stop all messages", Meaning.STOP),
        ("opt out", Meaning.STOP),
        ("Opt-out", Meaning.STOP),
        ("  Stop \n", Meaning.STOP),
        ("Arrêt", Meaning.STOP),
        ("start", Meaning.START),
        ("UNSTOP", Meaning.START),
        ("Yes", Meaning.YES),
        ("Sí", Meaning.YES),
        ("ok", Meaning.HEARD),
        ("OK.", Meaning.HEARD),
        ("ok thank you", Meaning.HEARD),
        ("1", Meaning.HEARD),
        ("HELP", Meaning.HELP),
        ("info?", Meaning.HELP),
        ("do not stop", Meaning.UNCLEAR),
        ("when will it stop", Meaning.UNCLEAR),
        ("yes or no?", Meaning.UNCLEAR),
        ("is it ok now?", Meaning.UNCLEAR),
        ("the end of the week", Meaning.UNCLEAR),
        ("stopwatch", Meaning.UNCLEAR),
        ("", Meaning.UNCLEAR),
        ("👍", Meaning.UNCLEAR),
        ("stop " * 400, Meaning.UNCLEAR),
        ("\x00\x00", Meaning.UNCLEAR),
    ],
)
def test_what_a_reply_means(text: str, expected: Meaning) -> None:
    assert replies.meaning(text) is expected


def test_help_is_sent_once_an_hour_at_most() -> None:
    now = datetime(2026, 11, 30, 6, tzinfo=UTC)
    assert replies.may_help(None, now)
    assert not replies.may_help(now - timedelta(minutes=59), now)
    assert replies.may_help(now - timedelta(hours=1), now)
