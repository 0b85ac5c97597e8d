"""Who is written to, when, and who can change it."""

from datetime import timedelta

import pytest
from django.conf import settings

from incidents.models import Component
from subscribers import addresses, services
from subscribers.addresses import BadAddress, Kind
from subscribers.models import (
    Consent,
    Letter,
    LetterKind,
    Role,
    State,
    Subscription,
    Suppression,
)
from subscribers.services import CODE_TRIES_MAX, DeadLink, Operator, Why
from tests.subscribers.conftest import FOLLOWER, NOW, PHONE, Pending

Components = dict[str, Component]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def token(letter: Letter, purpose: str = "confirm") -> str:
    return addresses.link_token(purpose, letter.uid, settings.SECRET_KEY)


def state(subscription: Subscription) -> str:
    return Subscription.objects.values_list("state", flat=True).get(pk=subscription.pk)


def hash_of(address: str, kind: Kind = Kind.EMAIL) -> str:
    return services.hash_of(kind, address)


# --- subscribe and confirm ----------------------------------------------------------------------


def test_nobody_is_subscribed_before_they_confirm(pending: Pending) -> None:
    subscription, letter = pending()
    assert state(subscription) == State.PENDING
    services.confirm(token=token(letter), now=NOW + HOUR)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.confirmed_at) == (State.ACTIVE, NOW + HOUR)


def test_the_address_lies_sealed_and_opens_again(pending: Pending) -> None:
    subscription, _ = pending()
    assert b"follower" not in bytes(subscription.address_sealed)
    assert services.address_of(subscription) == FOLLOWER


def test_the_consent_is_kept_with_what_was_shown_and_from_where(components: Components) -> None:
    services.subscribe(
        channel="email", address=FOLLOWER, now=NOW, consent_text="I ask.", network_hash="n" * 64
    )
    consent = Consent.objects.get()
    assert (consent.text, consent.at, consent.network_hash) == ("I ask.", NOW, "n" * 64)


def test_without_components_everything_is_heard_and_with_them_only_those(
    components: Components,
) -> None:
    services.subscribe(channel="email", address="a@example.org", now=NOW)
    services.subscribe(
        channel="email", address="b@example.org", components=[components["login"]], now=NOW
    )
    everything, only = Subscription.objects.order_by("id")
    assert everything.every_component
    assert not only.every_component
    assert [component.slug for component in only.components.all()] == ["login"]


def test_asking_again_before_confirming_makes_one_row_and_a_new_letter(pending: Pending) -> None:
    pending()
    pending(address=FOLLOWER.upper())
    assert Subscription.objects.count() == 1
    assert Letter.objects.count() == 2


def test_an_active_address_gets_a_manage_link_and_keeps_its_choice(
    pending: Pending, components: Components
) -> None:
    subscription, letter = pending()
    services.confirm(token=token(letter), now=NOW)
    services.subscribe(channel="email", address=FOLLOWER, components=[components["login"]], now=NOW)
    subscription.refresh_from_db()
    assert subscription.every_component
    assert Letter.objects.order_by("-id")[0].kind == LetterKind.MANAGE


def test_an_address_gets_three_confirmations_a_day_and_no_more(pending: Pending) -> None:
    for _ in range(5):
        pending()
    assert Letter.objects.count() == 3
    pending(now=NOW + DAY)
    assert Letter.objects.count() == 4


def test_leaving_and_coming_back_does_not_reset_the_count(pending: Pending) -> None:
    for _ in range(5):
        subscription, _ = pending()
        services.leave(subscription, now=NOW)
    assert Letter.objects.count() == 3


def test_a_second_press_on_the_link_changes_nothing(pending: Pending) -> None:
    subscription, letter = pending()
    services.confirm(token=token(letter), now=NOW)
    assert services.confirm(token=token(letter), now=NOW + HOUR).confirmed_at == NOW
    letter.refresh_from_db()
    assert letter.used_at == NOW


def test_a_used_link_does_not_bring_back_who_left(pending: Pending) -> None:
    subscription, letter = pending()
    services.confirm(token=token(letter), now=NOW)
    services.leave(subscription, now=NOW)
    with pytest.raises(DeadLink):
        services.confirm(token=token(letter), now=NOW)
    assert state(subscription) == State.GONE


@pytest.mark.parametrize(
    ("age", "works"),
    [
        pytest.param(timedelta(hours=47, minutes=59), True, id="within two days"),
        pytest.param(timedelta(hours=48), False, id="after two days"),
    ],
)
def test_a_confirmation_lives_two_days(pending: Pending, age: timedelta, works: bool) -> None:
    subscription, letter = pending()
    if works:
        services.confirm(token=token(letter), now=NOW + age)
    else:
        with pytest.raises(DeadLink) as dead:
            services.confirm(token=token(letter), now=NOW + age)
        assert dead.value.why is Why.EXPIRED
    assert (state(subscription) == State.ACTIVE) is works


def test_a_manage_link_confirms_nothing(pending: Pending) -> None:
    subscription, letter = pending()
    with pytest.raises(DeadLink) as dead:
        services.confirm(token=token(letter, "manage"), now=NOW)
    assert dead.value.why is Why.UNKNOWN
    assert state(subscription) == State.PENDING


def test_an_unknown_channel_is_named_with_those_that_are(components: Components) -> None:
    with pytest.raises(services.NotOffered, match="pigeon.*email"):
        services.subscribe(channel="pigeon", address="coop 4", now=NOW)


# --- codes --------------------------------------------------------------------------------------


def test_the_code_of_a_text_message_confirms_within_ten_minutes(pending: Pending) -> None:
    subscription, letter = pending("sms", PHONE)
    code = services.letter_code(letter)
    late = NOW + timedelta(minutes=10)
    assert services.confirm_code(phone=PHONE, code=code, now=late) is None
    assert services.confirm_code(phone="+1 617 555 0123", code=code, now=late - MINUTE)
    assert state(subscription) == State.ACTIVE


def test_five_wrong_codes_close_the_letter_even_for_the_right_one(pending: Pending) -> None:
    subscription, letter = pending("sms", PHONE)
    code = services.letter_code(letter)
    wrong = "000000" if code != "000000" else "000001"
    for _ in range(CODE_TRIES_MAX):
        assert services.confirm_code(phone=PHONE, code=wrong, now=NOW) is None
    assert services.confirm_code(phone=PHONE, code=code, now=NOW) is None
    assert state(subscription) == State.PENDING


def test_the_fifth_try_may_still_be_the_right_one(pending: Pending) -> None:
    _, letter = pending("sms", PHONE)
    code = services.letter_code(letter)
    wrong = "000000" if code != "000000" else "000001"
    for _ in range(CODE_TRIES_MAX - 1):
        services.confirm_code(phone=PHONE, code=wrong, now=NOW)
    assert services.confirm_code(phone=PHONE, code=code, now=NOW)


def test_a_day_of_guessing_has_fifteen_tries(pending: Pending) -> None:
    """Three letters of five tries each: asking for more letters buys no more guesses."""
    tried = 0
    for _ in range(6):
        pending("sms", PHONE)
        while Letter.objects.filter(tries__lt=CODE_TRIES_MAX).exists():
            services.confirm_code(phone=PHONE, code="x", now=NOW)
            tried += 1
    assert tried == 15


def test_a_code_is_good_once(pending: Pending) -> None:
    _, letter = pending("sms", PHONE)
    code = services.letter_code(letter)
    assert services.confirm_code(phone=PHONE, code=code, now=NOW)
    assert services.confirm_code(phone=PHONE, code=code, now=NOW) is None


def test_a_code_of_another_number_is_wrong(pending: Pending) -> None:
    _, letter = pending("sms", PHONE)
    pending("sms", "+16175550124")
    code = services.letter_code(letter)
    assert services.confirm_code(phone="+16175550124", code=code, now=NOW) is None


def test_yes_from_the_number_confirms_its_text_messages(pending: Pending) -> None:
    subscription, _ = pending("sms", PHONE)
    hashed = hash_of(PHONE, Kind.PHONE)
    assert not services.confirm_by_reply(channel="voice", address_hash=hashed, now=NOW)
    assert services.confirm_by_reply(channel="sms", address_hash=hashed, now=NOW)
    assert state(subscription) == State.ACTIVE


# --- bounds -------------------------------------------------------------------------------------


# --- stop and bounce ----------------------------------------------------------------------------


def test_who_said_stop_is_not_written_to_however_often_somebody_asks(pending: Pending) -> None:
    subscription, letter = pending("sms", PHONE)
    services.confirm(token=token(letter), now=NOW)
    hashed = subscription.address_hash
    services.suppress(channel="sms", address_hash=hashed, reason="STOP", by_owner=True, now=NOW)
    assert state(subscription) == State.GONE
    services.subscribe(channel="sms", address=PHONE, now=NOW + 400 * DAY)
    assert Letter.objects.count() == 1
    assert services.lift(channel="sms", address_hash=hashed)
    services.subscribe(channel="sms", address=PHONE, now=NOW + 400 * DAY)
    assert Letter.objects.count() == 2


def test_a_bounce_keeps_the_subscription_and_says_so(pending: Pending) -> None:
    subscription, letter = pending()
    services.confirm(token=token(letter), now=NOW)
    services.suppress(
        channel="email", address_hash=subscription.address_hash, reason="no such user", now=NOW
    )
    assert state(subscription) == State.ACTIVE
    assert services.suppressions([subscription])[subscription.pk].reason == "no such user"


def test_a_bounced_address_may_ask_again_the_next_day(pending: Pending) -> None:
    subscription, _ = pending()
    hashed = subscription.address_hash
    services.suppress(channel="email", address_hash=hashed, reason="mailbox full", now=NOW)
    services.subscribe(channel="email", address=FOLLOWER, now=NOW + HOUR)
    assert (Letter.objects.count(), Suppression.objects.count()) == (1, 1)
    services.subscribe(channel="email", address=FOLLOWER, now=NOW + DAY)
    assert (Letter.objects.count(), Suppression.objects.count()) == (2, 0)


def test_stop_outweighs_an_earlier_bounce_and_the_same_word_twice_is_one(pending: Pending) -> None:
    subscription, _ = pending()
    words = {"channel": "email", "address_hash": subscription.address_hash, "now": NOW}
    services.suppress(**words, reason="bounced")  # type: ignore[arg-type]  # the test's own words
    services.suppress(**words, reason="complained", by_owner=True)  # type: ignore[arg-type]  # the same
    services.suppress(**words, reason="bounced")  # type: ignore[arg-type]  # the same
    row = Suppression.objects.get()
    assert (row.reason, row.by_owner) == ("complained", True)


# --- manage and leave ---------------------------------------------------------------------------


def test_only_a_known_address_is_sent_a_manage_link(pending: Pending) -> None:
    _, letter = pending()
    services.confirm(token=token(letter), now=NOW)
    services.ask_to_manage(address="stranger@example.org", now=NOW)
    assert not Letter.objects.filter(kind=LetterKind.MANAGE).exists()
    services.ask_to_manage(address=FOLLOWER, now=NOW)
    assert Letter.objects.filter(kind=LetterKind.MANAGE).count() == 1


def test_a_manage_link_lives_an_hour(pending: Pending) -> None:
    subscription, _ = pending()
    letter = services.write_letter(subscription, kind=LetterKind.MANAGE, now=NOW)
    assert letter
    opened = services.letter_of(LetterKind.MANAGE, token(letter, "manage"), now=NOW + 59 * MINUTE)
    assert opened == letter
    with pytest.raises(DeadLink):
        services.letter_of(LetterKind.MANAGE, token(letter, "manage"), now=NOW + HOUR)


def test_preferences_change_what_is_given_and_leave_the_rest(
    pending: Pending, components: Components
) -> None:
    subscription, _ = pending("voice", PHONE)
    services.prefer(subscription, components=[components["follow"]], now=NOW)
    services.prefer(subscription, language="es", now=NOW)
    services.prefer(subscription, wake_me=True, consent_text="Call me.", now=NOW)
    subscription.refresh_from_db()
    assert (subscription.language, subscription.wake_me) == ("es", True)
    assert [component.slug for component in subscription.components.all()] == ["follow"]
    assert Consent.objects.filter(text="Call me.", source="manage").count() == 1
    services.prefer(subscription, components=[], now=NOW)
    subscription.refresh_from_db()
    assert subscription.every_component
    assert not subscription.components.exists()


def test_unsubscribing_twice_keeps_the_first_time(pending: Pending) -> None:
    subscription, letter = pending()
    services.confirm(token=token(letter), now=NOW)
    link = services.unsubscribe_url(subscription.uid).rpartition("/")[2]
    services.unsubscribe(token=link, now=NOW)
    services.unsubscribe(token=link, now=NOW + DAY)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.gone_at) == (State.GONE, NOW)


def test_an_unsubscribe_link_works_for_years(pending: Pending) -> None:
    subscription, _ = pending()
    link = services.unsubscribe_url(subscription.uid).rpartition("/")[2]
    services.unsubscribe(token=link, now=NOW + 2000 * DAY)
    assert state(subscription) == State.GONE


def test_who_left_may_come_back(pending: Pending) -> None:
    subscription, _ = pending()
    services.leave(subscription, now=NOW)
    again, letter = pending()
    assert again != subscription
    services.confirm(token=token(letter), now=NOW)
    assert state(again) == State.ACTIVE


def test_who_is_forgotten_leaves_nothing_but_a_hash(pending: Pending) -> None:
    subscription, _ = pending()
    services.forget(subscription, now=NOW)
    subscription.refresh_from_db()
    assert bytes(subscription.address_sealed) == b""
    assert services.address_of(subscription) is None
    assert not Consent.objects.exists()
    assert not Letter.objects.exists()


# --- operators and accounts ---------------------------------------------------------------------


def test_the_operators_are_exactly_the_list_in_its_order(components: Components) -> None:
    phone, mail = Operator("Phone", "sms", PHONE), Operator("Mail", "email", "ops@example.org")
    assert services.set_operators([phone, mail], now=NOW)
    assert not services.set_operators([phone, mail], now=NOW)
    assert services.set_operators([mail], now=NOW)
    assert services.set_operators([mail, phone], now=NOW)
    rows = Subscription.objects.filter(role=Role.OPERATOR, state=State.ACTIVE).order_by("position")
    assert [(row.label, row.channel) for row in rows] == [("Mail", "email"), ("Phone", "sms")]


def test_a_wrong_operator_changes_nothing_and_is_named(components: Components) -> None:
    services.set_operators([Operator("Phone", "sms", PHONE)], now=NOW)
    wrong = [Operator("Mail", "email", "ops@example.org"), Operator("Night", "sms", "0123")]
    with pytest.raises(BadAddress, match='"Night"'):
        services.set_operators(wrong, now=NOW)
    assert Subscription.objects.get(state=State.ACTIVE).label == "Phone"


def test_an_operator_may_also_subscribe_with_the_same_address(pending: Pending) -> None:
    services.set_operators([Operator("Mail", "email", FOLLOWER)], now=NOW)
    subscription, _ = pending()
    assert subscription.role == Role.SUBSCRIBER


def test_the_pages_account_is_made_once(db: None) -> None:
    first = services.ensure_social(channel="x", label="X", now=NOW)
    assert services.ensure_social(channel="x", label="X", now=NOW) == first
    assert (first.role, first.state) == (Role.SOCIAL, State.ACTIVE)


def test_a_batch_of_addresses_opens_without_the_unreadable(pending: Pending) -> None:
    subscription, _ = pending()
    sealed = bytes(subscription.address_sealed)
    assert services.open_addresses([(1, sealed), (2, sealed[:-1] + b"!"), (3, b"")]) == {
        1: FOLLOWER
    }
