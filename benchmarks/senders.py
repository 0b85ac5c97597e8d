"""What the fan-out is measured against: processes that only hand ready bytes to the same server."""

import multiprocessing
import smtplib
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

SENDER = "status@follow.example"


def plain(port: int, wire: bytes, seconds: float, who: int) -> tuple[int, float]:
    """smtplib, one kept connection, ready bytes: the limit. Returns messages and seconds."""
    server = _kept.setdefault(port, smtplib.SMTP("127.0.0.1", port))
    sent = 0
    started = time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        server.sendmail(SENDER, [f"limit{who}.{sent}@family.example"], wire)
        sent += 1
    return sent, took


def raw(port: int, wire: bytes, seconds: float, who: int) -> tuple[int, float]:
    """A bare socket, each message with the next envelope in one write: what the server itself can do."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.recv(4096)
        sock.sendall(b"EHLO bench\r\n")
        sock.recv(4096)
        block = wire + b"\r\n.\r\n"
        envelope = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<raw{who}@family.example>\r\nDATA\r\n".encode()
        sock.sendall(envelope)
        sent = 0
        started = time.perf_counter()
        while (took := time.perf_counter() - started) < seconds:
            _until(sock, b"354")
            sock.sendall(block + envelope)
            sent += 1
    return sent, took


def _until(sock: socket.socket, code: bytes) -> None:
    while code not in sock.recv(4096):
        pass


_kept: dict[int, smtplib.SMTP] = {}
_WAYS: dict[str, Callable[[int, bytes, float, int], tuple[int, float]]] = {
    "plain": plain,
    "raw": raw,
}


def _serve(pipe: Connection, who: int) -> None:
    while (asked := pipe.recv()) is not None:
        way, port, wire, seconds = asked
        pipe.send(_WAYS[way](port, wire, seconds, who))


class Senders:
    """So many processes, kept between rounds."""

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for who in range(number):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, who), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def rate(self, way: str, port: int, wire: bytes, seconds: float) -> float:
        """Return messages a second of all together."""
        for pipe in self._pipes:
            pipe.send((way, port, wire, seconds))
        answers = [pipe.recv() for pipe in self._pipes]
        return sum(float(sent) / float(took) for sent, took in answers)

    def close(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(None)
            process.join(5)
