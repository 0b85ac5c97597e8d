"""Signing in through somebody else: against a real OpenID provider on loopback, with keys of its own."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client

from incidents.models import AuditEntry

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.slow,
    # The provider's own, in its thread.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ANN = "ann@example.org"


@pytest.fixture
def provider(settings: Any) -> Iterator[str]:
    """A provider, and the settings that OIDC_* would have made."""
    from oidc_provider_mock import run_server_in_thread  # it warns when it is imported

    with run_server_in_thread() as server:
        issuer = f"http://localhost:{server.server_port}"
        settings.OIDC = {
            "OIDC_ISSUER": issuer, "OIDC_CLIENT_ID": "desk", "OIDC_CLIENT_SECRET": "only-for-tests",
            "OIDC_ROLES_CLAIM": "groups",
        }  # fmt: skip
        app = {"provider_id": "sso", "name": "SSO", "client_id": "desk", "secret": "only-for-tests",
               "settings": {"server_url": issuer}}  # fmt: skip
        settings.SOCIALACCOUNT_PROVIDERS = {
            "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}
        }
        yield issuer


def person(issuer: str, **claims: Any) -> None:
    answer = requests.put(
        f"{issuer}/users/{quote(ANN)}", json={"email": ANN, "name": "Ann", **claims}, timeout=10
    )
    assert answer.status_code == 204


def sign_in(client: Client) -> Any:  # Any: the test client's response
    start = client.post("/accounts/oidc/sso/login/?next=/desk/reports/")
    assert start.status_code == 302, start.content
    granted = requests.post(start["Location"], data={"sub": ANN}, allow_redirects=False, timeout=10)
    back = urlsplit(granted.headers["Location"])
    return client.get(f"{back.path}?{back.query}")


def test_the_claim_rules_over_the_roles_at_every_log_in(provider: str) -> None:
    person(provider, groups=["publisher", "accounting"])
    client = Client()
    assert sign_in(client)["Location"] == "/desk/reports/"
    assert client.get("/desk/declare").status_code == 200
    user = User.objects.get()
    assert [group.name for group in user.groups.all()] == ["publisher"]
    person(provider, groups=["viewer"])
    again = Client()
    sign_in(again)
    assert again.get("/desk/").status_code == 200
    assert again.get("/desk/declare").status_code == 403
    assert [group.name for group in User.objects.get().groups.all()] == ["viewer"]
    assert AuditEntry.objects.filter(action="roles").count() == 2


def test_without_a_claim_somebody_is_in_and_may_nothing(provider: str) -> None:
    person(provider)
    client = Client()
    sign_in(client)
    assert client.get("/desk/").status_code == 403
    assert "You have no role here yet" in client.get("/desk/").content.decode()


def test_a_name_at_the_provider_takes_over_no_account_of_ours(provider: str) -> None:
    User.objects.create_superuser("ann", email=ANN, password="a long password")
    person(provider, preferred_username="ann")
    client = Client()
    sign_in(client)
    assert client.get("/desk/").status_code == 302, (
        "an address that the provider claims is no proof of ours"
    )
    assert [user.username for user in User.objects.all()] == ["ann"]


def test_a_provider_that_is_not_there_is_a_sentence(settings: Any) -> None:
    app = {
        "provider_id": "sso",
        "name": "SSO",
        "client_id": "desk",
        "secret": "x",
        "settings": {"server_url": "http://127.0.0.1:1"},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    answer = Client().post("/accounts/oidc/sso/login/")
    assert answer.status_code == 502
    assert "The single sign-on does not answer" in answer.content.decode()
