"""The line to a mail server: one connection kept open, one transaction per reader, each with its own outcome."""

import contextlib
import re
import smtplib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parseaddr

from django.core.mail.backends.smtp import EmailBackend

from notifications.channels import Outcome, Recipient, _mail, accepted, refused, retry, unknown
from notifications.channels._http import Timeouts
from notifications.messages import Notice, clean_line, cut

# Relays hang up on silent clients; Postfix after 300 s, some after half a minute.
IDLE_S_MAX = 20.0
# A wrong password does not mend itself in seconds, and some servers lock out who keeps asking.
ACCOUNT_WAIT_S = 300.0
WHY_CHARS_MAX = 200
# Zero would mean "do not wait at all" to a socket.
PATIENCE_S_MIN = 0.1
# Notices whose forms are kept: what is sent at the same time, in a few languages.
FORMS_MAX = 16
# RFC 3463: the address does not exist, or its domain takes no mail. 5.1.7 and 5.1.8 speak of our own.
_NO_SUCH_ADDRESS = re.compile(r"\b5\.1\.(?:1|2|3|6|10)\b")


@dataclass(frozen=True, slots=True)
class Server:
    host: str
    port: int
    user: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False


@dataclass(frozen=True, slots=True)
class _Reply:
    stage: str
    code: int
    text: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.code < 400


class SmtpLine:
    """Sends one at a time; several threads may use it, in turn."""

    provider = "smtp"
    chunk = 1
    group = 20

    def __init__(self, server: Server, sender: str, timeouts: Timeouts) -> None:
        self._server = server
        self._sender = sender
        self._timeouts = timeouts
        self._ends = 0.0
        self._backend: EmailBackend | None = None
        self._used_at = 0.0
        self._lock = threading.Lock()
        self._forms: OrderedDict[tuple[Notice, bool, bool], _mail.Form] = OrderedDict()

    def send(self, notice: Notice, batch: Iterable[Recipient]) -> Iterator[tuple[str, Outcome]]:
        for recipient in batch:
            yield recipient.delivery, self._send_one(notice, recipient)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _send_one(self, notice: Notice, recipient: Recipient) -> Outcome:
        try:
            address = _mail.clean_address(recipient.address)
            _mail.check_links(recipient)
        except ValueError as error:
            return refused(str(error))
        with self._lock:
            form = self._form(notice, recipient)
            message_id = _mail.message_id(notice, recipient.delivery, self._sender)
            wire = form.filled(address, message_id, recipient)
            self._ends = time.monotonic() + self._timeouts.delivery_s
            outcome = self._deliver(address, wire, message_id, is_ascii=form.is_ascii)
            self._used_at = time.monotonic()
            return outcome

    def _form(self, notice: Notice, recipient: Recipient) -> _mail.Form:
        key = (notice, bool(recipient.manage_url), bool(recipient.unsubscribe_url))
        if key not in self._forms:
            self._forms[key] = _mail.form(notice, self._sender, manage=key[1], unsubscribe=key[2])
            if len(self._forms) > FORMS_MAX:
                self._forms.popitem(last=False)
        return self._forms[key]

    def _deliver(self, address: str, wire: bytes, message_id: str, *, is_ascii: bool) -> Outcome:
        kept = self._kept()
        if kept is not None:
            reply = self._envelope(kept, address, len(wire), is_ascii=is_ascii)
            if reply is not None:
                return self._hand_over(kept, reply, address, wire, message_id)
        # The server has hung up meanwhile, and nothing was sent: once more over a new connection.
        try:
            smtp = self._open()
        except smtplib.SMTPAuthenticationError as error:
            return retry(
                f"the mail server refuses the login ({error.smtp_code})", after_s=ACCOUNT_WAIT_S
            )
        except OSError:
            return retry("could not connect to the mail server")
        reply = self._envelope(smtp, address, len(wire), is_ascii=is_ascii)
        if reply is None:
            return retry("the mail server hung up before the message")
        return self._hand_over(smtp, reply, address, wire, message_id)

    def _hand_over(
        self, smtp: smtplib.SMTP, reply: _Reply, address: str, wire: bytes, message_id: str
    ) -> Outcome:
        if not reply.is_good:
            return self._refusal(reply, address)
        self._hasten(smtp)
        try:
            smtp.send(wire)
        except OSError:
            # The final dot never left this machine.
            self._drop()
            return retry("the connection broke while the message was on its way")
        try:
            answer = _Reply("end", *smtp.getreply())
        except OSError:
            self._drop()
            return unknown("the mail server took the message and did not answer")
        if answer.is_good:
            return accepted(message_id)
        return self._refusal(answer, address)

    def _refusal(self, reply: _Reply, address: str) -> Outcome:
        text = clean_line(reply.text.decode("utf-8", "replace").replace(address, "the address"))
        why = cut(f"{reply.code} {text}", WHY_CHARS_MAX)
        if reply.code == 421:
            self._drop()
        if 400 <= reply.code < 500:
            return retry(why)
        if reply.stage == "MAIL":
            # It is we who are refused: not one reader may be lost for it.
            return retry(why, after_s=ACCOUNT_WAIT_S)
        if 500 <= reply.code < 600:
            return refused(why, dead=bool(_NO_SUCH_ADDRESS.search(text)))
        self._drop()
        return unknown(f"the mail server's answer could not be read: {why}")

    def _envelope(
        self, smtp: smtplib.SMTP, address: str, size: int, *, is_ascii: bool
    ) -> _Reply | None:
        """Return the first refusal, or the go-ahead for the message; None when the connection is gone."""
        options = f" SIZE={size}" if smtp.has_extn("size") else ""
        options += " BODY=8BITMIME" if not is_ascii and smtp.has_extn("8bitmime") else ""
        commands = {
            "MAIL": f"MAIL FROM:<{parseaddr(self._sender)[1]}>{options}",
            "RCPT": f"RCPT TO:<{address}>",
            "DATA": "DATA",
        }
        self._hasten(smtp)
        try:
            if smtp.has_extn("pipelining"):
                return _at_once(smtp, commands)
            return _one_by_one(smtp, commands)
        except OSError:
            self._drop()
            return None

    def _patience_s(self) -> float:
        """Return how long the next step may take: a server that is slow at every one must not outlast the lease."""
        return max(PATIENCE_S_MIN, min(self._timeouts.read_s, self._ends - time.monotonic()))

    def _hasten(self, smtp: smtplib.SMTP) -> None:
        if smtp.sock is not None:
            smtp.sock.settimeout(self._patience_s())

    def _kept(self) -> smtplib.SMTP | None:
        if self._backend is None or time.monotonic() - self._used_at > IDLE_S_MAX:
            self._close()
            return None
        return self._backend.connection

    def _open(self) -> smtplib.SMTP:
        server = self._server
        self._backend = EmailBackend(
            host=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.starttls,
            use_ssl=server.tls,
            timeout=self._patience_s(),
        )
        try:
            self._backend.open()
            if self._backend.connection is None:
                raise OSError("no connection")
            # Django greets only to encrypt or to log in; the greeting tells what the server can do.
            self._backend.connection.ehlo_or_helo_if_needed()
        except OSError:
            self._close()
            raise
        return self._backend.connection

    def _close(self) -> None:
        """Say goodbye, as far as the server still listens."""
        backend, self._backend = self._backend, None
        if backend is not None:
            with contextlib.suppress(OSError):
                backend.close()
            if backend.connection is not None:
                backend.connection.close()

    def _drop(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None and backend.connection is not None:
            backend.connection.close()


def _at_once(smtp: smtplib.SMTP, commands: dict[str, str]) -> _Reply:
    """Send the envelope in one write (RFC 2920): one round trip instead of three."""
    smtp.send("".join(f"{command}\r\n" for command in commands.values()))
    replies = [_Reply(stage, *smtp.getreply()) for stage in commands]
    failed = next((reply for reply in replies if not reply.is_good), None)
    if failed is None:
        return replies[-1]
    if replies[-1].is_good:
        # A server may say go ahead although nobody is to get it; an empty message is then refused.
        smtp.send(b".\r\n")
        smtp.getreply()
    else:
        smtp.docmd("RSET")
    return failed


def _one_by_one(smtp: smtplib.SMTP, commands: dict[str, str]) -> _Reply:
    reply = _Reply("", 0, b"")
    for stage, command in commands.items():
        reply = _Reply(stage, *smtp.docmd(command))
        if not reply.is_good:
            if reply.code != 421:
                smtp.docmd("RSET")
            return reply
    return reply
