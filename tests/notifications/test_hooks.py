"""Channels whose address is a place on the web: Slack, Discord, Teams, webhooks, web push."""

import base64
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from demo import hooks
from demo.hooks import Hooks
from notifications import channels
from notifications.channels import (
    Channel,
    Misconfigured,
    Outcome,
    Recipient,
    Result,
    _abreast,
    _guard,
    webhook,
    webpush,
)
from tests.notifications.test_channels import notice, recipient

VAPID = base64.urlsafe_b64encode(
    ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32, "big")
).decode()
ENVIRON = {
    "WEBHOOK_ALLOW_PRIVATE": "1",
    "SECRET_KEY": "one",
    "VAPID_PRIVATE_KEY": VAPID,
    "VAPID_CONTACT": "mailto:ops@follow.example",
}
NAMES = ("slack", "discord", "teams", "webhook", "webpush")
TIMEOUT_S = 2.5  # of a post to a server that hangs: its wait for a place, 1 s, is well below


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Hooks]:
    with hooks.running() as running:
        yield running


@pytest.fixture(autouse=True)
def _mended(stand_in: Hooks) -> Iterator[None]:
    yield
    stand_in.put_faults({})


class Browser:
    """A browser's subscription: its keys, and what it makes of a push."""

    def __init__(self, endpoint: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._auth = os.urandom(16)
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": _text(point), "auth": _text(self._auth)}
        self.address = json.dumps({"endpoint": endpoint, "keys": keys})

    def opened(self, body: bytes) -> dict[str, Any]:
        """Decrypt a push as RFC 8291 has a browser do it."""
        said = http_ece.decrypt(
            body, private_key=self._key, auth_secret=self._auth, version="aes128gcm"
        )
        found: dict[str, Any] = json.loads(said)
        return found


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(name: str, **environ: str) -> Channel:
    channel = channels.modules()[name].configure(ENVIRON | environ)
    assert channel is not None
    return channel


def address(name: str, url: str) -> str:
    match name:
        case "slack":
            return f"{url}/services/T1/B1/x"
        case "discord":
            return f"{url}/api/webhooks/1/x"
        case "teams":
            return f"{url}/workflows/1"
        case "webpush":
            return Browser(f"{url}/push/1").address
        case _:
            return f"{url}/hook/one"


def send(name: str, to: str, **changes: object) -> Outcome:
    channel = opened(name)
    try:
        return dict(channel.send(notice(**changes), iter([recipient("1", to)])))["1"]
    finally:
        channel.close()


def newest(stand_in: Hooks) -> tuple[dict[str, str], bytes]:
    entry: dict[str, Any] = stand_in.arrived()[-1]
    return entry["headers"], base64.b64decode(entry["body"])


@pytest.mark.parametrize("name", NAMES)
def test_what_the_provider_took_is_accepted_and_arrived_once(name: str, stand_in: Hooks) -> None:
    before = len(stand_in.arrived())

    assert send(name, address(name, stand_in.url)).result is Result.ACCEPTED

    assert len(stand_in.arrived()) == before + 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "result"),
    [
        pytest.param("429", Result.RETRY, id="too many requests"),
        pytest.param("302", Result.RETRY, id="a redirect is a failure and is not followed"),
        pytest.param("410", Result.REFUSED, id="gone for good"),
        pytest.param("drop", Result.UNKNOWN, id="the connection breaks after the request"),
    ],
)
def test_a_provider_that_fails_is_heard(
    name: str, shape: str, result: Result, stand_in: Hooks
) -> None:
    to = address(name, stand_in.url)
    target = "push" if name == "webpush" else name
    stand_in.put_faults({target: {"shape": shape, "retry_after_s": 7}})

    outcome = send(name, to)

    assert outcome.result is result
    assert outcome.dead == (shape == "410")
    assert (outcome.retry_after_s == 7) == (shape == "429")


@pytest.mark.parametrize("name", ["slack", "discord", "teams", "webpush"])
def test_an_address_that_is_gone_is_dead(name: str, stand_in: Hooks) -> None:
    stand_in.put_faults({"push" if name == "webpush" else name: "404"})

    assert send(name, address(name, stand_in.url)).dead


@pytest.mark.parametrize("name", NAMES)
def test_nobody_listening_may_be_tried_again_freely(name: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        closed = sock.getsockname()[1]

    assert send(name, address(name, f"http://127.0.0.1:{closed}")).result is Result.RETRY


@pytest.mark.parametrize("name", NAMES)
def test_the_preview_shows_what_to_do(name: str) -> None:
    assert "Check the wearer's own device" in opened(name).preview(notice())


def test_a_webhook_is_signed_so_that_its_receiver_can_check_it(stand_in: Hooks) -> None:
    to = address("webhook", stand_in.url)
    send("webhook", to, machine="")
    headers, body = newest(stand_in)
    secret = webhook.signing_secret(to, "one")

    assert Webhook(secret).verify(body, headers)["type"] == "incident.update"
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.signing_secret(to + "x", "one")).verify(body, headers)


def test_a_webhook_sent_again_keeps_its_id(stand_in: Hooks) -> None:
    to = address("webhook", stand_in.url)

    send("webhook", to)
    first = newest(stand_in)[0]["webhook-id"]
    send("webhook", to)

    assert newest(stand_in)[0]["webhook-id"] == first


def test_only_a_receiver_that_sends_the_challenge_back_confirms(stand_in: Hooks) -> None:
    asks = {"kind": "letter", "thread": "", "confirms": True}

    assert not send("webhook", f"{stand_in.url}/hook/mute", **asks).confirms
    assert send("webhook", f"{stand_in.url}/hook/one?echo=1", **asks).confirms
    assert not send("webhook", f"{stand_in.url}/hook/one?echo=1").confirms


def test_an_address_in_letters_beyond_ascii_is_written_to_as_a_browser_would(
    stand_in: Hooks,
) -> None:
    assert send("webhook", f"{stand_in.url}/hook/hö?für=%C3%BC|x").result is Result.ACCEPTED

    assert stand_in.arrived()[-1]["path"] == "/hook/h%C3%B6?f%C3%BCr=%C3%BC|x"


def test_an_address_that_no_request_can_name_is_refused_alone(stand_in: Hooks) -> None:
    people = [
        recipient(str(n), Browser(f"{stand_in.url}/push/{path}").address)
        for n, path in enumerate(("1", "\ud800", "3"))
    ]

    channel = opened("webpush")
    outcomes = dict(channel.send(notice(), iter(people)))
    channel.close()

    assert [outcomes[key].result for key in "012"] == ["accepted", "refused", "accepted"]


def test_a_long_incident_leaves_its_oldest_updates_out_of_a_webhook() -> None:
    said = [{"id": str(n), "body": "x" * 900} for n in range(60)]
    machine = json.dumps({"meta": {}, "page": {}, "incident": {"incident_updates": said}})

    words = webhook.payload(notice(machine=machine))

    kept = words["incident"]["incident_updates"]
    assert len(json.dumps(words).encode()) <= webhook.BODY_BYTES_MAX
    assert [row["id"] for row in kept] == [str(n) for n in range(len(kept))]
    assert len(kept) > 1


def test_a_push_is_read_by_its_browser_alone(stand_in: Hooks) -> None:
    browser = Browser(f"{stand_in.url}/push/2")
    send("webpush", browser.address)
    headers, body = newest(stand_in)

    said = browser.opened(body)

    assert said["title"] == "Follow is down: check the wearer's own device"
    assert said["url"] == "https://status.example.org/incidents/abc123"
    assert b"Follow" not in body
    with pytest.raises(http_ece.ECEException):
        Browser(f"{stand_in.url}/push/2").opened(body)
    assert headers["urgency"] == "high"
    assert int(headers["ttl"]) > 0


def test_a_sleeping_phone_gets_the_newest_push_of_an_incident_only(stand_in: Hooks) -> None:
    to = address("webpush", stand_in.url)
    topics = []
    for thread, sequence in (("abc", 1), ("abc", 2), ("other", 1)):
        send("webpush", to, thread=thread, sequence=sequence)
        topics.append(newest(stand_in)[0]["topic"])

    assert topics[0] == topics[1] != topics[2]
    assert all(len(topic) <= webpush.TOPIC_CHARS_MAX for topic in topics)


def test_pushes_go_out_abreast_and_each_has_its_own_outcome(stand_in: Hooks) -> None:
    people = [recipient(str(n), Browser(f"{stand_in.url}/push/{n}").address) for n in range(40)]
    people[7] = recipient("7", "no json")

    channel = opened("webpush")
    outcomes = dict(channel.send(notice(), iter(people)))
    channel.close()

    assert {key for key, outcome in outcomes.items() if outcome.result is Result.ACCEPTED} == {
        str(n) for n in range(40) if n != 7
    }
    assert outcomes["7"].result is Result.REFUSED


@contextmanager
def silent(servers: int) -> Iterator[list[str]]:
    """Servers that take a post and never answer, each a host of its own; yield their addresses."""
    with ExitStack() as stack:
        listening = [
            stack.enter_context(socket.create_server((f"127.0.0.{2 + n}", 0)))
            for n in range(servers)
        ]
        yield ["http://{}:{}".format(*one.getsockname()) for one in listening]


def told(name: str, people: list[Recipient]) -> dict[str, tuple[Outcome, float]]:
    """Send with a timeout of TIMEOUT_S; return each outcome and when it was known."""
    channel = opened(name)
    assert isinstance(channel, webhook.WebhookChannel | webpush.WebPush)
    channel = replace(channel, poster=_guard.Poster(allow_private=True, post_s=TIMEOUT_S))
    began = time.monotonic()
    found = {
        delivery: (outcome, time.monotonic() - began)
        for delivery, outcome in channel.send(notice(), iter(people))
    }
    channel.close()
    return found


@pytest.mark.parametrize("name", ["webhook", "webpush"])
@pytest.mark.slow
def test_servers_that_hang_delay_the_others_by_one_timeout(name: str, stand_in: Hooks) -> None:
    with silent(20) as hanging:
        urls = [*hanging, *[stand_in.url] * 20]
        found = told(name, [recipient(str(n), address(name, url)) for n, url in enumerate(urls)])

    assert [found[str(n)][0].result for n in range(40)] == [Result.UNKNOWN] * 20 + [
        Result.ACCEPTED
    ] * 20
    assert max(found[str(n)][1] for n in range(20, 40)) < 2 * TIMEOUT_S


@pytest.mark.slow
def test_a_server_that_hangs_costs_its_own_place_only(stand_in: Hooks) -> None:
    with silent(_abreast.ABREAST - 1) as hanging:
        urls = [*hanging, *[stand_in.url] * 20]
        found = told(
            "webhook", [recipient(str(n), address("webhook", url)) for n, url in enumerate(urls)]
        )

    assert all(found[str(n)][1] < TIMEOUT_S for n in range(len(hanging), len(urls)))


@pytest.mark.slow
def test_a_host_with_many_hooks_that_hang_leaves_places_to_the_others(stand_in: Hooks) -> None:
    with silent(1) as hanging:
        urls = [*hanging * 20, *[stand_in.url] * 20]
        found = told(
            "webhook", [recipient(str(n), address("webhook", url)) for n, url in enumerate(urls)]
        )

    assert all(found[str(n)][0].result is Result.ACCEPTED for n in range(20, 40))
    assert max(found[str(n)][1] for n in range(20, 40)) < TIMEOUT_S
    results = [found[str(n)][0].result for n in range(20)]
    assert results.count(Result.UNKNOWN) == _abreast.HOST_MAX
    assert results.count(Result.RETRY) == 20 - _abreast.HOST_MAX


def test_a_host_with_many_hooks_that_answers_gets_them_all(
    stand_in: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_abreast, "PLACE_WAIT_S", 30)  # for a machine that is slow itself
    urls = [f"{stand_in.url}/hook/{n}" for n in range(60)]
    found = told("webhook", [recipient(str(n), url) for n, url in enumerate(urls)])

    assert {outcome.result for outcome, _ in found.values()} == {Result.ACCEPTED}


@pytest.mark.parametrize("name", ["webhook", "webpush"])
@pytest.mark.slow
def test_nobody_is_pulled_before_there_is_a_place(name: str) -> None:
    pulled: list[float] = []

    def batch(url: str) -> Iterator[Recipient]:
        for n in range(_abreast.ABREAST + 1):
            pulled.append(time.monotonic())
            yield recipient(str(n), address(name, url))

    with silent(1) as (hanging,):
        channel = replace(opened(name), poster=_guard.Poster(allow_private=True, post_s=TIMEOUT_S))  # type: ignore[type-var]  # both are dataclasses
        next(channel.send(notice(), batch(hanging)))

    assert len(pulled) == channel.group


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"VAPID_PRIVATE_KEY": "short"}, id="no key"),
        pytest.param({"VAPID_CONTACT": "ops"}, id="no contact"),
    ],
)
def test_a_wrong_key_stops_the_start_in_words(environ: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match=r"VAPID_(PRIVATE_KEY|CONTACT) must"):
        webpush.configure(ENVIRON | environ)


# security.md, "SSRF": the catalogue.
@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.0.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://localhost/",
        "https://user:secret@example.org/",
        "ftp://example.org/",
        "https://224.0.0.1/",
    ],
)
def test_a_strangers_address_leads_into_no_private_net(url: str) -> None:
    with pytest.raises(_guard.Unsafe):
        _guard.Poster().post(url, b"{}", {})


def test_a_name_that_cannot_be_resolved_is_not_written_to() -> None:
    with pytest.raises(_guard.NotSent):
        _guard.Poster().post("https://nobody.invalid/", b"{}", {})


def test_the_address_that_was_checked_is_the_one_written_to(
    stand_in: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that changes between the look and the call (rebinding) is looked up once only."""
    looked_up: list[str] = []
    genuine = socket.getaddrinfo

    def told(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        looked_up.append(host)
        return genuine("127.0.0.1", port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", told)
    port = stand_in.url.rpartition(":")[2]

    answer = _guard.Poster(allow_private=True).post(
        f"http://moving.example:{port}/hook/x", b"{}", {}
    )

    assert answer.status == 204
    # Once for the check; connecting to an address in digits looks nothing up.
    assert looked_up.count("moving.example") == 1


def test_an_answer_is_read_to_its_bound_only(stand_in: Hooks) -> None:
    stand_in.put_faults({"webhook": "bomb"})

    answer = _guard.Poster(allow_private=True).post(f"{stand_in.url}/hook/x", b"{}", {})

    assert len(answer.body) == _guard.ANSWER_BYTES_MAX


def test_a_server_that_drips_its_answer_is_cut_off(stand_in: Hooks) -> None:
    stand_in.put_faults({"webhook": {"shape": "drip", "delay_s": 20}})

    answer = _guard.Poster(allow_private=True, post_s=0.5).post(f"{stand_in.url}/hook/x", b"", {})

    # Its status is its word; of the thousand bytes that it promised few had come.
    assert answer.status == 200
    assert len(answer.body) < 100


def test_a_server_that_drips_its_first_line_has_said_nothing() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        drip = threading.Thread(target=_drip, args=(server,), daemon=True)
        drip.start()
        poster = _guard.Poster(allow_private=True, post_s=0.5)

        with pytest.raises((_guard.NoAnswer, _guard._Stale)):
            poster.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"", {})
        drip.join(5)


def _drip(server: socket.socket) -> None:
    """Send a status line a byte at a time, for five seconds at most."""
    line, _ = server.accept()
    with line:
        for byte in b"HTTP/1.1 200 " + b"O" * 37:
            try:
                line.send(bytes([byte]))
            except OSError:
                return
            time.sleep(0.1)


def test_a_kept_connection_that_was_closed_is_opened_anew(stand_in: Hooks) -> None:
    poster = _guard.Poster(allow_private=True, keep=True)
    url = f"{stand_in.url}/hook/x"
    poster.post(url, b"{}", {})
    kept = next(iter(poster._kept.values()))[0].connection
    assert kept.sock is not None
    kept.sock.shutdown(socket.SHUT_RDWR)

    assert poster.post(url, b"{}", {}).status == 204
    poster.close()
