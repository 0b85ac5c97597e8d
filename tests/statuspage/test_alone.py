"""One installation in one DATA_DIR, and a demo that knows nothing of a real one."""

import os
from pathlib import Path

import pytest

from statuspage import demonstration
from statuspage.supervisor import LOCK, CannotStart, _alone_in


def test_a_second_one_in_the_same_folder_is_refused_and_told_whose_it_is(tmp_path: Path) -> None:
    with _alone_in(tmp_path), pytest.raises(CannotStart) as refused, _alone_in(tmp_path):
        pass
    assert str(refused.value) == (
        f"DATA_DIR {tmp_path} is in use by process {os.getpid()}; stop it, or name another folder"
    )


def test_what_an_earlier_one_left_behind_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("4194304")
    with _alone_in(tmp_path):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())
    with _alone_in(tmp_path):
        pass


def test_a_folder_that_cannot_be_one_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="cannot be written"), _alone_in(tmp_path / "file"):
        pass


def test_a_new_night_empties_its_folder_but_for_the_lock(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "web.log").write_text("")
    (tmp_path / "statuspage.sqlite3").write_text("")
    with _alone_in(tmp_path):
        demonstration._empty(tmp_path)
        assert [left.name for left in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize(
    "name",
    [
        *("PUBLISH_MIRRORS", "PUBLISH_DIR", "HEARTBEAT_URL", "WEBSUB_HUB", "BOUNCE_MAILBOX_URL"),
        *("REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY", "FIELD_KEYS", "VAPID_PRIVATE_KEY"),
        *("SENTRY_DSN", "OTEL_EXPORTER_OTLP_ENDPOINT", "OIDC_ISSUER", "AWS_SECRET_ACCESS_KEY"),
        *("TWILIO_AUTH_TOKEN", "EMAIL_URL", "EMAIL_FALLBACK_URL", "X_ACCESS_TOKEN", "SITE_URL"),
        *("PROBE_TOKEN", "PROBE_ALARM_URL", "STATUSPAGE_KEY", "HTTPS_PROXY"),
    ],
)
def test_a_demo_knows_nothing_of_a_real_installation(name: str) -> None:
    assert demonstration.kept({name: "real", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize("name", ["DATABASE_URL", "COMMIT_HINT", "TRUSTED_PROXIES", "LC_ALL"])
def test_a_demo_may_be_told_what_leads_nowhere(name: str) -> None:
    assert demonstration.kept({name: "given"}) == {name: "given"}
