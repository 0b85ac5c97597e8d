"""A wrong environment stops the start with one sentence that names the variable."""

import base64
from pathlib import Path

import pytest

from notifications import channels
from statuspage import settings
from statuspage.settings import BadSetting

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()


def given(tmp_path: Path, **words: str) -> dict[str, str]:
    return {"DATA_DIR": str(tmp_path), **words}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        pytest.param("SITE_URL", "status.example.org", "expected an address", id="no scheme"),
        pytest.param("LOG_LEVEL", "LOUD", "expected one of INFO", id="no such level"),
        pytest.param("LOG_FORMAT", "xml", "expected one of text, json", id="no such format"),
        pytest.param("COMMIT_HINT", "maybe", "expected on or off", id="neither on nor off"),
        pytest.param("REDIS_URL", "http://valkey", "begins with redis://", id="no broker"),
        pytest.param("REDIS_URL", "redis://", "begins with redis://", id="a broker nowhere"),
        pytest.param("REDIS_URL", "redis://h:port", "begins with redis://", id="no port"),
        pytest.param("CELERY_BROKER_URL", "kafka://x", "amqp://", id="a broker of another kind"),
        pytest.param("HEARTBEAT_URL", "switch.example", "https://", id="a heartbeat nowhere"),
        pytest.param("SENTRY_DSN", "key@sentry", "https://", id="no place to report to"),
        pytest.param("WEBSUB_HUB", "hub", "https://", id="no hub"),
        pytest.param("TRUSTED_PROXIES", "10.0.0.0/8,proxy", "'proxy'", id="a name as a proxy"),
        pytest.param("FIELD_KEYS", "short", "32 bytes", id="a short key"),
        pytest.param("FIELD_KEYS", f"{KEY},x", "32 bytes", id="one short key among good ones"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, name: str, value: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence) as refused:
        settings.read(given(tmp_path, **{name: value}))
    assert name in str(refused.value)


def test_a_database_of_another_kind_is_refused() -> None:
    with pytest.raises(BadSetting, match="DATABASE_URL is not postgres://"):
        settings._databases("mysql://localhost/status")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match="DATA_DIR .* cannot be written"):
        settings.read(given(tmp_path / "file" / "below"))


def test_missing_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first, second = settings.read(given(tmp_path)), settings.read(given(tmp_path))
    assert (first.secret_key, first.field_keys) == (second.secret_key, second.field_keys)
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0


def test_a_given_key_wins_over_the_kept_one(tmp_path: Path) -> None:
    settings.read(given(tmp_path))
    assert settings.read(given(tmp_path, SECRET_KEY="mine")).secret_key == "mine"


def test_sqlite_keeps_what_it_accepted() -> None:
    options = settings._databases("sqlite:////tmp/x.sqlite3")["default"]["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "synchronous=FULL" in options["init_command"]
    assert "journal_mode=WAL" in options["init_command"]


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ({"TWILIO_ACCOUNT_SID": "AC1"}, "TWILIO_AUTH_TOKEN"),
        ({"X_CONSUMER_KEY": "k"}, "X_CONSUMER_SECRET"),
        ({"FACEBOOK_PAGE_ID": "1"}, "FACEBOOK_PAGE_TOKEN"),
        ({"EMAIL_URL": "gopher://x"}, "EMAIL_URL"),
    ],
)
def test_a_half_configured_channel_is_named(words: dict[str, str], missing: str) -> None:
    with pytest.raises(channels.Misconfigured, match=missing):
        channels.configured(words)


def test_channels_that_need_no_account_are_there_by_themselves() -> None:
    assert sorted(channels.configured({})) == ["discord", "slack", "teams", "webhook"]
