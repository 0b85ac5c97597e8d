"""Kind tls against a real handshake, with certificates made for the test."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from probes import kinds
from probes.kinds import BadSpec, CheckSpec, Memory, Observation, Outcome

NOW = datetime.now(UTC)


def write_certificate(folder: Path, *, name: str, days: float) -> Path:
    """Write a self-signed certificate with its key, valid for so many days more."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def look(folder: Path, *, days: float = 90, name: str = "localhost", **spec: Any) -> Observation:
    """Probe a server whose certificate has this name and so many days left."""
    path = write_certificate(folder, name=name, days=days)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    asked = {"component": "follow", "host": "localhost", "allow_private": True}
    asked |= {"authorities": path.read_text().partition("-----END PRIVATE KEY-----")[2]} | spec

    async def run() -> Observation:
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            check = CheckSpec("cert", "tls", 30, 5, 0, asked | {"port": port})
            return await kinds.load("tls").run(check, Memory({}), NOW, 5)

    return asyncio.run(run())


def test_a_good_certificate_is_ok_and_its_phases_are_timed(tmp_path: Path) -> None:
    found = look(tmp_path)

    assert found.outcome is Outcome.OK
    assert set(found.steps[0].phases_ms) == {"dns", "tls", "total"}


def test_a_certificate_that_ends_soon_is_told_and_is_no_outage(tmp_path: Path) -> None:
    found = look(tmp_path, days=10.5)

    ends = (NOW + timedelta(days=10.5)).strftime("%Y-%m-%d")
    assert (found.outcome, found.steps[0].shape) == (Outcome.SLOW, "F21")
    assert found.steps[0].reason == (
        f"the certificate ends on {ends}, in 10 days, expected 14 or more"
    )


def test_fewer_days_may_be_asked_for(tmp_path: Path) -> None:
    assert look(tmp_path, days=10.5, days_left_min=7).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"days": -1}, "expired", id="it ended yesterday"),
        pytest.param({"name": "other.example"}, "Hostname mismatch", id="of another name"),
        pytest.param({"authorities": None}, "self-signed", id="of an unknown authority"),
    ],
)
def test_a_bad_certificate_is_a_failure(tmp_path: Path, change: Any, words: str) -> None:
    found = look(tmp_path, **change)

    assert (found.outcome, found.steps[0].shape) == (Outcome.TARGET_FAIL, "F21")
    assert words in found.steps[0].reason


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "10.0.0.1"])
def test_a_private_address_is_not_probed_unless_allowed(tmp_path: Path, host: str) -> None:
    assert look(tmp_path, host=host, allow_private=False).outcome is Outcome.PROBER_FAULT


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        pytest.param({"component": "c"}, "host", id="no host"),
        pytest.param({"component": "c", "host": "h", "port": 0}, "port", id="no such port"),
        pytest.param(
            {"component": "c", "host": "h", "days_left_min": -1}, "days_left_min", id="past days"
        ),
        pytest.param(
            {"component": "c", "host": "h", "authorities": "none"}, "authorities", id="no PEM"
        ),
    ],
)
def test_a_wrong_check_names_its_key(spec: dict[str, Any], key: str) -> None:
    with pytest.raises(BadSpec) as caught:
        kinds.load("tls").watches(spec)

    assert caught.value.problems[0].key == key
