"""Two further doors of the Follow service: a port that can be refused, and one that speaks TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from demo.faults import Board, Fault
from demo.stage import BACKLOG, SHUTDOWN_S, address_of, bound_socket

NAME = "localhost"
DAYS_LEFT = 90.0
# What F21 shows unless its options say otherwise.
DAYS_LEFT_OF_F21 = 5.0
# Only a fault that hits everybody every time can be shown by refusing the port.
NARROWING = {"ratio", "count", "account", "cohort", "path"}


class Doors:
    """The doors, kept as the switchboard says; the plain one keeps its port while it is shut."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.plain_url = ""
        self.tls_url = ""
        self._authority = _Authority()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._plain: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self._shown: tuple[float, str] | None = None

    @property
    def authority_pem(self) -> str:
        """Return the certificate that vouches for the one behind the TLS door."""
        return self._authority.pem

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the call that tells where the doors are."""

        async def tell(request: web.Request) -> web.Response:
            return web.json_response(
                {"plain": self.plain_url, "tls": self.tls_url, "authority": self.authority_pem}
            )

        return [web.get("/doors", tell)]

    @asynccontextmanager
    async def open(self, app: web.Application, host: str) -> AsyncIterator[None]:
        """Let `app` be reached by both doors while the block runs."""
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
        )
        await runner.setup()
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        place = bound_socket(host, 0, None)
        port = place.getsockname()[1]
        self.plain_url = f"http://{address_of(place)}"
        self._plain = await loop.create_server(runner.server, sock=place, backlog=BACKLOG)
        self._show_certificate()
        secret = bound_socket(host, 0, None)
        self.tls_url = f"https://{address_of(secret)}"
        tls = await loop.create_server(
            runner.server, sock=secret, backlog=BACKLOG, ssl=self._context
        )

        def obey() -> None:
            self._show_certificate()
            self._shut_or_open(runner, host, port)

        self.board.listeners.append(obey)
        try:
            yield
        finally:
            self.board.listeners.remove(obey)
            if self._opening:
                await self._opening
            for server in (self._plain, tls):
                if server:
                    server.close()
            await runner.cleanup()

    # -- the plain door --

    def _shut_or_open(self, runner: web.AppRunner, host: str, port: int) -> None:
        strike = self.board.fault_of("all")
        is_shut = strike is not None and strike.shape == "F1" and not _is_narrow(strike.fault)
        if is_shut and self._plain:
            self._plain.close()
            self._plain = None
        elif not is_shut and not self._plain and self._opening is None:
            # Bound here and now: who comes before it is served waits instead of being refused.
            place = bound_socket(host, port, None)
            place.listen(BACKLOG)
            self._opening = asyncio.get_running_loop().create_task(self._serve(runner, place, host))

    async def _serve(self, runner: web.AppRunner, place: socket.socket, host: str) -> None:
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        self._plain = await loop.create_server(runner.server, sock=place, backlog=BACKLOG)
        self._opening = None
        # It may have been switched again meanwhile.
        self._shut_or_open(runner, host, place.getsockname()[1])

    # -- the TLS door --

    def _show_certificate(self) -> None:
        strike = self.board.fault_of("certificate")
        days_left = strike.fault.number("days_left", DAYS_LEFT_OF_F21) if strike else DAYS_LEFT
        wanted = (days_left, strike.fault.word("name", NAME) if strike else NAME)
        if wanted == self._shown:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "certificate.pem")
            path.touch(mode=0o600)
            path.write_bytes(self._authority.certificate(*wanted))
            # Handshakes from now on show it.
            self._context.load_cert_chain(path)
        self._shown = wanted


def _is_narrow(fault: Fault) -> bool:
    return bool(NARROWING & {*fault.numbers, *fault.words})


class _Authority:
    """Vouches for certificates of this run, and for nothing else."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Follow demo authority")])
        until = datetime.now(UTC) + timedelta(days=365)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        own = (
            _builder(self._name, self._name, self._key.public_key(), until)
            .add_extension(constraints, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = own.public_bytes(serialization.Encoding.PEM).decode()

    def certificate(self, days_left: float, name: str) -> bytes:
        """Return a key and a certificate for `name`, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        until = datetime.now(UTC) + timedelta(days=days_left, hours=1)
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        certificate = (
            _builder(who, self._name, key.public_key(), until)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return private + certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    who: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=400))
        .not_valid_after(until)
    )
