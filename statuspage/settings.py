"""The environment, read once into one frozen ENVIRON; Django's settings from it."""

import base64
import fcntl
import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ as django_environ
from cryptography.hazmat.primitives.asymmetric import ec

from notifications import channels
from notifications.tariffs import tariffs
from statuspage import embedded

BASE_DIR = Path(__file__).resolve().parent.parent
SQLITE_BUSY_S = 10  # how long a writer waits for another one: stack.md, "Databases"
CONNECT_TIMEOUT_S = 3
# Confirmations by text message or call that strangers may ask for, all together (security.md's "global hourly caps").
PHONE_ASKS_PER_HOUR = 2_000


class BadSetting(SystemExit):
    """A setting is missing or wrong: the start stops with one sentence naming it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(f"statuspage: {sentence}")


@dataclass(frozen=True, slots=True)
class Environ:
    """What the process was told, checked. `raw` is for the channels, which read their own variables."""

    raw: dict[str, str]
    data_dir: Path
    database_url: str
    redis_url: str
    broker_url: str
    site_url: str
    secret_key: str
    field_keys: tuple[bytes, ...]
    allowed_hosts: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    phone_countries: tuple[str, ...]
    phone_asks_per_hour: int
    publish_dir: Path
    publish_mirrors: tuple[str, ...]
    theme_dir: Path
    websub_hub: str
    show_time_to_inform: bool
    heartbeat_url: str
    desk_mfa: bool
    oidc: dict[str, str]
    advice_approved_by: str
    drill_recipients: tuple[str, ...]
    drill_every_days: float
    allow_private_hooks: bool
    commit_hint: bool
    sentry_dsn: str
    log_level: str
    log_format: str


def read(raw: dict[str, str]) -> Environ:
    """Check the environment and fill in what is missing. Raises BadSetting."""
    data_dir = Path(raw.get("DATA_DIR") or "./var").resolve()
    keys = _keys(raw, data_dir)
    site_url = (raw.get("SITE_URL") or "http://127.0.0.1:8000").rstrip("/")
    host = urlsplit(site_url).hostname
    if urlsplit(site_url).scheme not in ("http", "https") or not host:
        raise BadSetting(
            f"SITE_URL is {site_url!r}; expected an address as https://status.example.org"
        )
    hosts = _words(raw, "ALLOWED_HOSTS") or (host, "127.0.0.1", "localhost", "[::1]")
    redis_url = raw.get("REDIS_URL") or f"unix://{embedded.socket_path(data_dir)}"
    _address(raw, "REDIS_URL", "redis", "rediss", "unix")
    _address(raw, "CELERY_BROKER_URL", "redis", "rediss", "redis+socket", "amqp", "amqps")
    for name in ("HEARTBEAT_URL", "WEBSUB_HUB", "SENTRY_DSN", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        _address(raw, name, "https", "http")
    return Environ(
        # Channels sign and encrypt with keys of ours, made or given.
        raw=raw | keys | {"SITE_URL": site_url},
        data_dir=data_dir,
        database_url=raw.get("DATABASE_URL") or f"sqlite:///{data_dir / 'statuspage.sqlite3'}",
        redis_url=redis_url,
        broker_url=raw.get("CELERY_BROKER_URL") or _kombu_url(redis_url),
        site_url=site_url,
        secret_key=keys["SECRET_KEY"],
        field_keys=_field_keys(keys["FIELD_KEYS"]),
        allowed_hosts=hosts,
        trusted_proxies=_networks(raw, "TRUSTED_PROXIES"),
        phone_countries=_countries(raw),
        phone_asks_per_hour=_count(raw, "PHONE_ASKS_PER_HOUR", default=PHONE_ASKS_PER_HOUR),
        publish_dir=Path(raw.get("PUBLISH_DIR") or data_dir / "public").resolve(),
        publish_mirrors=_words(raw, "PUBLISH_MIRRORS"),
        theme_dir=Path(raw.get("THEME_DIR") or data_dir / "theme").resolve(),
        websub_hub=raw.get("WEBSUB_HUB", ""),
        show_time_to_inform=_switch(raw, "SHOW_TIME_TO_INFORM", default=False),
        heartbeat_url=raw.get("HEARTBEAT_URL", ""),
        desk_mfa=_switch(raw, "DESK_MFA", default=site_url.startswith("https://")),
        oidc=_oidc(raw),
        advice_approved_by=raw.get("ADVICE_APPROVED_BY", ""),
        drill_recipients=_words(raw, "DRILL_RECIPIENTS"),
        drill_every_days=_days(raw, "DRILL_EVERY_DAYS"),
        allow_private_hooks=_switch(raw, "WEBHOOK_ALLOW_PRIVATE", default=False),
        commit_hint=_switch(raw, "COMMIT_HINT", default=True),
        sentry_dsn=raw.get("SENTRY_DSN", ""),
        log_level=_one_of(raw, "LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
        log_format=_one_of(raw, "LOG_FORMAT", ("text", "json")),
    )


def _words(raw: dict[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in raw.get(name, "").split(",") if word.strip())


def _countries(raw: dict[str, str]) -> tuple[str, ...]:
    countries = _words(raw, "PHONE_COUNTRIES")
    if any(len(word) != 2 or not word.isalpha() or not word.isupper() for word in countries):
        raise BadSetting(
            f"PHONE_COUNTRIES is {raw['PHONE_COUNTRIES']!r}; expected countries of two letters, as US,CA"
        )
    return countries


def _count(raw: dict[str, str], name: str, *, default: int) -> int:
    text = raw.get(name, "")
    if text and not text.isdecimal():
        raise BadSetting(f"{name} is {text!r}; expected a number from 0 up")
    return int(text) if text else default


def _networks(raw: dict[str, str], name: str) -> tuple[str, ...]:
    words = _words(raw, name)
    for word in words:
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise BadSetting(
                f"{name} names {word!r}; expected addresses or networks as 10.0.0.0/8, separated by commas"
            ) from None
    return words


def _address(raw: dict[str, str], name: str, *schemes: str) -> None:
    """Refuse an address of another scheme or without a host (a socket's path counts as one); secrets are not repeated."""
    value = raw.get(name, "")
    try:
        parts = urlsplit(value)
        good = parts.scheme in schemes and bool(
            parts.path if "unix" in parts.scheme or "socket" in parts.scheme else parts.hostname
        )
        _ = parts.port
    except ValueError:
        good = False
    if value and not good:
        raise BadSetting(
            f"{name} is no address that begins with {', '.join(s + '://' for s in schemes)}"
        )


def _switch(raw: dict[str, str], name: str, *, default: bool) -> bool:
    value = raw.get(name, "").lower()
    words = {
        "": default,
        "1": True,
        "on": True,
        "true": True,
        "0": False,
        "off": False,
        "false": False,
    }
    if value not in words:
        raise BadSetting(f"{name} is {raw[name]!r}; expected on or off")
    return words[value]


def _one_of(raw: dict[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = raw.get(name) or allowed[0]
    if value not in allowed:
        raise BadSetting(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
    return value


def _oidc(raw: dict[str, str]) -> dict[str, str]:
    """Return the sign-in of others, whole or not at all."""
    names = ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET")
    found = {name: raw.get(name, "") for name in names}
    missing = [name for name, value in found.items() if not value]
    if len(missing) == len(names):
        return {}
    if missing:
        raise BadSetting(f"sign-in by OIDC is half configured: {missing[0]} must be set too")
    return found | {"OIDC_ROLES_CLAIM": raw.get("OIDC_ROLES_CLAIM") or "groups"}


def _days(raw: dict[str, str], name: str) -> float:
    """Return a number of days; 0 = never."""
    try:
        days = float(raw.get(name) or 0)
    except ValueError:
        days = -1.0
    if not 0 <= days <= 3660:
        raise BadSetting(f"{name} is {raw[name]!r}; expected a number of days, as 30")
    return days


def _kombu_url(redis_url: str) -> str:
    """Return the URL as kombu spells a unix socket."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def _key_of_32_bytes() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _vapid_key() -> str:
    """Return a private key of P-256 as RFC 8292 has it: 32 bytes in URL-safe base64."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def _derived_vapid_key(secret_key: str) -> str:
    """Return the private key that belongs to a SECRET_KEY; a hash beyond the curve's order (1 in 2**32) is hashed again."""
    made = hmac.new(secret_key.encode(), b"statuspage:vapid", hashlib.sha256).digest()
    while not 0 < int.from_bytes(made, "big") < _P256_ORDER:
        made = hashlib.sha256(made).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


# SEC 2, §2.4.2.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


_MADE = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "FIELD_KEYS": _key_of_32_bytes,
    "VAPID_PRIVATE_KEY": _vapid_key,
}


def _keys(raw: dict[str, str], data_dir: Path) -> dict[str, str]:
    """Return our keys; those not given are made once and kept in DATA_DIR, readable by us only."""
    given = {name: raw[name] for name in _MADE if raw.get(name)}
    if given.keys() >= {"SECRET_KEY", "FIELD_KEYS"}:
        # Several machines share what they are given: browsers must know one key of ours only.
        return {"VAPID_PRIVATE_KEY": _derived_vapid_key(given["SECRET_KEY"])} | given
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with open(
            os.open(data_dir / "keys.json", os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8"
        ) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            kept: dict[str, str] = json.loads(file.read() or "{}")
            missing = [name for name in _MADE if name not in kept]
            if missing:
                kept |= {name: _MADE[name]() for name in missing}
                file.seek(0)
                file.truncate()
                file.write(json.dumps(kept))
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise BadSetting(
            f"DATA_DIR {data_dir} cannot be written ({error.strerror}); name a folder of yours"
        ) from error
    return kept | given


def _field_keys(text: str) -> tuple[bytes, ...]:
    try:
        keys = tuple(base64.urlsafe_b64decode(word) for word in text.split(","))
    except ValueError:
        keys = ()
    if not keys or any(len(key) != 32 for key in keys):
        raise BadSetting(
            "FIELD_KEYS must be keys of 32 bytes in URL-safe base64, separated by commas, newest first"
        )
    return keys


# A machine that vanishes closes no connection. After 25 s without a sign of life we look for the server elsewhere, and
# the server lets go of the rows that we had locked: without that, those people would wait for two hours.
VANISHED: dict[str, object] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # ms
    "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}


def _databases(url: str) -> dict[str, dict[str, Any]]:
    try:
        config = django_environ.Env.db_url_config(url)
    except (ValueError, django_environ.ImproperlyConfigured):
        config = {}
    engine = str(config.get("ENGINE", ""))
    if engine.endswith("sqlite3"):
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": SQLITE_BUSY_S,
            # FULL: after a power cut a forgotten "accepted" would be sent twice (stack.md, "Databases").
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
        config["CONN_MAX_AGE"] = None
    elif "postgresql" in engine:
        config["OPTIONS"] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            **VANISHED,
            **config.get("OPTIONS", {}),
        }
        config["CONN_MAX_AGE"] = None
        config["CONN_HEALTH_CHECKS"] = True
    else:
        raise BadSetting("DATABASE_URL is not postgres://user:password@host/name or sqlite:///path")
    return {"default": config}


ENVIRON = read(dict(os.environ))

try:
    OPEN_CHANNELS = channels.configured(ENVIRON.raw)
    TARIFFS = tariffs(ENVIRON.raw, OPEN_CHANNELS)
except channels.Misconfigured as error:
    raise BadSetting(str(error)) from error
# What subscribers/ knows of the channels: name -> (label, kind of address).
CHANNELS: dict[str, tuple[str, str]] = {
    name: (channel.label, channel.address_kind.value) for name, channel in OPEN_CHANNELS.items()
}
# Who tells a person what did not reach them: subscribers/mishaps.py.
MISHAPS_OF_A_PERSON = "notifications.mishaps.of_person"

SECRET_KEY = ENVIRON.secret_key
FIELD_KEYS = ENVIRON.field_keys
DATA_DIR = ENVIRON.data_dir
SITE_URL = ENVIRON.site_url
REDIS_URL = ENVIRON.redis_url
COMMIT_HINT = ENVIRON.commit_hint
PUBLISH_DIR = ENVIRON.publish_dir
PUBLISH_MIRRORS = ENVIRON.publish_mirrors
THEME_DIR = ENVIRON.theme_dir
WEBSUB_HUB = ENVIRON.websub_hub
SHOW_TIME_TO_INFORM = ENVIRON.show_time_to_inform
HEARTBEAT_URL = ENVIRON.heartbeat_url
# Who publishes proves it twice: docs/decisions.md, "Second factor".
DESK_MFA = ENVIRON.desk_mfa
OIDC = ENVIRON.oidc
ADVICE_APPROVED_BY = ENVIRON.advice_approved_by
DRILL_RECIPIENTS = ENVIRON.drill_recipients
DRILL_EVERY_DAYS = ENVIRON.drill_every_days
TRUSTED_PROXIES = ENVIRON.trusted_proxies
ALLOWED_HOSTS = list(ENVIRON.allowed_hosts)
DEBUG = False

_https = SITE_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [SITE_URL]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_AGE = 12 * 3600  # an on-call shift: security.md, "Admin"
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
SECURE_SSL_REDIRECT = (
    False  # the proxy in front does it; a probe of /health over http must not be sent away
)
# Pages whose address holds a token say no-referrer themselves. Here that would make browsers send `Origin: null` with
# every form, which the CSRF check refuses.
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "anymail",
    "incidents.apps.IncidentsConfig",
    "subscribers.apps.SubscribersConfig",
    "probes.apps.ProbesConfig",
    "notifications.apps.NotificationsConfig",
    "public.apps.PublicConfig",
    "desk.apps.DeskConfig",
]
MIDDLEWARE = [
    "statuspage.headers.StrictHeaders",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "desk.policies.policies",
]
ROOT_URLCONF = "statuspage.urls"
WSGI_APPLICATION = "statuspage.wsgi.application"
APPEND_SLASH = False
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/desk/"
DATABASES = _databases(ENVIRON.database_url)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Failed log-ins are counted here, for all processes together, and while the broker is down.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "desk_cache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "desk.access.RoleBackend",
]
ACCOUNT_ADAPTER = "desk.signing_in.Accounts"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_NOTIFICATIONS = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60  # seconds; desk.access.STEP_UP asks the same
# Failed log-ins: from one network, and for one name (allauth counts "login_failed").
ACCOUNT_RATE_LIMITS = {"login_failed": "20/m/ip,5/5m/key", "reauthenticate": "10/m/user"}
MFA_ADAPTER = "desk.signing_in.Factors"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "Status desk"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not _https
SOCIALACCOUNT_ADAPTER = "desk.signing_in.Others"
SOCIALACCOUNT_AUTO_SIGNUP = True
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "sso",
                "name": "Single sign-on",
                "client_id": OIDC["OIDC_CLIENT_ID"],
                "secret": OIDC["OIDC_CLIENT_SECRET"],
                "settings": {"server_url": OIDC["OIDC_ISSUER"]},
            }
        ]
        if OIDC
        else [],
    }
}
CSRF_FAILURE_VIEW = "desk.policies.csrf_failure"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
UNFOLD = {"SITE_TITLE": "Status desk", "SITE_HEADER": "Status desk", "SITE_URL": "/desk/"}
LANGUAGE_CODE = "en"
LANGUAGES = [
    ("en", "English"),
    ("es", "Español"),
    ("fr", "Français"),
    ("de", "Deutsch"),
    ("ar", "العربية"),
]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS: list[Path] = []
WHITENOISE_USE_FINDERS = True  # no collectstatic step before the first page
WHITENOISE_AUTOREFRESH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
SILENCED_SYSTEM_CHECKS = ["security.W008"]  # SSL redirect is the proxy's: see SECURE_SSL_REDIRECT

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {"()": "statuspage.logs.JsonFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "stream": sys.stderr,
            "formatter": ENVIRON.log_format,
        }
    },
    "root": {"handlers": ["stderr"], "level": ENVIRON.log_level},
    # tweepy and requests print bearer tokens and query strings at DEBUG.
    "loggers": {
        name: {"level": "WARNING"}
        for name in ("tweepy", "urllib3", "requests_oauthlib", "oauthlib", "twilio", "kombu")
    },
}

if ENVIRON.sentry_dsn:
    import sentry_sdk

    # No bodies, no addresses, no query strings: session ids travel in them .
    sentry_sdk.init(dsn=ENVIRON.sentry_dsn, send_default_pii=False, max_request_body_size="never")

if ENVIRON.raw.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
    try:
        from statuspage import telemetry
    except ModuleNotFoundError as error:
        raise BadSetting(
            "OTEL_EXPORTER_OTLP_ENDPOINT needs the packages of requirements-otel.txt; install them or leave it out"
        ) from error
    telemetry.start()
