"""Customers who never subscribed are told on a recorded basis, hear less by one tap, and are let go by their list."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from desk import keys
from incidents import reads
from incidents.models import Component
from subscribers import addresses, services
from subscribers.models import Basis, Consent, State, Subscription
from tests.subscribers.conftest import FOLLOWER, NOW, PHONE, Pending

Components = dict[str, Component]
SINCE = (NOW - timedelta(days=400)).isoformat()


def incoming(address: str = FOLLOWER, channel: str = "email", **words: Any) -> services.Incoming:
    told: dict[str, Any] = {
        "consent_source": "terms of service",
        "consent_at": NOW - timedelta(days=400),
        "basis": Basis.CONTRACT,
    }
    return services.Incoming(channel=channel, address=address, **(told | words))


def test_a_customer_by_contract_hears_what_is_bad_and_its_basis_is_kept(
    components: Components,
) -> None:
    done = services.bring_in([incoming()], source="crm", now=NOW)
    assert (done.added, done.refused) == (1, [])
    row = Subscription.objects.get()
    assert (row.state, row.basis, row.least_impact) == (State.ACTIVE, Basis.CONTRACT, "major")
    proof = Consent.objects.get()
    assert (proof.basis, proof.channel, proof.address_hash) == (
        Basis.CONTRACT,
        "email",
        row.address_hash,
    )
    assert "terms of service" in proof.text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param({"channel": "sms", "address": PHONE}, "owner's consent", id="a number"),
        pytest.param({"consent_at": None, "consent_source": ""}, "needs consent_source", id="no source"),
        pytest.param({"wake_me": True}, "asked for it is woken", id="waking"),
    ],
)  # fmt: skip
def test_a_basis_does_not_reach_everything(
    components: Components, words: dict[str, Any], why: str
) -> None:
    done = services.bring_in([incoming(**words)], source="crm", now=NOW)
    assert why in done.refused[0].why
    assert not Subscription.objects.exists()


def test_less_by_one_tap_then_nothing_by_another(components: Components) -> None:
    services.bring_in([incoming()], source="crm", now=NOW)
    row = Subscription.objects.get()
    link = services.unsubscribe_url(row.uid).removeprefix(django_settings.SITE_URL)
    page = Client().get(link).content.decode()
    assert "never advertising" in page
    assert "hear only when a whole part" in Client().post(link, {"action": "less"}).content.decode()
    row.refresh_from_db()
    assert (row.state, row.least_impact) == (State.ACTIVE, "critical")
    Client().post(link)
    row.refresh_from_db()
    assert row.state == State.GONE


# --- the list over /v1 --------------------------------------------------------------------------


@pytest.fixture
def put(components: Components) -> Any:
    secret = keys.create(name="test", scopes=list(keys.Scope), now=NOW)
    page = reads.the_page()

    def _put(addresses: list[str], *, run: str, final: bool = True, **words: Any) -> Any:
        body = {
            "list": "crm", "run": run, "legal_basis": "contract", "source": "terms", "since": SINCE, "final": final,
            "subscribers": [{"address": address} for address in addresses],
        } | words  # fmt: skip
        return Client().put(
            f"/v1/pages/{page.uid}/subscribers/sync", json.dumps(body), content_type="application/json",
            headers={"authorization": f"OAuth {secret}"},
        )  # fmt: skip

    return _put


def standing() -> set[str]:
    rows = Subscription.objects.exclude(state=State.GONE)
    return {services.address_of(row) or "" for row in rows}


def test_a_list_brings_in_lets_go_and_brings_back(put: Any) -> None:
    first = put(["a@x.example", "b@x.example", "no mail"], run="1")
    assert first.status_code == 200
    assert (first.json()["added"], first.json()["refused"][0]["row"]) == (2, 2)
    assert put(["a@x.example", "b@x.example"], run="1").json()["unchanged"] == 2
    assert put(["a@x.example"], run="2").json()["dropped"] == 1
    assert standing() == {"a@x.example"}
    assert put(["a@x.example", "b@x.example"], run="3").json()["added"] == 1
    assert standing() == {"a@x.example", "b@x.example"}


def test_a_list_in_parts_lets_go_at_the_last_one_only(put: Any) -> None:
    put(["a@x.example", "b@x.example"], run="1")
    assert put(["a@x.example"], run="2", final=False).json()["dropped"] == 0
    assert put(["b@x.example"], run="2").json()["dropped"] == 0
    assert standing() == {"a@x.example", "b@x.example"}


def test_who_left_stays_away_and_who_chose_stays(put: Any, pending: Pending) -> None:
    mine, letter = pending()
    services.confirm(token=services.confirm_url(letter.uid).rpartition("/")[2], now=NOW)
    put(["a@x.example", FOLLOWER], run="1")
    gone = Subscription.objects.get(list_name="crm")
    services.leave(gone, now=NOW)
    again = put(["a@x.example"], run="2").json()
    assert (again["left_alone"], again["dropped"]) == (1, 0)
    assert standing() == {FOLLOWER}


@pytest.mark.parametrize(
    "words",
    [{"legal_basis": "whim"}, {"source": ""}, {"list": "a b"}, {"since": "yesterday"}],
)
def test_a_wrong_list_is_refused_in_words_and_changes_nothing(
    put: Any, words: dict[str, str]
) -> None:
    answer = put(["a@x.example"], run="1", **words)
    assert answer.status_code in (400, 422)
    assert next(iter(words)) in json.dumps(answer.json())
    assert not Subscription.objects.exists()


# --- keys and proofs ----------------------------------------------------------------------------


def test_a_new_key_seals_every_address_anew(pending: Pending, settings: Settings) -> None:
    old, new = settings.FIELD_KEYS[0], b"k" * 32
    rows = [pending(address=f"p{number}@example.org")[0] for number in range(3)]
    Subscription.objects.filter(pk=rows[2].pk).update(
        address_sealed=addresses.seal("lost@example.org", [b"x" * 32])
    )
    settings.FIELD_KEYS = (new, old)
    out, err = io.StringIO(), io.StringIO()
    call_command("rotate_field_keys", stdout=out, stderr=err)
    assert out.getvalue() == "2 sealed anew, 0 were already, 1 opened by no key.\n"
    assert "lost" in err.getvalue()
    settings.FIELD_KEYS = (new,)
    assert services.address_of(Subscription.objects.get(pk=rows[0].pk)) == "p0@example.org"
    call_command("rotate_field_keys", stdout=(again := io.StringIO()), stderr=err)
    assert again.getvalue().startswith("0 sealed anew, 2 were already")


def test_the_proof_of_consent_is_exported_without_an_address(pending: Pending) -> None:
    pending()
    Consent.objects.update(source="=cmd()")
    out = io.StringIO()
    call_command("export_consents", stdout=out, stderr=io.StringIO())
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert len(rows) == 1
    assert rows[0]["text"] == "I ask for it."
    assert rows[0]["source"] == "'=cmd()"
    assert rows[0]["address_hash"] == Subscription.objects.get().address_hash
    assert FOLLOWER not in out.getvalue()
