"""One open connection to a mail server: whole replies in, bytes out, never waiting longer than it is told to."""

import contextlib
import select
import smtplib
import socket
import ssl
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

from django.core.mail.backends.smtp import EmailBackend

# A reply is a few lines; a server that never ends one is broken.
REPLY_BYTES_MAX = 65_536
# Zero would mean "do not wait at all" to a socket.
PATIENCE_S_MIN = 0.1


@dataclass(frozen=True, slots=True)
class Server:
    host: str
    port: int
    user: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False


@dataclass(slots=True)
class Reply:
    code: int  # -1: no reply that SMTP knows
    text: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.code < 400


class HungUp(Exception):
    """The connection is gone, or silent for too long. `unsent`: how many bytes of the last write never left."""

    def __init__(self, unsent: int = 0) -> None:
        super().__init__()
        self.unsent = unsent


# A conversation asks for one reply at a time and is thrown HungUp when there will be none.
Conversation = Generator[None, Reply, None]


class Lane:
    """One connection. `served` counts the messages it took; a kept one may have been closed meanwhile."""

    def __init__(self, server: Server, patience_s: float) -> None:
        """Connect, encrypt, log in and greet. Raises OSError (smtplib's own exceptions are some)."""
        self._backend = EmailBackend(
            host=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.starttls,
            use_ssl=server.tls,
            timeout=max(PATIENCE_S_MIN, patience_s),
        )
        try:
            self._backend.open()
            smtp = self._backend.connection
            if smtp is None or smtp.sock is None:
                raise OSError("no connection")
            # Django greets only to encrypt or to log in; the greeting tells what the server can do.
            smtp.ehlo_or_helo_if_needed()
        except OSError:
            self.drop()
            raise
        except ValueError:
            # smtplib, of a challenge that is none; its own words could show the password.
            self.drop()
            raise OSError("the login cannot be said or the answer not read") from None
        self._smtp: smtplib.SMTP = smtp
        self._sock: socket.socket = smtp.sock
        self._sock.setblocking(False)
        # What is written is whole; waiting for more to put into the same packet only costs.
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._sock.fileno()
        self.pipelining = smtp.has_extn("pipelining")
        self.sizes = smtp.has_extn("size")
        self.eight_bit = smtp.has_extn("8bitmime")
        self.served = 0
        self.used_at = time.monotonic()
        self.wrote_at = 0.0  # the message under way
        self.ends = 0.0  # when the reply that is waited for must be there
        self.talk: Conversation | None = None
        self.replies: deque[Reply] = deque()
        self._rest = b""
        self._lines: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send it all. Raises HungUp, which says how much never left."""
        sent = 0
        try:
            while sent < len(data):
                try:
                    sent += self._sock.send(data[sent:] if sent else data)
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    self._await_room()
        except OSError:
            raise HungUp(len(data) - sent) from None

    def _await_room(self) -> None:
        left_s = self.ends - time.monotonic()
        ready = select.poll()
        ready.register(self.fd, select.POLLOUT | select.POLLIN)
        if left_s <= 0 or not ready.poll(left_s * 1000):
            raise TimeoutError
        # A server that talks while we write is read later; a full buffer of its words would be an attack.
        only_room = select.poll()
        only_room.register(self.fd, select.POLLOUT)
        if not only_room.poll(max(0.0, left_s) * 1000):
            raise TimeoutError

    def read(self) -> None:
        """Put what has come into `replies`. Raises HungUp when the server has closed and nothing more was to be read."""
        try:
            while True:
                data = self._sock.recv(65_536)
                if not data:
                    raise HungUp
                self._take(data)
                if not isinstance(self._sock, ssl.SSLSocket) or not self._sock.pending():
                    return
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            raise HungUp from None

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) + sum(map(len, self._lines)) > REPLY_BYTES_MAX:
            raise HungUp
        for line in lines:
            self._lines.append(line[4:].strip())
            code = int(line[:3]) if line[:3].isdigit() else -1
            if line[3:4] != b"-" or code == -1:
                self.replies.append(Reply(code, b"\n".join(self._lines)))
                self._lines = []

    def close(self) -> None:
        """Say goodbye, as far as the server still listens."""
        with contextlib.suppress(OSError):
            self._sock.settimeout(PATIENCE_S_MIN)
            self._sock.send(b"QUIT\r\n")
        self.drop()

    def drop(self) -> None:
        # Django keeps a connection that was refused encryption or log-in under another name.
        half = getattr(self._backend, "_partial_connection", None)
        for connection in (self._backend.connection, half):
            if connection is not None:
                connection.close()
