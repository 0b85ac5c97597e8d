"""Addresses: clean, seal, open and hash them. Keys are arguments; nothing here asks for settings."""

import base64
import hashlib
import hmac
import ipaddress
import json
import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import assert_never
from urllib.parse import urlsplit, urlunsplit

import idna
import phonenumbers
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from phonenumbers import PhoneNumberType


def N_(text: str) -> str:  # noqa: N802  # gettext's own name
    """Mark a sentence for the catalogues of locale/; it is translated where it is shown."""
    return text


class Unreadable(ValueError):
    """No key of FIELD_KEYS opens this address."""


VERSION = 1
NONCE_BYTES = 12  # AES-GCM's own: NIST SP 800-38D §8.2
KEY_ID_BYTES = 2
# About 16,000 hashes: half a second of a phone, unseen by people and dear to a flood.
WORK_BITS = 14
WORK_VALID_S = 3_600
HASH_CHARS = 64
KEYS_CACHED = (
    32  # a handful of keys and purposes; deriving one anew for each address costs half the time
)

# RFC 5321 §4.5.3.1.1 and RFC 3696 erratum 1690: the longest local part and the longest path without brackets.
LOCAL_CHARS_MAX = 64
EMAIL_CHARS_MAX = 254
TYPED_CHARS_MAX = 320  # whatever is longer is no telephone number and no mail address
URL_CHARS_MAX = 2000
WEB_PORTS = (443, 8443)  # as notifications/channels/_guard.py has them
ACCOUNT_CHARS_MAX = 255
# RFC 5322 §3.2.3, dot-atom. Quoted local parts are legal, but nobody has one and they carry header tricks.
_LOCAL = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.IGNORECASE
)
_DOMAIN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?!\d+$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
)

# Numbers that cost their caller extra or ring nobody: security.md, "SMS pumping".
_REFUSED_TYPES = {
    PhoneNumberType.PREMIUM_RATE: N_("This is a premium-rate number, to which we do not write."),
    PhoneNumberType.SHARED_COST: N_("This is a shared-cost number, to which we do not write."),
    PhoneNumberType.UAN: N_("This is a company's access number, to which we do not write."),
    PhoneNumberType.VOIP: N_("This is an Internet telephone number, to which we do not write."),
    PhoneNumberType.PAGER: N_("This is a pager, to which we do not write."),
    PhoneNumberType.VOICEMAIL: N_("This is a voice mailbox, to which we do not write."),
}
# Unassigned numbers of North America (555, 500) are what providers' test accounts use, and nobody can bill them.
# Elsewhere hijacked unassigned ranges are how toll fraud works, so there a number must be assigned.
_NORTH_AMERICA = 1
PREFIX_CHARS = 8  # "+" and the first seven digits: one block of numbers, security.md "SMS pumping"


class Kind(StrEnum):
    """What an address of a channel is; the same words as settings.CHANNELS says."""

    EMAIL = "email"
    PHONE = "phone"
    ACCOUNT = "account"
    URL = "url"
    PUSH = "push"


# Channels that may be named before they are configured (an import, the operators of site.yaml).
USUAL_KINDS = {"email": Kind.EMAIL, "sms": Kind.PHONE, "voice": Kind.PHONE, "webhook": Kind.URL}

# Where the webhooks of these services live; a name with a leading dot stands for all below it.
HOSTS: dict[str, tuple[str, ...]] = {
    "slack": ("hooks.slack.com", "hooks.slack-gov.com"),
    "discord": ("discord.com", "discordapp.com"),
    "teams": (".webhook.office.com", ".logic.azure.com", ".powerplatform.com"),
}
# RFC 8291 §3.1 and §2: an uncompressed point of P-256, and the authentication secret.
PUSH_KEY_BYTES, PUSH_AUTH_BYTES = 65, 16


class BadAddress(ValueError):
    """The address cannot be written to; the text says why in one sentence, `{name}` standing for a value."""

    def __init__(self, text: str, **values: str | int) -> None:
        super().__init__(text.format(**values))
        self.text, self.values = text, values


def clean(
    kind: Kind,
    text: str,
    *,
    countries: Collection[str] = (),
    hosts: Collection[str] = (),
    plain_http: bool = False,
) -> str:
    """Return the address in the one form that we store and compare. Raises BadAddress.

    `countries` allows telephone numbers of these regions only ("US", "CA"), `hosts` web addresses
    of these hosts only; empty allows all. `plain_http` lets http:// and any host pass (small nets).
    """
    text = text.strip()
    if not text:
        raise BadAddress(N_("The address is empty."))
    if any(unicodedata.category(char)[0] == "C" for char in text):
        raise BadAddress(N_("The address holds an invisible character; type it anew."))
    match kind:
        case Kind.EMAIL:
            return _clean_email(text)
        case Kind.PHONE:
            return _clean_phone(text, countries)
        case Kind.URL:
            return _clean_url(text, hosts, plain_http=plain_http)
        case Kind.PUSH:
            return _clean_push(text, plain_http=plain_http)
        case Kind.ACCOUNT:
            return _clean_account(text)
        case _:
            assert_never(kind)


def _clean_email(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if len(text) > TYPED_CHARS_MAX:
        raise BadAddress(N_("This is too long for an e-mail address."))
    if not at or not local or not domain:
        raise BadAddress(N_("This is not an e-mail address; expected one as name@example.org."))
    if len(text) > EMAIL_CHARS_MAX or len(local) > LOCAL_CHARS_MAX:
        raise BadAddress(
            N_("The e-mail address is too long; at most {limit} characters can be delivered."),
            limit=EMAIL_CHARS_MAX,
        )
    if not _LOCAL.fullmatch(local):
        raise BadAddress(
            N_("The part before the @ holds a character that mail servers do not deliver to.")
        )
    email = f"{local}@{_clean_domain(domain)}"
    if len(email) > EMAIL_CHARS_MAX:
        raise BadAddress(
            N_("The e-mail address is too long; at most {limit} characters can be delivered."),
            limit=EMAIL_CHARS_MAX,
        )
    return email


def _clean_domain(domain: str) -> str:
    """Return the domain as the DNS spells it: lower case, punycode."""
    try:
        ascii_domain = (
            domain.lower() if domain.isascii() else idna.encode(domain, uts46=True).decode()
        )
    except idna.IDNAError:
        ascii_domain = ""
    labels = ascii_domain.split(".")
    if (
        not _DOMAIN.fullmatch(ascii_domain) or len(ascii_domain) > 253 or max(map(len, labels)) > 63
    ):  # RFC 1035 §2.3.4
        raise BadAddress(N_("The part after the @ is not a domain; expected one as example.org."))
    return ascii_domain


def _clean_phone(text: str, countries: Collection[str]) -> str:
    if len(text) > TYPED_CHARS_MAX:
        raise BadAddress(N_("This is too long for a telephone number."))
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise BadAddress(
            N_("Write the telephone number with + and its country code, as +1 617 555 0123.")
        ) from None
    if number.extension:
        raise BadAddress(
            N_(
                "A number with an extension cannot be reached by a message; leave the extension out."
            )
        )
    kind = phonenumbers.number_type(number)
    if kind in _REFUSED_TYPES:
        raise BadAddress(_REFUSED_TYPES[kind])
    known = kind != PhoneNumberType.UNKNOWN or number.country_code == _NORTH_AMERICA
    if not known or not phonenumbers.is_possible_number(number):
        raise BadAddress(
            N_("There is no such telephone number; check its digits and the country code.")
        )
    if countries and phonenumbers.region_code_for_number(number) not in countries:
        raise BadAddress(N_("We do not send messages to telephone numbers of this country."))
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _clean_url(text: str, hosts: Collection[str] = (), *, plain_http: bool = False) -> str:
    if len(text) > URL_CHARS_MAX:
        raise BadAddress(
            N_("The address has {count} characters; allowed are {limit}."),
            count=len(text),
            limit=URL_CHARS_MAX,
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadAddress(
            N_("This is not an address of the web; expected one as https://example.org/hook.")
        ) from None
    if (
        parts.scheme not in (("https", "http") if plain_http else ("https",))
        or not host
        or " " in text
    ):
        raise BadAddress(
            N_("This is not an address of the web; expected one as https://example.org/hook.")
        )
    if parts.username or parts.password:
        raise BadAddress(N_("The address holds a user name or password; leave it out."))
    if hosts and not plain_http and not is_of(host, hosts):
        places = " or ".join(name.lstrip(".") for name in hosts)
        raise BadAddress(
            N_("A webhook of this kind lives at {places}, not at {host}."),
            places=places,
            host=host[:100],
        )
    if not plain_http and port not in (None, *WEB_PORTS):
        raise BadAddress(
            N_("The address names port {port}; allowed are 443 and 8443."), port=port or 0
        )
    host = f"[{host}]" if ":" in host else host
    usual = 443 if parts.scheme == "https" else 80
    place = host if port in (None, usual) else f"{host}:{port}"
    return urlunsplit((parts.scheme, place, parts.path or "/", parts.query, ""))


def is_of(host: str, hosts: Collection[str]) -> bool:
    """Say whether a host is one of `hosts`; a name with a leading dot stands for all below it."""
    return any(host == name or (name[0] == "." and host.endswith(name)) for name in hosts)


def _clean_push(text: str, *, plain_http: bool) -> str:
    """Return a browser's PushSubscription as JSON with its endpoint and its two keys, and no more."""
    try:
        told = json.loads(text)
        keys = told["keys"]
        endpoint = _clean_url(str(told["endpoint"]), plain_http=plain_http)
        sizes = [len(_base64url(str(keys[name]))) for name in ("p256dh", "auth")]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadAddress(
            N_("The browser's answer cannot be read; press the button again.")
        ) from None
    if sizes != [PUSH_KEY_BYTES, PUSH_AUTH_BYTES]:
        raise BadAddress(N_("The browser's keys have the wrong length; press the button again."))
    kept = {
        "endpoint": endpoint,
        "keys": {"p256dh": str(keys["p256dh"]), "auth": str(keys["auth"])},
    }
    return json.dumps(kept, sort_keys=True)


def _base64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _clean_account(text: str) -> str:
    if len(text) > ACCOUNT_CHARS_MAX:
        raise BadAddress(
            "The account's name has {count} characters; allowed are {limit}.",
            count=len(text),
            limit=ACCOUNT_CHARS_MAX,
        )
    return text


def mask(kind: Kind, address: str) -> str:
    """Return the address as it may be shown to whoever holds a link: recognised by its owner, useless to others."""
    match kind:
        case Kind.EMAIL:
            local, _, domain = address.rpartition("@")
            return f"{local[:1]}•••@{domain}"
        case Kind.PHONE:
            return f"{address[:2]} ••• {address[-2:]}"
        case Kind.URL:
            return f"https://{urlsplit(address).hostname}/•••"
        case Kind.PUSH:
            return f"this browser ({urlsplit(str(json.loads(address)['endpoint'])).hostname})"
        case Kind.ACCOUNT:
            return address
        case _:
            assert_never(kind)


def network(remote: str, forwarded: str, trusted: Sequence[str]) -> str:
    """Return where a request came from: an IPv4 address or an IPv6 /64, "" when that cannot be known.

    `forwarded` (X-Forwarded-For) counts only as far as `trusted` proxies (addresses or networks) wrote it, read from the
    right; a unix socket has no remote address and counts as the proxy when there is one.
    """
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()] + [remote]
    while len(hops) > 1 and _is_trusted(hops[-1], trusted):
        hops.pop()
    try:
        address = ipaddress.ip_address(hops[-1])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    # A household has a /64 of its own; counting single addresses of it would count nothing.
    return str(ipaddress.ip_network((address, 64 if address.version == 6 else 32), strict=False))


def _is_trusted(hop: str, trusted: Sequence[str]) -> bool:
    if not hop:
        return bool(trusted)
    try:
        address = ipaddress.ip_address(hop)
        return any(address in ipaddress.ip_network(proxy, strict=False) for proxy in trusted)
    except ValueError:
        return False


def seal(address: str, keys: Sequence[bytes]) -> bytes:
    """Encrypt with the newest key (AES-256-GCM): version, key id, nonce, ciphertext with its tag."""
    nonce = os.urandom(NONCE_BYTES)
    head = bytes([VERSION]) + _key_id(keys[0])
    return head + nonce + _cipher(keys[0]).encrypt(nonce, address.encode(), head)


def unseal(sealed: bytes, keys: Sequence[bytes]) -> str:
    """Decrypt with whichever key wrote it. Raises Unreadable."""
    sealed = bytes(sealed)
    head, rest = sealed[: 1 + KEY_ID_BYTES], sealed[1 + KEY_ID_BYTES :]
    for key in keys:
        if _key_id(key) == head[1:]:
            try:
                return _cipher(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], head).decode()
            except (InvalidTag, ValueError):
                # Not this key's (two keys may share an id), or cut short.
                continue
    raise Unreadable(
        "No key of FIELD_KEYS opens this address; the key it was written with is missing."
    )


def is_sealed_with(sealed: bytes, key: bytes) -> bool:
    """Say whether `key` wrote this; two keys may share an id, so it is tried."""
    try:
        unseal(sealed, [key])
    except Unreadable:
        return False
    return True


def address_hash(channel_kind: str, address: str, secret: str) -> str:
    """Return the keyed hash by which an address is found again without being readable.

    `channel_kind` is the kind of address, so that text messages and calls to one number share a hash. Mailboxes that differ
    in capitals only are one person's: no provider we know of keeps them apart.
    """
    if channel_kind == Kind.EMAIL:
        address = address.lower()
    return hmac.new(
        _derived(secret, "address"), f"{channel_kind}:{address}".encode(), hashlib.sha256
    ).hexdigest()


def link_token(purpose: str, uid: str, secret: str) -> str:
    """Return an unguessable token for one purpose and one row: `uid` and 132 bits of a keyed hash."""
    mac = hmac.digest(_derived(secret, f"link:{purpose}"), uid.encode(), "sha256")
    return f"{uid}-{base64.urlsafe_b64encode(mac)[:22].decode()}"


def read_link_token(purpose: str, token: str, secret: str) -> str | None:
    """Return the row's uid when the token is ours and for this purpose, else None; in constant time."""
    uid, dash, _ = token.partition("-")
    genuine = hmac.compare_digest(link_token(purpose, uid, secret).encode(), token.encode())
    return uid if dash and genuine else None


def work_seed(moment_s: int, secret: str) -> str:
    """Return what a browser works on before it asks: stamped, so that nothing needs to be kept."""
    mac = hmac.new(_derived(secret, "work"), str(moment_s).encode(), hashlib.sha256).hexdigest()
    return f"{moment_s}.{mac[:24]}"


def has_worked(seed: str, nonce: str, typed: str, *, secret: str, now_s: int) -> bool:
    """Say whether `nonce` is work done on a seed of ours for this very address: SHA-256 with WORK_BITS leading zeros."""
    stamp = seed.partition(".")[0]
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 12 and len(nonce) < 20):
        return False
    genuine = hmac.compare_digest(work_seed(int(stamp), secret).encode(), seed.encode())
    if not genuine or not 0 <= now_s - int(stamp) <= WORK_VALID_S:
        return False
    found = hashlib.sha256(f"{seed}:{typed}:{nonce}".encode()).digest()
    return int.from_bytes(found[:4]) >> (32 - WORK_BITS) == 0


def code(uid: str, secret: str, digits: int = 6) -> str:
    """Return the short code that a person types for a letter; wrong tries are counted on the letter."""
    mac = hmac.new(_derived(secret, "code"), uid.encode(), hashlib.sha256).digest()
    return str(int.from_bytes(mac[:8]) % 10**digits).zfill(digits)


@lru_cache(maxsize=KEYS_CACHED)
def _derived(secret: str, purpose: str) -> bytes:
    return hmac.new(secret.encode(), f"statuspage:{purpose}".encode(), hashlib.sha256).digest()


@lru_cache(maxsize=KEYS_CACHED)
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)


@lru_cache(maxsize=KEYS_CACHED)
def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"key-id" + key).digest()[:KEY_ID_BYTES]
