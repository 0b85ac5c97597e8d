"""Who may do what: every route by every role and logged out, second factor, step-up, limits, the sealed account."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, resolve, reverse
from django.utils import timezone

from desk import breakglass, urls
from desk.models import BreakGlass
from desk.roles import Role
from incidents import services
from incidents.models import AuditEntry, Call, Component, Incident, Update
from tests import world
from tests.desk import staff
from tests.desk.routes import ADMIN, DESK, LETTERS, RECORDS, SECRETS, make_names

pytestmark = pytest.mark.django_db


@pytest.fixture
def names() -> dict[str, Any]:
    return make_names()


def _tables() -> Iterator[Any]:
    for method, path, roles in (*DESK, *ADMIN):
        yield pytest.param(method, path, roles, id=f"{method} {path} {roles}")


@pytest.mark.parametrize(("method", "path", "roles"), list(_tables()))
def test_every_route_lets_in_those_and_no_others(
    names: dict[str, Any], method: str, path: str, roles: str
) -> None:
    address = path.format(**names)
    for letter, role in LETTERS.items():
        client = staff.sign_in(Client(), staff.person(f"a {role}", role))
        with transaction.atomic():
            answer = _ask(client, method, address)
            transaction.set_rollback(True)
        if letter in roles:
            assert answer.status_code in (200, 302, 409), (
                f"{role} is kept out with {answer.status_code}"
            )
            assert not _is_login(answer), f"{role} is sent to the log-in"
        else:
            assert answer.status_code == 403, f"{role} gets {answer.status_code}"
            _says_why(answer)
    nobody = _ask(staff.sign_in(Client(), staff.person("nobody")), method, address)
    assert nobody.status_code == 403 or _is_login(nobody), "an account without a role gets in"
    assert _is_login(_ask(Client(), method, address)), (
        "who is not logged in is not sent to the log-in"
    )


def _ask(client: Client, method: str, address: str) -> Any:  # Any: the test client's response
    into = Incident.objects.get(name="Over").uid
    return (
        client.get(address)
        if method == "GET"
        else client.post(address, {"_form": "1", "into": into})
    )


def _is_login(answer: Any) -> bool:
    return bool(answer.status_code == 302 and answer["Location"].startswith("/admin/login/"))


def _says_why(answer: Any) -> None:
    said = unescape(answer.content.decode())
    assert "You may not" in said
    assert "takes" in said or "is open to nobody" in said
    assert "Nothing was done." in said
    assert "You may look at the desk" in said


def test_no_route_of_the_desk_is_missing_from_the_table(names: dict[str, Any]) -> None:
    tried = {resolve(path.format(**names).partition("?")[0]).view_name for _, path, _ in DESK}
    there = {f"desk:{each.name}" for each in _patterns(urls._console)}
    assert there - tried == set()


def _patterns(found: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for each in found:
        if isinstance(each, URLPattern):
            yield each
        else:
            yield from _patterns(each.url_patterns)


def test_no_record_of_the_admin_is_missing_from_the_table() -> None:
    ours = ("incidents", "subscribers", "notifications", "probes", "public", "desk", "auth")
    there = {
        f"{model._meta.app_label}_{model._meta.model_name}"
        for model in admin.site._registry
        if model._meta.app_label in ours
    }
    assert there - {*RECORDS, *SECRETS} == set()


def test_a_responder_keeps_a_draft_and_is_refused_to_publish_it(client: Client) -> None:
    staff.sign_in(client, staff.person("rob", Role.RESPONDER))
    words = declaration(client)
    answer = client.post("/desk/declare", words | {"_publish": "1"})
    assert answer.status_code == 403
    assert "You may not publish" in unescape(answer.content.decode())
    assert "publisher or owner" in answer.content.decode()
    assert client.get("/desk/declare").context["form"]["body"].value() == "We are looking."
    assert client.post("/desk/declare", words | {"_draft": "1"}).status_code == 302
    assert Incident.objects.get().published_at is None


@pytest.mark.parametrize(
    "where", ["/desk/incidents/{open}/update", "/desk/schedule", "/desk/backfill"]
)
def test_only_a_declaration_can_be_called_a_draft(
    client: Client, names: dict[str, Any], where: str
) -> None:
    path, now = where.format(**names), timezone.now()
    before = Update.objects.filter(published_at__isnull=False).count()
    staff.sign_in(client, staff.person("rob", Role.RESPONDER))
    words = _whole(client, path, names, now) | {"_draft": "1"}
    assert client.post(path, words).status_code == 403
    staff.sign_in(client, staff.person("pam", Role.PUBLISHER), ago_s=16 * 60)
    told = _whole(client, path, names, now) | {"_draft": "1"}
    answer = client.post(path, told)
    if path != "/desk/backfill":  # it tells nobody
        assert answer["Location"].startswith("/accounts/reauthenticate/")
        assert Update.objects.filter(published_at__isnull=False).count() == before


@pytest.mark.parametrize("more", [{}, {"_draft": "1"}])
@pytest.mark.parametrize("action", ["declare", "schedule", "backfill"])
def test_a_responder_publishes_nothing_in_the_records_either(
    client: Client, action: str, more: dict[str, str]
) -> None:
    names = {"component": world.component().pk}
    staff.sign_in(client, staff.person("rob", Role.RESPONDER))
    path = f"/admin/incidents/incident/{'add' if action == 'declare' else action}/"
    words = _whole(client, path, names, timezone.now()) | more
    answer = client.post(path, words)
    if action == "declare" and more:
        assert Incident.objects.get().published_at is None
    else:
        assert answer.status_code == 403
        assert not Incident.objects.exists()


def _whole(client: Client, path: str, names: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return a form that lacks nothing, whichever of them it is."""
    form = client.get(path).context["form"]
    values = {
        f.html_name: f.value() for f in form if f.value() is not None and f.value() is not False
    }
    hours = [(now + timedelta(hours=n)).strftime("%Y-%m-%dT%H:%M") for n in (-3, -2, 2, 3)]
    return values | {
        "_form": "1", "name": "Down", "body": "Something else.", "tell": "on", f"component_{names['component']}": "major_outage",
        "affected": [names["component"]], "started_at": hours[0], "ended_at": hours[1], "scheduled_for": hours[2],
        "scheduled_until": hours[3],
    }  # fmt: skip


def declaration(client: Client) -> dict[str, Any]:  # Any: form values
    follow = world.component()
    form = client.get("/desk/declare").context["form"]
    values = {
        f.html_name: f.value() for f in form if f.value() is not None and f.value() is not False
    }
    return values | {
        "_form": "1",
        "name": "Down",
        "body": "We are looking.",
        f"component_{follow.pk}": "major_outage",
    }


# --- to everyone ------------------------------------------------------------------------------------------------------


def test_who_has_a_password_only_cannot_speak_to_everyone(client: Client, settings: Any) -> None:
    settings.DESK_MFA = True
    staff.sign_in(client, staff.person("pam", Role.PUBLISHER))
    words = declaration(client)
    answer = client.post("/desk/declare", words | {"_publish": "1"})
    assert answer.status_code == 403
    assert "who speaks to everyone needs a second factor" in answer.content.decode()
    assert not Incident.objects.exists()
    quiet = {name: value for name, value in words.items() if name != "tell"}
    assert client.post("/desk/declare", quiet | {"_publish": "1"}).status_code == 302


def test_a_second_factor_opens_the_way_and_fifteen_minutes_close_it(
    client: Client, settings: Any
) -> None:
    settings.DESK_MFA = True
    pam = staff.person("pam", Role.PUBLISHER)
    totp.TOTP.activate(pam, totp.generate_totp_secret())
    staff.sign_in(client, pam, ago_s=16 * 60)
    words = declaration(client) | {"_publish": "1"}
    answer = client.post("/desk/declare", words)
    assert answer["Location"].startswith("/accounts/2fa/reauthenticate/?next=%2Fdesk%2Fdeclare")
    assert not Incident.objects.exists()
    assert client.get("/desk/declare").context["form"]["body"].value() == "We are looking."
    staff.sign_in(client, pam, ago_s=14 * 60)
    assert client.post("/desk/declare", words).status_code == 302
    assert Incident.objects.get().published_at


def test_every_button_that_speaks_to_everyone_asks_for_a_fresh_proof(
    client: Client, names: dict[str, Any]
) -> None:
    staff.sign_in(client, staff.person("pam", Role.PUBLISHER), ago_s=16 * 60)
    for path in (
        "drafts/{draft}/publish",
        "follow-ups/{follow_up}/publish",
        "incidents/{open}/merge",
        "broadcasts/{broadcast}/retry",
    ):
        answer = client.post(f"/desk/{path}".format(**names))
        assert answer["Location"].startswith("/accounts/reauthenticate/"), path
    for path in ("drafts/{draft}/veto", "broadcasts/{broadcast}/halt"):
        answer = client.post(f"/desk/{path}".format(**names))
        assert "reauthenticate" not in answer["Location"], "to keep silent must never wait"


def test_who_proves_it_is_them_comes_back_to_a_page_and_reads_that_nothing_was_done(
    client: Client, names: dict[str, Any]
) -> None:
    staff.sign_in(client, staff.person("pam", Role.PUBLISHER), ago_s=16 * 60)
    sent_away = 0
    for path in (path.format(**names) for method, path, _ in DESK if method == "POST"):
        answer = client.post(path)
        if "reauthenticate" in answer.get("Location", ""):
            sent_away += 1
            back = client.get(parse_qs(urlsplit(answer["Location"]).query)["next"][0])
            assert back.status_code == 200, path
            assert "Nothing was done yet: press the button once more." in back.content.decode()
    assert sent_away >= 4


def test_a_veto_after_the_log_in_ended_comes_back_to_the_desk(names: dict[str, Any]) -> None:
    answer = Client().post("/desk/drafts/{draft}/veto".format(**names))
    assert answer["Location"] == "/admin/login/?next=%2Fdesk%2F"


def code_of(user: User) -> str:
    secret = Authenticator.objects.get(user=user, type="totp").wrap().instance.data["secret"]
    from allauth.mfa.adapter import get_adapter

    plain = get_adapter().decrypt(secret)
    return str(totp.format_hotp_value(totp.hotp_value(plain, int(time.time()) // 30)))


def test_the_log_in_asks_for_the_second_factor_and_the_secret_lies_encrypted(
    client: Client,
) -> None:
    pam = staff.person("pam", Role.PUBLISHER)
    secret = totp.generate_totp_secret()
    totp.TOTP.activate(pam, secret)
    assert secret not in str(Authenticator.objects.get().data)
    said = {"username": "pam", "password": staff.PASSWORD, "next": "/desk/reports/"}
    answer = client.post("/admin/login/", said)
    assert answer["Location"] == "/accounts/2fa/authenticate/"
    assert client.get("/desk/").status_code == 302
    assert client.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    answer = client.post("/accounts/2fa/authenticate/", {"code": code_of(pam)})
    assert answer["Location"] == "/desk/reports/"
    assert client.get("/desk/").status_code == 200


def test_after_five_wrong_passwords_the_name_rests(client: Client) -> None:
    cache.clear()
    staff.person("pam", Role.PUBLISHER)
    for _ in range(5):
        answer = client.post("/admin/login/", {"username": "pam", "password": "wrong"})
        assert "correct username and password" in answer.content.decode()
    answer = client.post("/admin/login/", {"username": "pam", "password": staff.PASSWORD})
    assert "Too many failed login attempts" in answer.content.decode()
    assert client.get("/desk/").status_code == 302
    cache.clear()


def test_nobody_makes_an_account_and_nobody_is_sent_elsewhere(client: Client) -> None:
    assert client.get("/accounts/signup/")["Location"] == "/admin/login/"
    staff.person("pam", Role.PUBLISHER)
    said = {"username": "pam", "password": staff.PASSWORD, "next": "https://evil.example/"}
    assert client.post("/admin/login/", said)["Location"] == "/desk/"


def test_a_session_ends_after_a_shift(settings: Any) -> None:
    assert settings.SESSION_COOKIE_AGE <= 12 * 3600
    assert not settings.SESSION_SAVE_EVERY_REQUEST


# --- breaking the glass -----------------------------------------------------------------------------------------------


def test_the_break_glass_account_works_alone_and_its_use_is_an_alarm(
    client: Client, settings: Any
) -> None:
    settings.DESK_MFA = True
    password = breakglass.seal(actor="terminal", now=timezone.now())
    assert breakglass.warning() == ""
    client.post("/admin/login/", {"username": breakglass.NAME, "password": password})
    assert "break-glass account was used" in Call.objects.get().text
    assert client.session.get_expiry_age() <= breakglass.SESSION_S
    assert AuditEntry.objects.filter(action="break_glass").exists()
    assert client.post("/desk/declare", declaration(client) | {"_publish": "1"}).status_code == 302
    assert "is not sealed again" in unescape(client.get("/desk/").content.decode())


def test_a_new_seal_ends_the_old_password(client: Client) -> None:
    old = breakglass.seal(actor="terminal", now=timezone.now())
    BreakGlass.objects.update(opened_at=timezone.now())
    breakglass.seal(actor="terminal", now=timezone.now())
    client.post("/admin/login/", {"username": breakglass.NAME, "password": old})
    assert client.get("/desk/").status_code == 302
    assert breakglass.warning() == ""


def test_a_form_older_than_the_log_in_is_refused_in_words_and_kept() -> None:
    client = staff.sign_in(Client(enforce_csrf_checks=True), staff.person("pam", Role.PUBLISHER))
    answer = client.post("/desk/declare", {"_form": "1", "body": "Long typed."})
    assert answer.status_code == 403
    assert "This form is older than your log-in" in answer.content.decode()
    assert client.get("/desk/declare").context["form"]["body"].value() == "Long typed."


def test_what_is_shown_of_a_record_is_unchanged_by_a_refusal(names: dict[str, Any]) -> None:
    client = staff.sign_in(Client(), staff.person("vic", Role.VIEWER))
    path = reverse("admin:incidents_component_change", args=[names["component"]])
    assert client.post(path, {"name": "Mine"}).status_code == 403
    assert Component.objects.get(pk=names["component"]).name == "Follow"


def test_a_record_that_the_system_alone_writes_is_open_to_nobody() -> None:
    services.audit(actor="ann", action="x", subject="y", now=timezone.now())
    client = staff.sign_in(Client(), staff.person("olga", Role.OWNER))
    path = reverse("admin:incidents_auditentry_delete", args=[AuditEntry.objects.get().pk])
    answer = client.post(path, {"post": "yes"})
    said = unescape(answer.content.decode())
    assert answer.status_code == 403
    assert "You may not delete" in said
    assert "is open to nobody: the system alone writes them" in said
    assert "script-src 'self';" in answer["Content-Security-Policy"]
