"""What is asked at the door: counted before the database, written the same for everybody, answered by the clock."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from incidents.models import Component
from subscribers import addresses, doorstep, gate, limits, services
from subscribers.addresses import Kind
from subscribers.models import Ask, Letter, LetterKind, State, Subscription, Suppression
from subscribers.services import TooManyAsks
from subscribers.views import frame
from tests.subscribers.conftest import FOLLOWER, NOW, PHONE, Pending

Components = dict[str, Component]
pytestmark = pytest.mark.usefixtures("no_counts")


def ask(
    address: str = FOLLOWER, *, network: str = "n", worked: bool = True, now: datetime = NOW,
    do: str = "subscribe", channel: str = "",
) -> None:  # fmt: skip
    kind = services.kind_typed(address)
    fitting = channel or ("email" if kind is Kind.EMAIL else "sms")
    wish = doorstep.Wish(do=do, channel=fitting, address=address, consent_text="I ask.")
    doorstep.ask(wish, kind=kind, network_hash=network, has_worked=worked, now=now)


# --- limits -----------------------------------------------------------------------------------------


def test_a_network_may_ask_for_ten_text_messages_in_four_hours(components: Components) -> None:
    for number in range(10):
        ask(f"+1617555{number:04}")
    with pytest.raises(TooManyAsks):
        ask("+16175559999")
    ask("+16175559999", network="other")
    ask("+16175559998", now=NOW + timedelta(hours=4, minutes=1))


def test_what_valkey_forgot_the_rows_still_count(
    components: Components, request: pytest.FixtureRequest
) -> None:
    for number in range(10):
        ask(f"+1617555{number:04}")
    for key in limits._counter._client.keys("statuspage:asks:*"):  # type: ignore[union-attr]
        limits._counter._client.delete(key)  # type: ignore[union-attr]
    with pytest.raises(TooManyAsks):
        ask("+16175559999")


def test_a_block_of_numbers_is_closed_whatever_network_asks(components: Components) -> None:
    for number in range(services.ASKS_OF_A_PREFIX_MAX):
        ask(f"+16175550{number:03}", network=f"n{number}")
    with pytest.raises(TooManyAsks):
        ask("+16175550999", network="new")
    ask("+14155550123", network="new")


def test_one_address_may_be_asked_for_ten_times_an_hour(components: Components) -> None:
    for number in range(10):
        ask(network=f"n{number}")
    with pytest.raises(TooManyAsks):
        ask(network="another")
    ask(now=NOW + timedelta(hours=1))


def test_the_purse_has_a_bottom_and_who_is_confirmed_does_not_pay_into_it(
    pending: Pending, settings: Settings
) -> None:
    subscription, letter = pending("sms", PHONE)
    services.confirm(token=services.confirm_url(letter.uid).rpartition("/")[2], now=NOW)
    object.__setattr__(settings.ENVIRON, "phone_asks_per_hour", 0)
    try:
        with pytest.raises(TooManyAsks):
            ask("+16175550199")
        # A confirmed number's own letters are not asked for by strangers.
        assert services.write_letter(subscription, kind=LetterKind.MANAGE, now=NOW)
    finally:
        object.__setattr__(settings.ENVIRON, "phone_asks_per_hour", 2_000)


def test_more_than_people_can_ask_in_a_second_are_shed_without_a_query(
    components: Components,
) -> None:
    shed = 0
    with CaptureQueriesContext(connection) as queries:
        for number in range(limits.ASKS_PER_S_MAX + 30):
            try:
                limits.shed(
                    Kind.EMAIL, f"p{number}@example.org", f"n{number}", has_worked=False, now=NOW
                )
            except TooManyAsks as error:
                shed += error.retry_after == timedelta(seconds=1)
    assert shed == 30
    assert len(queries) == 0


def test_while_valkey_is_silent_each_process_counts_for_itself(
    components: Components, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "unix:///nowhere.sock"
    monkeypatch.setattr(limits, "_counter", limits._Counter())
    for number in range(10):
        ask(network=f"n{number}")
    with pytest.raises(TooManyAsks):
        ask(network="another")


def test_without_work_a_network_has_a_smaller_share(components: Components) -> None:
    for number in range(limits.ASKS_WITHOUT_WORK_MAX[Kind.EMAIL]):
        ask(f"p{number}@example.org", worked=False)
    with pytest.raises(TooManyAsks):
        ask("more@example.org", worked=False)
    ask("worked@example.org", worked=True)


def _work(seed: str, address: str) -> str:
    return next(
        str(nonce)
        for nonce in range(1 << 20)
        if addresses.has_worked(seed, str(nonce), address, secret=settings.SECRET_KEY, now_s=1_000)
    )


def test_work_counts_for_one_address_for_an_hour_and_cannot_be_made_up() -> None:
    seed = addresses.work_seed(1_000, settings.SECRET_KEY)
    nonce = _work(seed, FOLLOWER)

    def holds(
        seed: str = seed, nonce: str = nonce, typed: str = FOLLOWER, now_s: int = 1_000
    ) -> bool:
        return addresses.has_worked(seed, nonce, typed, secret=settings.SECRET_KEY, now_s=now_s)

    assert holds()
    assert not holds(typed="other@example.org") or not holds(typed="third@example.org")
    assert not holds(now_s=1_000 + addresses.WORK_VALID_S + 1)
    assert not holds(seed="1000.forged")
    assert not holds(seed="")


# --- the same for everybody -------------------------------------------------------------------------


def test_known_and_unknown_cost_a_visit_the_same_statements(pending: Pending) -> None:
    _, letter = pending("sms", PHONE)
    services.confirm(token=services.confirm_url(letter.uid).rpartition("/")[2], now=NOW)
    hashed = services.hash_of(Kind.PHONE, "+16175550111")
    services.suppress(channel="sms", address_hash=hashed, reason="STOP", by_owner=True, now=NOW)
    statements = []
    for address in (PHONE, "+16175550199", "+16175550111"):
        for do in ("subscribe", "manage"):
            with CaptureQueriesContext(connection) as queries:
                ask(address, do=do)
            statements.append([query["sql"].split(" ")[0] for query in queries])
    assert all(one == statements[0] for one in statements)


def test_a_wish_lies_sealed_and_is_emptied_when_it_was_answered(components: Components) -> None:
    ask()
    row = Ask.objects.get()
    assert FOLLOWER.encode() not in bytes(row.wish)
    assert not Subscription.objects.exists()
    assert doorstep.answer(NOW) == 1
    row.refresh_from_db()
    assert (bytes(row.wish), row.done_at) == (b"", NOW)
    assert Subscription.objects.get().state == State.PENDING
    assert doorstep.answer(NOW) == 0


def test_a_wish_that_waited_too_long_is_answered_by_nobody(components: Components) -> None:
    ask()
    assert doorstep.answer(NOW + timedelta(hours=1, seconds=1)) == 1
    assert not Letter.objects.exists()


def test_a_wish_that_cannot_be_read_does_not_stop_the_next(components: Components) -> None:
    ask("first@example.org")
    Ask.objects.update(wish=b"\x01broken")
    ask("second@example.org")
    assert doorstep.answer(NOW) == 2
    assert Letter.objects.count() == 1


def test_who_asks_to_be_woken_confirms_text_and_call_by_one_code(components: Components) -> None:
    wish = doorstep.Wish(
        do="subscribe", channel="sms", also=("voice",), address=PHONE, wake_me=True, consent_text="I ask."
    )  # fmt: skip
    doorstep.ask(wish, kind=Kind.PHONE, network_hash="n", has_worked=True, now=NOW)
    doorstep.answer(NOW)
    letter = Letter.objects.get()
    assert letter.subscription.channel == "sms"
    assert services.confirm_code(phone=PHONE, code=services.letter_code(letter), now=NOW)
    rows = Subscription.objects.order_by("channel")
    assert [(row.channel, row.state, row.wake_me) for row in rows] == [
        ("sms", State.ACTIVE, True),
        ("voice", State.ACTIVE, True),
    ]
    assert len({row.subscriber_id for row in rows}) == 1
    assert all(row.consents.count() == 1 for row in rows)


def test_a_strangers_earlier_wish_is_not_confirmed_along(components: Components) -> None:
    """Somebody asked calls for this number; its owner later asks for text messages and confirms those only."""
    ask(PHONE, channel="voice")
    doorstep.answer(NOW)
    ask(PHONE, now=NOW + timedelta(minutes=5))
    doorstep.answer(NOW + timedelta(minutes=5))
    letter = Letter.objects.get(subscription__channel="sms")
    assert services.confirm_code(phone=PHONE, code=services.letter_code(letter), now=NOW)
    assert Subscription.objects.get(channel="voice").state == State.PENDING


def _wake(now: datetime) -> Letter:
    """Ask to be woken: a text message carries the code for the calls too."""
    wish = doorstep.Wish(
        do="subscribe", channel="sms", also=("voice",), address=PHONE, wake_me=True, consent_text="I ask."
    )  # fmt: skip
    doorstep.ask(wish, kind=Kind.PHONE, network_hash="n", has_worked=True, now=now)
    doorstep.answer(now)
    return Letter.objects.order_by("-id")[0]


def _suppressed() -> list[str]:
    return sorted(Suppression.objects.values_list("channel", flat=True))


def test_who_pressed_nine_and_asks_to_be_woken_again_is_called_again(
    components: Components,
) -> None:
    hashed = services.hash_of(Kind.PHONE, PHONE)
    services.suppress(
        channel="voice", address_hash=hashed, reason="pressed 9", by_owner=True, now=NOW
    )
    letter = _wake(NOW)
    assert _suppressed() == ["voice"]
    assert services.confirm_code(phone=PHONE, code=services.letter_code(letter), now=NOW)
    assert Subscription.objects.get(channel="voice").state == State.ACTIVE
    assert _suppressed() == []


@pytest.mark.parametrize(
    ("channel", "by_owner", "asks_for_calls"),
    [
        pytest.param("voice", False, True, id="its provider says that it is dead"),
        pytest.param("voice", True, False, id="calls were not asked for"),
        pytest.param("email", True, True, id="another channel"),
    ],
)
def test_confirming_lifts_no_other_word(
    components: Components, channel: str, by_owner: bool, asks_for_calls: bool
) -> None:
    hashed = services.hash_of(Kind.PHONE, PHONE)
    services.suppress(channel=channel, address_hash=hashed, reason="no", by_owner=by_owner, now=NOW)
    if asks_for_calls:
        letter = _wake(NOW)
    else:
        ask(PHONE)
        doorstep.answer(NOW)
        letter = Letter.objects.get()
    assert services.confirm_code(phone=PHONE, code=services.letter_code(letter), now=NOW)
    assert _suppressed() == [channel]


def test_who_ends_the_calls_before_confirming_is_not_called(components: Components) -> None:
    letter = _wake(NOW)
    hashed = services.hash_of(Kind.PHONE, PHONE)
    services.suppress(
        channel="voice", address_hash=hashed, reason="pressed 9", by_owner=True, now=NOW
    )
    assert services.confirm_code(phone=PHONE, code=services.letter_code(letter), now=NOW)
    assert Subscription.objects.get(channel="voice").state == State.GONE
    assert _suppressed() == ["voice"]


# --- the gate -----------------------------------------------------------------------------------------


def test_the_gate_lets_people_in_and_sends_a_flood_away_in_the_readers_language() -> None:
    seen: list[str] = []

    def inside(environ: dict[str, Any], start: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        start("200 OK", [])
        return [b"in"]

    door = gate.Gate(inside, per_s=0.001, burst=2.0)
    answers: list[tuple[str, dict[str, str]]] = []

    def ask_at(path: str, method: str = "POST") -> bytes:
        environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "HTTP_ACCEPT_LANGUAGE": "ar,en"}
        return b"".join(door(environ, lambda status, heads: answers.append((status, dict(heads)))))

    assert [ask_at("/subscribe"), ask_at("/manage")] == [b"in", b"in"]
    assert 'dir="rtl"' in ask_at("/subscribe").decode()
    assert answers[-1][0].startswith("429")
    assert answers[-1][1]["Retry-After"] == "60"
    # Everything else goes through: confirming and leaving must work in a flood.
    assert ask_at("/subscribe", "GET") == ask_at("/unsubscribe/x") == ask_at("/confirm") == b"in"
    assert len(seen) == 5


def test_no_more_threads_than_some_are_busy_with_sign_ups() -> None:
    ask_for = {"PATH_INFO": "/subscribe", "REQUEST_METHOD": "POST"}
    depth: list[int] = []
    told: list[str] = []

    def inside(environ: dict[str, Any], start: Any) -> Any:
        depth.append(1)
        return door(environ, lambda status, heads: told.append(status))

    door = gate.Gate(inside)
    door(ask_for, lambda status, heads: told.append(status))
    assert len(depth) == gate.AT_ONCE_MAX
    assert told[0].startswith("429")
    # All have left: the next ones come in again.
    door(ask_for, lambda status, heads: told.append(status))
    assert len(depth) == 2 * gate.AT_ONCE_MAX


def test_the_gate_says_what_the_page_says() -> None:
    assert gate.SENTENCE == frame.TOO_MANY_SENTENCE
