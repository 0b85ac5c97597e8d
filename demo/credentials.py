"""What a caller must show to each provider: made up by whoever starts the stand-ins."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller must show; whoever starts the stand-ins makes them up."""

    twilio_sid: str = field(default_factory=lambda: "AC" + secrets.token_hex(16))
    twilio_token: str = field(default_factory=lambda: secrets.token_hex(16))
    x_consumer_key: str = field(default_factory=lambda: secrets.token_hex(12))
    x_consumer_secret: str = field(default_factory=lambda: secrets.token_hex(24))
    x_access_token: str = field(default_factory=lambda: "1000-" + secrets.token_hex(16))
    x_access_token_secret: str = field(default_factory=lambda: secrets.token_hex(24))
    facebook_page_id: str = "1029384756"
    facebook_page_token: str = field(default_factory=lambda: secrets.token_hex(24))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Credentials:
        """Return the credentials named as in the product's environment; missing ones are made."""
        names = {
            "twilio_sid": "TWILIO_ACCOUNT_SID",
            "twilio_token": "TWILIO_AUTH_TOKEN",
            "x_consumer_key": "X_CONSUMER_KEY",
            "x_consumer_secret": "X_CONSUMER_SECRET",
            "x_access_token": "X_ACCESS_TOKEN",
            "x_access_token_secret": "X_ACCESS_TOKEN_SECRET",
            "facebook_page_id": "FACEBOOK_PAGE_ID",
            "facebook_page_token": "FACEBOOK_PAGE_TOKEN",
        }
        given = {key: environ[name] for key, name in names.items() if environ.get(name)}
        return cls(**given)
