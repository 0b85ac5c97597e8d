"""The banner's signature, checked as an app does."""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from public.publish import Publisher
from tests.public.cast import NOW, incident, snapshot

SECRET = "a secret of this installation"


def check(folder: Path, path: str = "banner.json", *, body: bytes | None = None) -> None:
    """Raise InvalidSignature unless the file is signed with the published key."""
    key = base64.b64decode((folder / "banner.key").read_bytes())
    signature = base64.b64decode((folder / f"{path}.sig").read_bytes())
    said = (folder / path).read_bytes() if body is None else body
    Ed25519PublicKey.from_public_bytes(key).verify(signature, said)


@pytest.mark.parametrize("path", ["banner.json", "banner.en.json", "banner.es.json"])
def test_every_banner_is_signed(tmp_path: Path, path: str) -> None:
    Publisher(tmp_path, secret=SECRET).publish(snapshot(incident()))
    check(tmp_path, path)


def test_a_banner_that_was_changed_on_its_way_is_not_believed(tmp_path: Path) -> None:
    Publisher(tmp_path, secret=SECRET).publish(snapshot(incident()))
    lie = json.loads((tmp_path / "banner.json").read_bytes()) | {"state": "operational"}
    with pytest.raises(InvalidSignature):
        check(tmp_path, body=json.dumps(lie).encode())


def test_the_signature_moves_on_with_the_banner_and_the_key_stays(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, secret=SECRET)
    publisher.publish(snapshot(incident()))
    before = (tmp_path / "banner.key").read_bytes(), (tmp_path / "banner.json.sig").read_bytes()
    publisher.publish(snapshot(incident(), now=NOW + timedelta(seconds=10)), everything=False)
    Publisher(tmp_path, secret=SECRET).publish(snapshot(incident(), now=NOW + timedelta(hours=1)))
    check(tmp_path)
    assert (tmp_path / "banner.key").read_bytes() == before[0]
    assert (tmp_path / "banner.json.sig").read_bytes() != before[1]


def test_another_installation_has_another_key(tmp_path: Path) -> None:
    Publisher(tmp_path / "one", secret=SECRET).publish(snapshot())
    Publisher(tmp_path / "two", secret="another").publish(snapshot())
    keys = {(tmp_path / name / "banner.key").read_bytes() for name in ("one", "two")}
    assert len(keys) == 2
