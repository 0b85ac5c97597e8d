"""The pages: no script, no cookie, no answer that tells who is subscribed."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.test import Client
from pytest_django.fixtures import Settings

from incidents import reads
from incidents.models import Component
from subscribers import addresses, doorstep, services
from subscribers.addresses import Kind
from subscribers.models import Consent, Letter, LetterKind, State, Subscription
from tests.subscribers.conftest import FOLLOWER, NOW, PHONE, Pending

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse

Components = dict[str, Component]


class Visitor(Client):
    """A browser that would enforce CSRF if the page asked for it; what it asks for is answered at once, as by the clock."""

    def post(self, *args: Any, **kwargs: Any) -> Any:  # passed through as Django's client has them
        response = super().post(*args, **kwargs)
        doorstep.answer(NOW, seconds=10)
        return response


@pytest.fixture
def client(no_counts: None) -> Client:
    return Visitor(enforce_csrf_checks=True)


def path(url: str) -> str:
    return url.removeprefix(settings.SITE_URL)


def letter_path(letter: Letter) -> str:
    return path(services.letter_url(letter))


def activate(letter: Letter) -> None:
    services.confirm(token=services.confirm_url(letter.uid).rpartition("/")[2], now=NOW)


def state(subscription: Subscription) -> str:
    return Subscription.objects.values_list("state", flat=True).get(pk=subscription.pk)


def _inline_scripts(page: str) -> int:
    """Count the scripts that are not a file of ours."""
    return page.count("<script") - page.count('<script src="/static/')


def visible(response: "_MonkeyPatchedWSGIResponse") -> tuple[int, bytes, dict[str, str]]:
    """Return everything that a stranger can compare."""
    return response.status_code, response.content, dict(response.items())


# --- subscribe ----------------------------------------------------------------------------------


def test_the_form_offers_the_configured_channels_and_all_parts(
    client: Client, components: Components
) -> None:
    page = client.get("/subscribe").content.decode()
    assert 'value="email"' in page
    assert 'value="voice"' in page
    assert 'value="x"' not in page
    assert 'value="login"' in page
    assert _inline_scripts(page) == 0


def test_a_link_may_choose_beforehand(client: Client, components: Components) -> None:
    page = client.get("/subscribe?channel=sms&components=login").content.decode()
    assert 'value="sms" checked' in page
    assert 'value="login" checked' in page
    assert 'value="follow" checked' not in page


def test_subscribing_asks_and_does_not_subscribe(client: Client, components: Components) -> None:
    typed = {"channel": "email", "address": FOLLOWER, "components": ["login", "follow"]}
    response = client.post("/subscribe", typed)
    assert response.status_code == 200
    assert "Check your mail" in response.content.decode()
    subscription = Subscription.objects.get()
    assert subscription.state == State.PENDING
    assert {c.slug for c in subscription.components.all()} == {"login", "follow"}


@pytest.mark.parametrize("separator", [",", "|", ", "])
def test_parts_may_come_in_one_field(
    client: Client, components: Components, separator: str
) -> None:
    typed = {"channel": "email", "address": FOLLOWER, "components": separator.join(components)}
    client.post("/subscribe", typed)
    assert Subscription.objects.get().components.count() == 2


@pytest.mark.parametrize(("channel", "address"), [("email", FOLLOWER), ("sms", PHONE)])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_known_pending_stopped_and_unknown_addresses_get_the_same_bytes(
    client: Client, pending: Pending, channel: str, address: str, accept: str
) -> None:
    typed = {"channel": channel, "address": address, "components": "login"}

    def answer() -> tuple[int, bytes, dict[str, str]]:
        return visible(client.post("/subscribe", typed, headers={"accept": accept}))

    unknown = answer()
    waiting = answer()
    activate(Letter.objects.order_by("-id")[0])
    active = answer()
    hashed = Subscription.objects.get().address_hash
    services.suppress(channel=channel, address_hash=hashed, reason="STOP", by_owner=True, now=NOW)
    stopped = answer()
    assert unknown == waiting == active == stopped
    assert unknown[0] == 200


def test_asking_for_a_manage_link_answers_known_and_unknown_alike(
    client: Client, pending: Pending
) -> None:
    _, letter = pending()
    activate(letter)
    known = visible(client.post("/manage", {"address": FOLLOWER}))
    unknown = visible(client.post("/manage", {"address": "stranger@example.org"}))
    assert known == unknown
    assert Letter.objects.filter(kind=LetterKind.MANAGE).count() == 1


@pytest.mark.parametrize(
    ("typed", "field", "word"),
    [
        pytest.param({"channel": "email", "address": "not@mail"}, "address", "domain", id="bad mail"),
        pytest.param({"channel": "sms", "address": "12345"}, "address", "country code", id="bad number"),
        pytest.param({"channel": "sms", "address": "+19005550123"}, "address", "premium", id="premium"),
        pytest.param({"channel": "email", "address": ""}, "address", "Type the address", id="nothing typed"),
        pytest.param({"channel": "email", "address": "a" * 400}, "address", "too long", id="too long"),
        pytest.param({"channel": "", "address": FOLLOWER}, "channel", "Choose how", id="no channel"),
        pytest.param({"channel": "x", "address": "@me"}, "channel", "not offered", id="the page's account"),
        pytest.param({"channel": "email", "address": FOLLOWER, "components": "sugar"}, "components", "sugar", id="unknown part"),
        pytest.param({"channel": "email", "address": FOLLOWER, "wake_me": "on"}, "wake_me", "phone call", id="mail wakes nobody"),
        pytest.param({"channel": "email", "address": FOLLOWER, "time_zone": "Mars"}, "time_zone", "Mars", id="bad zone"),
        pytest.param({"channel": "email", "address": FOLLOWER, "language": "klingon!"}, "language", "klingon", id="bad language"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_beside_its_field_and_what_was_typed_is_kept(
    client: Client, components: Components, typed: dict[str, str], field: str, word: str
) -> None:
    response = client.post("/subscribe", typed, headers={"accept": "application/json"})
    assert response.status_code == 422
    assert word in response.json()["errors"][field]
    page = client.post("/subscribe", typed)
    assert page.status_code == 422
    assert page.content.decode().count(typed["address"][:320]) >= 1
    assert not Subscription.objects.exists()


def test_the_page_shows_the_mistake_and_keeps_the_choice(
    client: Client, components: Components
) -> None:
    typed = {"channel": "sms", "address": "617 <b>555", "components": ["follow"]}
    page = client.post("/subscribe", typed).content.decode()
    assert "country code, as +1 617 555 0123" in page
    assert 'value="617 &lt;b&gt;555"' in page
    assert 'aria-describedby="address-problem"' in page
    assert 'value="follow" checked' in page
    assert 'value="sms" checked' in page


def test_a_channel_that_is_not_configured_is_neither_offered_nor_taken(
    client: Client, components: Components, settings: Settings
) -> None:
    settings.CHANNELS = {"email": ("E-mail", "email")}
    assert 'value="sms"' not in client.get("/subscribe").content.decode()
    response = client.post("/subscribe", {"channel": "sms", "address": PHONE})
    assert response.status_code == 422
    assert "not offered" in response.content.decode()
    settings.CHANNELS = {}
    assert "No messages are sent" in client.get("/subscribe").content.decode()


def test_choosing_a_call_asks_to_be_woken(client: Client, components: Components) -> None:
    client.post("/subscribe", {"channel": "voice", "address": PHONE})
    assert Subscription.objects.get().wake_me


@pytest.mark.parametrize(("channel", "address"), [("email", FOLLOWER), ("voice", PHONE)])
def test_what_is_kept_as_consent_was_shown_on_the_form(
    client: Client, components: Components, channel: str, address: str
) -> None:
    shown = " ".join(client.get("/subscribe").content.decode().split())
    client.post("/subscribe", {"channel": channel, "address": address})
    kept = Consent.objects.get().text
    assert all(f"{sentence}." in shown for sentence in kept.rstrip(".").split(". "))
    assert ("called" in kept) is (channel == "voice")


def test_the_eleventh_number_from_one_network_is_refused_in_words(
    client: Client, components: Components
) -> None:
    for number in range(10):
        typed = {"channel": "sms", "address": f"+1617555{number:04}"}
        assert client.post("/subscribe", typed).status_code == 200
    response = client.post("/subscribe", {"channel": "sms", "address": "+16175550999"})
    assert response.status_code == 429
    assert "four hours" in response.content.decode()
    assert Letter.objects.count() == 10
    mail = client.post("/subscribe", {"channel": "email", "address": FOLLOWER})
    assert mail.status_code == 200


def test_a_forged_forwarded_header_does_not_make_another_network(
    client: Client, components: Components
) -> None:
    for number in range(11):
        response = client.post(
            "/subscribe",
            {"channel": "sms", "address": f"+1617555{number:04}"},
            headers={"x-forwarded-for": f"198.51.100.{number}"},
        )
    assert response.status_code == 429


@pytest.mark.parametrize(
    "field", ["incident", "address", "channel", "want", "components", "time_zone", "language"]
)
def test_a_nul_is_a_mistake_and_no_error(
    client: Client, components: Components, field: str
) -> None:
    assert client.get("/subscribe", {field: "\0"}).status_code == 200
    typed = {"channel": "email", "address": FOLLOWER, field: "a\0b"}
    assert client.post("/subscribe", typed).status_code in (422, 200)
    assert client.post("/manage", typed).status_code in (422, 200)
    assert client.post("/confirm", {"phone": "\0", "code": "\0"}).status_code == 422


@pytest.mark.parametrize("action", ["save", "add", "contact", "habits", "drop-contact", "test"])
def test_a_nul_changes_no_settings(client: Client, manage_path: str, action: str) -> None:
    call = Subscription.objects.get(channel="voice")
    names = (
        "address",
        "name",
        "channel",
        "components",
        "contact",
        "at",
        "language",
        "time_zone",
        "least_impact",
    )
    for uid in ("\0", call.uid):
        typed = {"action": action, "subscription": uid, **dict.fromkeys(names, "a\0b")}
        assert client.post(manage_path, typed).status_code in (422, 200)
    assert client.get("/manage/%00").status_code == 404
    assert client.get("/unsubscribe/%00").status_code == 404


# --- confirm ------------------------------------------------------------------------------------


def test_opening_the_link_asks_and_only_the_button_confirms(
    client: Client, pending: Pending
) -> None:
    subscription, letter = pending()
    page = client.get(letter_path(letter))
    client.head(letter_path(letter))
    assert page.status_code == 200
    assert FOLLOWER not in page.content.decode()
    assert "f•••@example.org" in page.content.decode()
    assert state(subscription) == State.PENDING
    assert "You are subscribed" in client.post(letter_path(letter)).content.decode()
    assert state(subscription) == State.ACTIVE
    assert client.post(letter_path(letter)).status_code == 200


@pytest.mark.parametrize("page", ["confirm", "manage", "unsubscribe"])
def test_a_forged_link_is_404_and_says_what_to_do(
    client: Client, pending: Pending, page: str
) -> None:
    subscription, letter = pending()
    uid = subscription.uid if page == "unsubscribe" else letter.uid
    for token in (
        "x",
        f"{uid}-{'A' * 22}",
        addresses.link_token("other", uid, settings.SECRET_KEY),
    ):
        for response in (client.get(f"/{page}/{token}"), client.post(f"/{page}/{token}")):
            assert response.status_code == 404
            assert "Nothing was changed" in response.content.decode()
    assert state(subscription) == State.PENDING


def test_an_old_link_is_410_and_offers_a_new_one(client: Client, pending: Pending) -> None:
    _, letter = pending(now=NOW - timedelta(hours=48))
    response = client.post(letter_path(letter))
    assert response.status_code == 410
    assert 'href="/subscribe"' in response.content.decode()


def test_a_code_is_typed_with_its_number(client: Client, pending: Pending) -> None:
    subscription, letter = pending("sms", PHONE, now=datetime.now(UTC))  # a code lives ten minutes
    code = services.letter_code(letter)
    wrong = client.post("/confirm", {"phone": PHONE, "code": "12x"})
    assert wrong.status_code == 422
    unknown = client.post("/confirm", {"phone": "+16175550199", "code": "12x"})
    assert unknown.content.replace(b"0199", b"0123") == wrong.content
    assert (
        client.post("/confirm", {"phone": PHONE, "code": f" {code[:3]} {code[3:]}"}).status_code
        == 200
    )
    assert state(subscription) == State.ACTIVE


def test_a_number_that_is_none_is_said_at_the_code_too(client: Client, db: None) -> None:
    response = client.post("/confirm", {"phone": "12", "code": "123456"})
    assert response.status_code == 422
    assert "country code" in response.content.decode()


# --- unsubscribe --------------------------------------------------------------------------------


def test_one_click_from_the_mailbox_ends_it_without_cookie_or_redirect(
    client: Client, pending: Pending
) -> None:
    subscription, letter = pending()
    activate(letter)
    link = path(services.unsubscribe_url(subscription.uid))
    for _ in range(3):
        response = client.post(
            link, "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded"
        )
        assert response.status_code == 200
        assert not response.cookies
        assert state(subscription) == State.GONE
    first = Subscription.objects.get().gone_at
    client.post(link)
    assert Subscription.objects.get().gone_at == first


def test_a_multipart_click_works_too(client: Client, pending: Pending) -> None:
    subscription, _ = pending()
    client.post(path(services.unsubscribe_url(subscription.uid)), {"List-Unsubscribe": "One-Click"})
    assert state(subscription) == State.GONE


def test_a_scanner_that_opens_the_link_unsubscribes_nobody(
    client: Client, pending: Pending
) -> None:
    subscription, letter = pending()
    activate(letter)
    link = path(services.unsubscribe_url(subscription.uid))
    page = client.get(link)
    client.head(link)
    assert page.status_code == 200
    assert "<button" in page.content.decode()
    assert state(subscription) == State.ACTIVE


# --- manage -------------------------------------------------------------------------------------


@pytest.fixture
def manage_path(pending: Pending) -> str:
    """Return the manage link of a number with text messages and calls."""
    for channel in ("sms", "voice"):
        subscription, letter = pending(channel, PHONE)
        activate(letter)
    letter_or_none = services.write_letter(subscription, kind=LetterKind.MANAGE, now=NOW)
    assert letter_or_none
    return letter_path(letter_or_none)


def test_one_link_shows_all_channels_of_an_address(client: Client, manage_path: str) -> None:
    page = client.get(manage_path).content.decode()
    assert len(set(re.findall(r'name="subscription" value="(\w+)"', page))) == 2
    assert page.count('name="wake_me"') == 1
    assert PHONE not in page


def test_parts_zone_and_waking_are_changed_by_post(client: Client, manage_path: str) -> None:
    call = Subscription.objects.get(channel="voice")
    typed = {"subscription": call.uid, "components": ["follow"], "wake_me": "on"}
    page = client.post(manage_path, typed)
    assert "Saved." in page.content.decode()
    call.refresh_from_db()
    assert (call.wake_me, call.every_component) == (True, False)
    client.post(manage_path, {"action": "habits", "time_zone": "America/New_York"})
    call.refresh_from_db()
    assert call.time_zone == call.subscriber.time_zone == "America/New_York"
    client.post(manage_path, {"subscription": call.uid})
    call.refresh_from_db()
    assert (call.wake_me, call.every_component) == (False, True)


def test_a_wrong_zone_saves_nothing(client: Client, manage_path: str) -> None:
    call = Subscription.objects.get(channel="voice")
    page = client.post(manage_path, {"action": "habits", "time_zone": "Mars", "discreet": "on"})
    assert page.status_code == 422
    assert "Mars" in page.content.decode()
    call.refresh_from_db()
    assert not call.discreet


def test_one_channel_is_left_and_the_other_stays(client: Client, manage_path: str) -> None:
    call = Subscription.objects.get(channel="voice")
    page = client.post(manage_path, {"subscription": call.uid, "action": "unsubscribe"})
    assert "Unsubscribed." in page.content.decode()
    assert len(set(re.findall(r'name="subscription" value="(\w+)"', page.content.decode()))) == 1
    assert Subscription.objects.get(channel="sms").state == State.ACTIVE


def test_a_link_changes_only_its_own_address(
    client: Client, manage_path: str, pending: Pending
) -> None:
    other, letter = pending()
    activate(letter)
    page = client.post(manage_path, {"subscription": other.uid, "action": "unsubscribe"})
    assert page.status_code == 422
    assert state(other) == State.ACTIVE


def test_an_undeliverable_address_is_told_so(client: Client, manage_path: str) -> None:
    hashed = services.hash_of(Kind.PHONE, PHONE)
    services.suppress(channel="sms", address_hash=hashed, reason="Number not in service.", now=NOW)
    assert "Number not in service." in client.get(manage_path).content.decode()


def test_typing_an_address_opens_nothing(client: Client, pending: Pending) -> None:
    _, letter = pending()
    activate(letter)
    page = client.post("/manage", {"address": FOLLOWER}).content.decode()
    assert "login" not in page
    assert FOLLOWER not in page


def test_a_bad_address_to_manage_is_said_and_kept(client: Client, db: None) -> None:
    page = client.post("/manage", {"address": "me@"})
    assert page.status_code == 422
    assert 'value="me@"' in page.content.decode()


# --- every page ---------------------------------------------------------------------------------


def test_no_page_sets_a_cookie_leaks_its_link_or_runs_a_script(
    client: Client, manage_path: str, pending: Pending
) -> None:
    subscription, letter = pending()
    links = [
        "/subscribe", "/confirm", "/manage", manage_path, letter_path(letter),
        path(services.unsubscribe_url(subscription.uid)), "/confirm/forged",
    ]  # fmt: skip
    for link in links:
        response = client.get(link)
        assert response["Referrer-Policy"] == "no-referrer", link
        assert response["Cache-Control"] == "no-store", link
        assert "default-src 'none'" in response["Content-Security-Policy"], link
        assert "frame-ancestors 'none'" in response["Content-Security-Policy"], link
        assert not response.cookies, link
        page = response.content.decode()
        assert _inline_scripts(page) == 0, link
        assert "style=" not in page, link
        assert "http" not in page.replace("http-equiv", ""), link


def test_other_methods_are_refused(client: Client, db: None) -> None:
    assert client.put("/subscribe").status_code == 405
    assert client.delete("/unsubscribe/x").status_code == 405


def test_the_name_of_the_page_is_text(client: Client, db: None) -> None:
    page = reads.the_page()
    page.name = "<script>alert(1)</script>"
    page.save()
    assert _inline_scripts(client.get("/subscribe").content.decode()) == 0
