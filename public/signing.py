"""Signs the banner, so that a mirror cannot lie: Ed25519 (RFC 8032), detached, base64."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_FILE = "banner.key"
ENDING = ".sig"
_PURPOSE = b"statuspage banner signature 1"


class Signer:
    """Signs with a key that follows from SECRET_KEY, so that there is no second secret to keep."""

    def __init__(self, secret: str) -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE)
        self._key = Ed25519PrivateKey.from_private_bytes(derived.derive(secret.encode()))

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that app developers build in, in base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw())

    def sign(self, body: bytes) -> bytes:
        return base64.b64encode(self._key.sign(body))
