"""What a mail that came back says of the one we sent: for which delivery, and whether the address is dead.

Delivery status notifications (RFC 3464) are taken apart by the standard library. Which delivery it was stands in the address
it came back to (VERP): we wrote it there, signed, so that nobody can make others bounce.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import Message
from email.utils import getaddresses, parseaddr

from subscribers.addresses import link_token, read_link_token

# A returned mail holds ours, which stays below 100 KB; whoever sends more is no mail server telling of a bounce.
BYTES_MAX = 1_000_000
# RFC 5321 §4.5.3.1.1: what stands before the @ has at most 64 characters; "b+", a row id and the token take 44.
_LOCAL_CHARS_MAX = 64
PURPOSE = "bounce"
WHY_CHARS_MAX = 200
# RFC 3463: no such mailbox, domain or system; moved without a new address; disabled (5.2.1).
_NO_SUCH_ADDRESS = re.compile(r"5\.(?:1\.(?:0|1|2|3|6|10)|2\.1)\b|5\.4\.4\b")
_ADDRESS = re.compile(r"<?[^\s<>@]+@[^\s<>@]+>?")
_TO = ("Delivered-To", "X-Original-To", "To", "Envelope-To")


@dataclass(frozen=True, slots=True)
class Bounce:
    """`failed`: this mail will not arrive; otherwise it is only late. `dead`: nor will any other to this address."""

    delivery: int
    failed: bool
    dead: bool
    why: str


def return_path(sender: str, delivery: str, secret: str) -> str:
    """Return the envelope sender of one delivery: `status+b-17-…@host`, which the mailbox must take for `status@`."""
    local, _, host = parseaddr(sender)[1].rpartition("@")
    tagged = f"{local}+b-{link_token(PURPOSE, delivery, secret)}"
    return f"{tagged}@{host}" if len(tagged) <= _LOCAL_CHARS_MAX else f"{local}@{host}"


def read(raw: bytes, secret: str) -> Bounce | None:
    """Return what a mail of the bounce mailbox says; None for one that is no failure of a delivery of ours.

    Permanent is only what says so in the words of RFC 3464: an answer by a holiday program, a warning of delay or a report
    that the mail arrived suppresses nobody.
    """
    if len(raw) > BYTES_MAX:
        return None
    mail = message_from_bytes(raw, policy=policy.compat32)
    delivery = _delivery(mail, secret)
    if delivery is None:
        return None
    for recipient in _recipients(mail):
        action = str(recipient.get("Action", "")).strip().lower()
        status = str(recipient.get("Status", "")).strip()
        if action in ("failed", "delayed"):
            dead = action == "failed" and _is_address_dead(status)
            return Bounce(delivery, action == "failed", dead, _why(recipient, status))
    return None


def _delivery(mail: Message, secret: str) -> int | None:
    for name in _TO:
        for _, address in getaddresses([str(value) for value in mail.get_all(name, [])]):
            _, mark, token = address.rpartition("@")[0].partition("+b-")
            uid = read_link_token(PURPOSE, token, secret) if mark else None
            if uid is not None and uid.isdecimal():
                return int(uid)
    return None


def _recipients(mail: Message) -> Iterator[Message]:
    """Yield the groups of a delivery status notification; the first is about the message, it has no Action."""
    for part in mail.walk():
        if part.get_content_type() == "message/delivery-status":
            blocks = part.get_payload()
            yield from (
                (block for block in blocks if isinstance(block, Message))
                if isinstance(blocks, list)
                else ()
            )


def _is_address_dead(status: str) -> bool:
    """Full mailboxes (5.2.2), refused content (5.7.x) and the like are no word about the address."""
    return bool(_NO_SUCH_ADDRESS.match(status))


def _why(recipient: Message, status: str) -> str:
    """Return the server's own words without anybody's address, and without NUL: no database takes it."""
    said = str(recipient.get("Diagnostic-Code", "")).partition(";")[2].replace("\x00", "")
    return " ".join(_ADDRESS.sub("the address", f"{status} {said}").split())[:WHY_CHARS_MAX]
