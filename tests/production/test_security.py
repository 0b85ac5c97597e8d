"""The threat model names tests that exist; every answer has strict headers; no route takes work from strangers unnamed."""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

ROOT = Path(__file__).resolve().parents[2]
MODEL = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(test_\w+)`", MODEL)
THERE = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
}  # fmt: skip
ROWS = [
    line for line in MODEL.partition("## The model")[2].partition("##")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]  # fmt: skip
STRIDE = ("Spoofing", "Tampering", "Repudiation", "Information disclosure", "Denial of service", "Elevation of privilege")  # fmt: skip


def test_every_letter_of_stride_has_its_rows_and_every_row_its_test() -> None:
    assert len(ROWS) > 30
    assert [row for row in ROWS if not re.search(r"`test_\w+`", row)] == []
    assert [word for word in STRIDE if f"**{word}**" not in MODEL] == []


@pytest.mark.parametrize("name", NAMED)
def test_the_test_that_a_threat_names_exists(name: str) -> None:
    assert name in THERE, f"docs/security.md names {name}, which no file of tests/ has"


def _paths(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for each in patterns:
        path = before + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _paths(each.url_patterns, path)
        else:
            yield path


def routes() -> list[str]:
    """Return one address for every route; of the admin the lists."""
    found = {re.sub(r"<[^>]+>", "1", path) for path in _paths(get_resolver().url_patterns)}
    plain = {re.sub(r"[$^\\]|\(\?:?.*", "", path) for path in found}
    return sorted(f"/{path}" for path in plain if not re.match(r"admin/.+/.+/.+", path))


def _lacks(answer: Any) -> list[str]:  # Any: the test client's own answer
    wrong = [
        name
        for name in ("Content-Security-Policy", "Referrer-Policy", "Permissions-Policy",
                     "Cross-Origin-Opener-Policy")
        if not answer.get(name)
    ]  # fmt: skip
    if answer.get("X-Content-Type-Options") != "nosniff":
        wrong.append("X-Content-Type-Options")
    if answer.get("X-Frame-Options") != "DENY":
        wrong.append("X-Frame-Options")
    if "default-src" not in answer.get("Content-Security-Policy", ""):
        wrong.append("default-src")
    return wrong


@pytest.mark.slow
@pytest.mark.django_db
def test_every_answer_has_strict_headers() -> None:
    strangers, staff = Client(), Client(raise_request_exception=False)
    staff.force_login(User.objects.create_superuser("ann", password="a long password"))
    paths = [*routes(), "/nothing/here"]
    assert len(paths) > 80
    answers = [(path, who.get(path)) for path in paths for who in (strangers, staff)]
    answers.append(("a host of somebody else", strangers.get("/", SERVER_NAME="evil.example")))
    assert answers[-1][1].status_code == 400
    assert {path: _lacks(answer) for path, answer in answers if _lacks(answer)} == {}


@pytest.mark.django_db
def test_no_other_route_takes_work_from_strangers() -> None:
    table = MODEL.partition("## Who may write without a key")[2]
    named = {
        re.sub("TOKEN|PROVIDER", "1", path) for path in re.findall(r"`POST (/[\w/.]+)`", table)
    }
    client = Client(raise_request_exception=False)
    open_to_all = set()
    for path in routes():
        answer = client.post(path)
        goes_to_log_in = answer.status_code == 302 and "login" in answer["Location"]
        if not goes_to_log_in and answer.status_code not in (401, 404, 405):
            open_to_all.add(path)
    # 404 is the answer to a token that nobody has: those rows are named all the same.
    assert open_to_all - named == set()
    assert {"/subscribe", "/manage", "/report"} <= open_to_all


@pytest.mark.slow
def test_the_deploy_checks_are_clean(settings) -> None:  # type: ignore[no-untyped-def]
    settings.SITE_URL = "https://status.test"
    settings.SECRET_KEY = secrets.token_urlsafe(50)
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SECURE_HSTS_SECONDS = 31_536_000
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = settings.SECURE_HSTS_PRELOAD = True
    call_command("check", deploy=True, fail_level="WARNING")
