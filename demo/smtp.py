"""The SMTP server of the mailbox (RFC 5321), which can be broken."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

from demo.faults import Board, Menu, NumberOption, Strike, TextOption
from demo.pages import utc_now
from demo.stage import BACKLOG, address_of

# RFC 5321, section 4.5.3.1: a command line has 512 octets; extensions may need more.
LINE_BYTES_MAX = 4096
MESSAGE_BYTES_MAX = 10 * 2**20
RECIPIENTS_MAX = 1000
CONNECTIONS_MAX = 500
IDLE_S = 300.0
SLOW_S = 1.0

SHAPES = ("550", "451", "drop-after-data", "slow")
MENU = Menu(
    shapes={"smtp": SHAPES},
    options={"delay_s": NumberOption(0, 120), "address": TextOption()},
)
ANSWERS: Mapping[str, bytes] = {
    "550": b"550 5.1.1 No such mailbox here\r\n",
    "451": b"451 4.3.0 Try again later\r\n",
}

END_OF_MESSAGE = b"\r\n.\r\n"

# Sender, recipients and the message as it came.
Take = Callable[[str, tuple[str, ...], bytes], None]


class Receiver(asyncio.Protocol):
    """One SMTP conversation (RFC 5321), with PIPELINING, 8BITMIME, SIZE and SMTPUTF8."""

    def __init__(self, take: Take, board: Board, connections: set[Receiver], hello: bytes):
        self.take = take
        self.board = board
        self.connections = connections
        self.hello = hello
        self.buffer = bytearray()
        self.searched = 0
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.in_message = False
        self.is_over = False
        self.waiting: asyncio.TimerHandle | None = None
        self.idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or send away when there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if len(self.connections) >= CONNECTIONS_MAX:
            self.is_over = True
            transport.write(b"421 4.7.0 Too many connections\r\n")
            transport.close()
            return
        self.connections.add(self)
        self._watch_idle()
        transport.write(b"220 mailbox.invalid ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the conversation."""
        self.connections.discard(self)
        for timer in (self.waiting, self.idle):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what came and answer all that is complete, in one write."""
        self.buffer += data
        self.last_s = asyncio.get_running_loop().time()
        if self.waiting is None:
            self._work()
        elif len(self.buffer) > MESSAGE_BYTES_MAX:
            self.transport.abort()

    def _watch_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self.last_s = loop.time()

        def look() -> None:
            left_s = self.last_s + IDLE_S - loop.time()
            if left_s <= 0:
                self.transport.close()
            else:
                self.idle = loop.call_later(left_s, look)

        self.idle = loop.call_later(IDLE_S, look)

    def _work(self) -> None:
        answers: list[bytes] = []
        while self.waiting is None and not self.is_over:
            answer = self._message() if self.in_message else self._command()
            if answer is None:
                break
            answers.append(answer)
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(answers))
        if self.is_over:
            self.transport.close()

    # Commands. Each returns its answer, or None when more has to come first.

    def _command(self) -> bytes | None:
        end = self.buffer.find(b"\r\n")
        if end < 0:
            return self._cut_off() if len(self.buffer) > LINE_BYTES_MAX else None
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        verb = line[:4].upper()
        match verb:
            case b"MAIL":
                return self._mail(line)
            case b"RCPT":
                return self._rcpt(line)
            case b"DATA":
                return self._data()
            case b"EHLO":
                self._forget()
                return self.hello
            case b"HELO" | b"RSET" | b"NOOP":
                if verb != b"NOOP":
                    self._forget()
                return b"250 OK\r\n"
            case b"QUIT":
                self.is_over = True
                return b"221 2.0.0 Bye\r\n"
            case _:
                return b"502 5.5.1 Command not known\r\n"

    def _mail(self, line: bytes) -> bytes:
        address = path_of(line)
        if address is None:
            return b"501 5.5.4 MAIL FROM:<address> was expected\r\n"
        self._forget()
        self.sender = address
        return b"250 2.1.0 OK\r\n"

    def _rcpt(self, line: bytes) -> bytes:
        address = path_of(line)
        if self.sender is None:
            return b"503 5.5.1 MAIL comes first\r\n"
        if not address:
            return b"501 5.5.4 RCPT TO:<address> was expected\r\n"
        if len(self.recipients) >= RECIPIENTS_MAX:
            return b"452 4.5.3 Too many recipients\r\n"
        strike = self._strike(address, ("550", "451"))
        if strike is not None:
            return ANSWERS[strike.shape]
        self.recipients.append(address)
        return b"250 2.1.5 OK\r\n"

    def _data(self) -> bytes:
        if not self.recipients:
            return b"503 5.5.1 RCPT comes first\r\n"
        self.in_message, self.searched = True, 0
        return b"354 End with a dot on a line\r\n"

    def _message(self) -> bytes | None:
        raw = self._take_message()
        if raw is None:
            return self._cut_off() if len(self.buffer) > MESSAGE_BYTES_MAX else None
        self.in_message = False
        sender, recipients = self.sender or "", tuple(self.recipients)
        self._forget()
        self.take(sender, recipients, raw)
        self.board.requests["smtp"] += 1
        strike = self._strike(recipients[0], ("drop-after-data", "slow"))
        if strike is None:
            return b"250 2.0.0 Taken\r\n"
        if strike.shape == "drop-after-data":
            self.is_over = True
            self.transport.abort()
            return None
        self._answer_later(strike.fault.number("delay_s", SLOW_S))
        return None

    def _take_message(self) -> bytes | None:
        """Cut one message off the buffer, dots unstuffed, or return None."""
        if self.buffer.startswith(END_OF_MESSAGE[2:]):
            del self.buffer[:3]
            return b""
        end = self.buffer.find(END_OF_MESSAGE, self.searched)
        if end < 0:
            self.searched = max(0, len(self.buffer) - len(END_OF_MESSAGE))
            return None
        raw = bytes(self.buffer[: end + 2])
        del self.buffer[: end + len(END_OF_MESSAGE)]
        if raw.startswith(b".."):
            raw = raw[1:]
        return raw.replace(b"\r\n..", b"\r\n.")

    def _answer_later(self, delay_s: float) -> None:
        def answer() -> None:
            self.waiting = None
            self.transport.write(b"250 2.0.0 Taken\r\n")
            self._work()

        self.waiting = asyncio.get_running_loop().call_later(delay_s, answer)

    def _strike(self, address: str, shapes: tuple[str, ...]) -> Strike | None:
        standing = self.board.fault_of("smtp")
        if standing is None or standing.shape not in shapes:
            return None
        if not fnmatchcase(address.lower(), standing.fault.word("address", "*").lower()):
            return None
        return self.board.strike("smtp", utc_now())

    def _cut_off(self) -> bytes:
        self.is_over = True
        return b"552 5.3.4 Too long\r\n"

    def _forget(self) -> None:
        self.sender = None
        self.recipients = []


def path_of(line: bytes) -> str | None:
    """Return the address of a MAIL or RCPT line, or None when there is none."""
    start, end = line.find(b"<"), line.find(b">")
    if not 0 <= start < end:
        return None
    return line[start + 1 : end].decode("utf-8", "replace")


def hello(*, pipelining: bool) -> bytes:
    """Return the answer to EHLO."""
    lines = ["mailbox.invalid", f"SIZE {MESSAGE_BYTES_MAX}", "8BITMIME", "SMTPUTF8"]
    if pipelining:
        lines.append("PIPELINING")
    lines.append("ENHANCEDSTATUSCODES")
    marks = ["-"] * (len(lines) - 1) + [" "]
    return "".join(f"250{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode()


@asynccontextmanager
async def receiving(
    take: Take, board: Board, sock: socket.socket, greeting: bytes
) -> AsyncIterator[str]:
    """Take mail on `sock` while the block runs; give its URL."""
    connections: set[Receiver] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Receiver(take, board, connections, greeting),
        sock=sock,
        backlog=BACKLOG,
    )
    try:
        yield f"smtp://{address_of(sock)}"
    finally:
        server.close()
        for receiver in list(connections):
            receiver.transport.abort()
