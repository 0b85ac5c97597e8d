"""A mail server that takes everything as fast as one process of Python can, and counts: the wall for `bench fanout`.

One epoll loop; two ports, with PIPELINING and without; a third for questions, one line each way.
"""

import json
import select
import socket
import sys
import time
from collections import Counter

HELLO = b"250-sink.invalid\r\n250-8BITMIME\r\n250 SIZE 10485760\r\n"
HELLO_PIPELINING = b"250-sink.invalid\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 10485760\r\n"
END = b"\r\n.\r\n"
BACKLOG = 256
OURS = b"s"  # subscribers of the subject; the others' addresses begin with another letter


class Talk:
    """One conversation."""

    __slots__ = ("buffer", "hello", "in_message", "recipient", "sock")

    def __init__(self, sock: socket.socket, hello: bytes) -> None:
        self.sock = sock
        self.hello = hello
        self.buffer = b""
        self.in_message = False
        self.recipient = b""


class Sink:
    """Everything that arrived."""

    def __init__(self) -> None:
        self.messages = 0
        self.last_at = 0.0
        self.watched = b""
        self.watched_at = 0.0
        self.to: Counter[bytes] = Counter()

    def take(self, recipient: bytes, raw: bytes) -> None:
        self.messages += 1
        self.last_at = time.time()
        if recipient.startswith(OURS):
            self.to[recipient] += 1
        if self.watched and not self.watched_at and self.watched in raw:
            self.watched_at = self.last_at

    def answer(self, question: str) -> dict[str, float]:
        """`count`, `reset`, or `watch WORDS`: when the first message that holds WORDS came."""
        found = {
            "messages": self.messages,
            "last_at": self.last_at,
            "watched_at": self.watched_at,
            "unique": len(self.to),
            "twice": sum(self.to.values()) - len(self.to) if question == "count twice" else 0,
        }
        if question == "reset":
            self.messages = 0
            self.to.clear()
        if question.startswith("watch "):
            self.watched, self.watched_at = question.removeprefix("watch ").encode(), 0.0
        return found


def answers(talk: Talk, sink: Sink) -> bytes | None:
    """Take what is whole in the buffer and return the replies to it; None ends the conversation."""
    out = []
    while True:
        if talk.in_message:
            if talk.buffer.startswith(END[2:]):
                raw, talk.buffer = b"", talk.buffer[3:]
            else:
                raw, end, rest = talk.buffer.partition(END)
                if not end:
                    break
                talk.buffer = rest
            talk.in_message = False
            sink.take(talk.recipient, raw)
            out.append(b"250 2.0.0 taken\r\n")
            continue
        line, end, rest = talk.buffer.partition(b"\r\n")
        if not end:
            break
        talk.buffer = rest
        verb = line[:4].upper()
        if verb == b"RCPT":
            talk.recipient = line[8:].strip(b"<> ")
            out.append(b"250 2.1.5 ok\r\n")
        elif verb == b"DATA":
            talk.in_message = True
            out.append(b"354 go\r\n")
        elif verb == b"EHLO":
            out.append(talk.hello)
        elif verb == b"QUIT":
            return None
        else:
            out.append(b"250 2.0.0 ok\r\n")
    return b"".join(out)


def listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def main() -> None:
    sink = Sink()
    plain, pipelining, control = listen(), listen(), listen()
    hellos = {plain.fileno(): HELLO, pipelining.fileno(): HELLO_PIPELINING}
    talks: dict[int, Talk] = {}
    askers: dict[int, socket.socket] = {}
    epoll = select.epoll()
    for listener in (plain, pipelining, control):
        epoll.register(listener.fileno(), select.EPOLLIN)
    ports = {"plain": plain, "pipelining": pipelining, "control": control}
    print(json.dumps({name: sock.getsockname()[1] for name, sock in ports.items()}), flush=True)
    by_fd = {sock.fileno(): sock for sock in ports.values()}
    while True:
        for fd, _ in epoll.poll():
            if fd in by_fd:
                sock, _ = by_fd[fd].accept()
                epoll.register(sock.fileno(), select.EPOLLIN)
                if fd == control.fileno():
                    askers[sock.fileno()] = sock
                else:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    talks[sock.fileno()] = Talk(sock, hellos[fd])
                    sock.sendall(b"220 sink.invalid ESMTP\r\n")
            elif fd in askers:
                question = askers[fd].recv(4096).decode().strip()
                if not question:
                    askers.pop(fd).close()
                    continue
                if question == "stop":
                    sys.exit(0)
                askers[fd].sendall(json.dumps(sink.answer(question)).encode() + b"\n")
            else:
                talk = talks[fd]
                try:
                    came = talk.sock.recv(262_144)
                    talk.buffer += came
                    said = answers(talk, sink) if came else None
                    if said:
                        talk.sock.sendall(said)
                except OSError:
                    said = None
                if said is None:
                    talks.pop(fd).sock.close()


if __name__ == "__main__":
    main()
