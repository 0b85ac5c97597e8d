"""The mailbox that mails come back to, over IMAP: a thread of the clock's process that reads it and never holds it up."""

import imaplib
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import DatabaseError, connections
from imap_tools import AND, BaseMailBox, MailBox, MailBoxUnencrypted, MailMessageFlags
from imap_tools.errors import ImapToolsError, MailboxFetchError
from imap_tools.utils import check_command_status

from notifications import bounces, hearing
from notifications.hearing import Said
from notifications.models import Delivery

log = logging.getLogger(__name__)

ANSWER_S = 10.0  # a server that is silent for so long is tried again later
# Where the server tells of new mail by itself (IDLE) it is heard at once; it is looked into this often all the same: what comes
# in one packet with the server's "+ idling" stays in imaplib's buffer, where a wait for the socket does not see it.
LOOK_S = 15.0
AGAIN_S = 60.0  # after a failure
MAILS_MAX = 200  # taken at a time
_PORTS = {"imap": 143, "imaps": 993}
_FAILURES = (OSError, imaplib.IMAP4.error, ImapToolsError, ValueError, KeyError)
# What one mail can do to whoever reads it; a deep one runs out of stack.
_UNREADABLE = (RecursionError, ValueError, LookupError, TypeError, AttributeError, MessageError)


class BadMailbox(ValueError):
    """BOUNCE_MAILBOX_URL cannot be understood; the text is one sentence without the password."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int
    user: str
    password: str
    folder: str
    tls: bool


def address(url: str) -> Address:
    """Read `imaps://user:password@host:port/folder`. Raises BadMailbox."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise BadMailbox(
            "BOUNCE_MAILBOX_URL must begin with imaps:// or imap://, with a port up to 65535."
        ) from None
    if not (parts.hostname and parts.username and parts.password):
        raise BadMailbox("BOUNCE_MAILBOX_URL must be like imaps://user:password@host/INBOX.")
    return Address(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username),
        password=unquote(parts.password),
        folder=unquote(parts.path.strip("/")) or "INBOX",
        tls=parts.scheme == "imaps",
    )


def look(box: BaseMailBox, now: datetime) -> int:
    """Take what is unread; return how many deliveries changed. A bounce of ours is deleted, all else stays, marked as read."""
    changed = 0
    ours: list[str] = []
    others: list[str] = []
    for uid in box.uids(AND(seen=False))[:MAILS_MAX]:
        found = _tried(_raw(box, uid), now)
        (others if found is None else ours).append(uid)
        changed += found or 0
    if ours:
        box.delete(ours)
    if others:
        box.flag(others, MailMessageFlags.SEEN, True)
    return changed


def _raw(box: BaseMailBox, uid: str) -> bytes:
    """Return a mail as it came, and leave it unread: written out again by a library, one byte of 8 bits would be an error."""
    answer = box.client.uid("FETCH", uid, "(BODY.PEEK[])")
    check_command_status(answer, MailboxFetchError)
    return next((part[1] for part in answer[1] if isinstance(part, tuple)), b"")


def _tried(raw: bytes, now: datetime) -> int | None:
    """Take one mail; one that nobody can read is no bounce of ours, and the next ones are read all the same."""
    try:
        return take(raw, now)
    except _UNREADABLE as error:
        log.warning(
            "a mail in the bounce mailbox cannot be read and stays there: %s", type(error).__name__
        )
        return None


def take(raw: bytes, now: datetime) -> int | None:
    """Let one mail that came back change its delivery; return how many it changed, None for what is no bounce of ours."""
    found = bounces.read(raw, settings.SECRET_KEY)
    if found is None or not found.failed:
        return None if found is None else 0
    rows = Delivery.objects.filter(pk=found.delivery, channel="email")
    changed = hearing.note(rows, Said.DEAD if found.dead else Said.FAILED, now=now, why=found.why)
    if changed:
        hearing.came_back(found.delivery, now=now)
    return changed


def opened(where: Address) -> BaseMailBox:
    """Return the mailbox, logged in. Raises OSError, or an error of imap_tools."""
    box: BaseMailBox
    if where.tls:
        box = MailBox(where.host, where.port, timeout=ANSWER_S)
    else:
        box = MailBoxUnencrypted(where.host, where.port, timeout=ANSWER_S)
    return box.login(where.user, where.password, initial_folder=where.folder)


class BounceReader:
    """One thread, for the life of the process; does nothing without BOUNCE_MAILBOX_URL."""

    def __init__(self, url: str, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self.why = ""
        if url:
            where = address(url)
            threading.Thread(target=self._run, args=(where,), name="bounces", daemon=True).start()

    def _run(self, where: Address) -> None:
        while not self._stop.is_set():
            try:
                box = opened(where)
                try:
                    self._read(box)
                finally:
                    box.client.shutdown()  # no word of farewell: on a broken line it would leave the socket open
            except DatabaseError as error:
                log.error("bounces are not read: %s", str(error).split("\n")[0])
            except _FAILURES as error:
                if not self.why:
                    log.warning("the bounce mailbox does not answer: %s", type(error).__name__)
                self.why = type(error).__name__
            finally:
                connections.close_all()
            self._stop.wait(AGAIN_S)

    def _read(self, box: BaseMailBox) -> None:
        while not self._stop.is_set():
            look(box, datetime.now(UTC))
            self.why = ""
            connections.close_all()  # none is held while nothing comes back
            box.idle.wait(timeout=LOOK_S)
