"""What the product uses against the providers, pointed at the stand-ins, and a listener."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import facebook
import requests
import tweepy
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from demo.providers import Providers

TIMEOUT_S = 5
FROM, TO = "+15005550006", "+12025550123"
# facebook-sdk and tweepy have no types.
Untyped = Any


class Rebase(HTTPAdapter):
    """Sends what was meant for a provider to loopback, naming the provider in a header."""

    def __init__(self, base: str) -> None:
        self.base = base
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        request.headers["X-Original-Host"] = parts.netloc
        request.url = self.base + parts.path + (f"?{parts.query}" if parts.query else "")
        more["timeout"] = TIMEOUT_S
        return super().send(request, *args, **more)


def rebased(session: requests.Session, base: str) -> requests.Session:
    session.mount("https://", Rebase(base))
    return session


def twilio_of(providers: Providers, token: str | None = None) -> Client:
    http = TwilioHttpClient(timeout=TIMEOUT_S)
    rebased(http.session, providers.url)
    keys = providers.credentials
    return Client(keys.twilio_sid, token or keys.twilio_token, http_client=http)


def x_of(providers: Providers, **changed: str) -> Untyped:
    keys = providers.credentials
    given = {
        "consumer_key": keys.x_consumer_key,
        "consumer_secret": keys.x_consumer_secret,
        "access_token": keys.x_access_token,
        "access_token_secret": keys.x_access_token_secret,
    }
    client = tweepy.Client(**{**given, **changed})
    rebased(client.session, providers.url)
    return client


def graph_of(providers: Providers, token: str | None = None) -> Untyped:
    session = rebased(requests.Session(), providers.url)
    shown = token or providers.credentials.facebook_page_token
    graph = facebook.GraphAPI(access_token=shown, timeout=TIMEOUT_S, session=session)
    graph.version = "v25.0"
    return graph


def post_raw(providers: Providers, resource: str, form: dict[str, str]) -> requests.Response:
    keys = providers.credentials
    url = f"{providers.url}/2010-04-01/Accounts/{keys.twilio_sid}/{resource}.json"
    auth = HTTPBasicAuth(keys.twilio_sid, keys.twilio_token)
    return requests.post(url, data=form, auth=auth, timeout=TIMEOUT_S)


def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
    parts = urlsplit(str(request.url))
    request.headers["X-Original-Host"] = parts.netloc
    request.url = self.base + parts.path + (f"?{parts.query}" if parts.query else "")
    more["timeout"] = TIMEOUT_S
    return super().send(request, *args, **more)


def rebased(session: requests.Session, base: str) -> requests.Session:
    session.mount("https://", Rebase(base))
    return session


@pytest.fixture(scope="module")
def service() -> Iterator[Providers]:
    """One set of stand-ins for the whole file."""
    with running(step_s=0.002) as providers:
        yield providers


@pytest.fixture
def providers(service: Providers) -> Iterator[Providers]:
    """The stand-ins, whole and empty again afterwards."""
    yield service
    service.put_faults({})
    service.put_phones({})
    requests.delete(f"{service.url}/ledger", timeout=TIMEOUT_S)


def twilio_of(providers: Providers, token: str | None = None) -> Client:
    http = TwilioHttpClient(timeout=TIMEOUT_S)
    rebased(http.session, providers.url)
    keys = providers.credentials
    return Client(keys.twilio_sid, token or keys.twilio_token, http_client=http)


def x_of(providers: Providers, **changed: str) -> Untyped:
    keys = providers.credentials
    given = {
        "consumer_key": keys.x_consumer_key,
        "consumer_secret": keys.x_consumer_secret,
        "access_token": keys.x_access_token,
        "access_token_secret": keys.x_access_token_secret,
    }
    client = tweepy.Client(**{**given, **changed})
    rebased(client.session, providers.url)
    return client


def graph_of(providers: Providers, token: str | None = None) -> Untyped:
    session = rebased(requests.Session(), providers.url)
    shown = token or providers.credentials.facebook_page_token
    graph = facebook.GraphAPI(access_token=shown, timeout=TIMEOUT_S, session=session)
    graph.version = "v25.0"
    return graph


class Caller:
    """What a provider called back with: path, form and signature, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[tuple[str, dict[str, str], str]] = []
        self.answers: dict[str, str] = {}

    def forms(self, path: str) -> list[dict[str, str]]:
        return [form for at, form, _ in self.heard if at == path]


@contextmanager
def listening() -> Iterator[Caller]:
    """Listen for callbacks on loopback while the block runs."""

    class Hear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = dict(parse_qsl(body, keep_blank_values=True))
            caller.heard.append((self.path, form, self.headers.get("X-Twilio-Signature", "")))
            answer = caller.answers.get(self.path, "").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hear)
    caller = Caller(f"http://127.0.0.1:{server.server_address[1]}")
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield caller
    finally:
        server.shutdown()
        server.server_close()


def wait_until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.01)


# Twilio: messages.


def test_an_sms_is_accepted_in_twilios_form(providers: Providers) -> None:
    message = twilio_of(providers).messages.create(to=TO, from_=FROM, body="Follow is down")
    assert re.fullmatch(r"SM[0-9a-f]{32}", str(message.sid))
    assert (message.status, message.error_code) == ("queued", None)
    assert isinstance(message.date_created, datetime)
    entry = providers.ledger()["twilio-sms"][0]
    assert (entry["to"], entry["body"], entry["id"]) == (TO, "Follow is down", message.sid)


def test_an_sms_by_messaging_service_needs_no_number(providers: Providers) -> None:
    service = "MG" + "0" * 32
    message = twilio_of(providers).messages.create(to=TO, messaging_service_sid=service, body="x")
    assert (message.status, message.messaging_service_sid) == ("accepted", service)


def test_callbacks_come_in_order_and_signed(providers: Providers) -> None:
    keys = providers.credentials
    with listening() as caller:
        url = f"{caller.url}/receipts/twilio?delivery=7"
        twilio_of(providers).messages.create(to=TO, from_=FROM, body="x", status_callback=url)
        wait_until(lambda: len(caller.heard) == 3)
    statuses = [form["MessageStatus"] for _, form, _ in caller.heard]
    assert statuses == ["queued", "sent", "delivered"]
    validator = RequestValidator(keys.twilio_token)
    _, form, signature = caller.heard[0]
    assert validator.validate(url, form, signature)
    assert not validator.validate(url, {**form, "To": FROM}, signature)
    assert not RequestValidator("another").validate(url, form, signature)


def test_a_message_may_end_undelivered(providers: Providers) -> None:
    providers.put_phones({TO: {"sms": "undelivered"}})
    with listening() as caller:
        twilio_of(providers).messages.create(
            to=TO, from_=FROM, body="x", status_callback=f"{caller.url}/cb"
        )
        wait_until(lambda: len(caller.heard) == 3)
    assert caller.heard[-1][1]["ErrorCode"] == "30003"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        pytest.param({"From": FROM, "Body": "x"}, 21604, id="no To"),
        pytest.param({"To": TO, "Body": "x"}, 21603, id="no From"),
        pytest.param({"To": TO, "From": FROM}, 21602, id="no Body"),
        pytest.param({"To": "12", "From": FROM, "Body": "x"}, 21211, id="no number"),
        pytest.param({"To": TO, "From": FROM, "Body": "x" * 1601}, 21617, id="too long"),
        pytest.param({"To": TO, "From": "+0", "Body": "x"}, 21212, id="bad From"),
    ],
)
def test_a_wrong_sms_is_refused_with_twilios_code(
    providers: Providers, form: dict[str, str], code: int
) -> None:
    answer = post_raw(providers, "Messages", form)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert set(answer.json()) == {"code", "message", "more_info", "status"}
    assert providers.ledger()["twilio-sms"] == []


def test_a_body_of_1600_is_taken(providers: Providers) -> None:
    form = {"To": TO, "From": FROM, "Body": "x" * 1600}
    assert post_raw(providers, "Messages", form).status_code == 201


def post_raw(providers: Providers, resource: str, form: dict[str, str]) -> requests.Response:
    keys = providers.credentials
    url = f"{providers.url}/2010-04-01/Accounts/{keys.twilio_sid}/{resource}.json"
    auth = HTTPBasicAuth(keys.twilio_sid, keys.twilio_token)
    return requests.post(url, data=form, auth=auth, timeout=TIMEOUT_S)


def test_a_wrong_token_is_20003(providers: Providers) -> None:
    with pytest.raises(TwilioRestException) as refused:
        twilio_of(providers, token="wrong").messages.create(to=TO, from_=FROM, body="x")
    assert (refused.value.status, refused.value.code) == (401, 20003)


def test_after_STOP_a_number_is_21610_until_START(providers: Providers) -> None:
    def says(body: str, url: str) -> None:
        asked = {"from": TO, "to": FROM, "body": body, "url": url}
        answer = requests.post(f"{providers.url}/inbound", json=asked, timeout=TIMEOUT_S)
        assert answer.json()["answered"] == 200

    with listening() as caller:
        says("Stop ", f"{caller.url}/in")
        with pytest.raises(TwilioRestException) as refused:
            twilio_of(providers).messages.create(to=TO, from_=FROM, body="x")
        says("START", f"{caller.url}/in")
    assert refused.value.code == 21610
    assert twilio_of(providers).messages.create(to=TO, from_=FROM, body="x").sid
    path, form, signature = caller.heard[0]
    validator = RequestValidator(providers.credentials.twilio_token)
    assert validator.validate(f"{caller.url}{path}", form, signature)
    assert (form["From"], form["Body"], form["OptOutType"]) == (TO, "Stop ", "STOP")


def test_messages_can_be_found_again_by_number_and_time(providers: Providers) -> None:
    client = twilio_of(providers)
    for number in (TO, TO, "+12025550199"):
        client.messages.create(to=number, from_=FROM, body="x")
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    assert len(client.messages.list(to=TO, date_sent_after=now - hour)) == 2
    assert client.messages.list(to=TO, date_sent_after=now + hour) == []
    assert len(client.messages.list(page_size=2)) == 3
    sid = str(client.messages.list(to="+12025550199")[0].sid)
    assert client.messages(sid).fetch().to == "+12025550199"


def test_an_unknown_message_is_20404(providers: Providers) -> None:
    with pytest.raises(TwilioRestException) as refused:
        twilio_of(providers).messages("SM" + "0" * 32).fetch()
    assert (refused.value.status, refused.value.code) == (404, 20404)


# Twilio: calls.

EVENTS = ["initiated", "ringing", "answered", "completed"]


def place_call(providers: Providers, caller: Caller, **given: str) -> str:
    call = twilio_of(providers).calls.create(
        to=TO,
        from_=FROM,
        status_callback=f"{caller.url}/status",
        status_callback_event=EVENTS,
        **given,
    )
    wait_until(lambda: any(f["CallStatus"] in ENDS for f in caller.forms("/status")))
    return str(call.sid)


ENDS = ("completed", "busy", "no-answer", "failed")


def test_a_call_is_answered_told_and_acknowledged_with_a_key(providers: Providers) -> None:
    with listening() as caller:
        caller.answers["/twiml"] = (
            f'<Response><Gather numDigits="1" action="{caller.url}/pressed">'
            "<Say>Follow is down. Press 1.</Say></Gather><Say>Goodbye</Say></Response>"
        )
        caller.answers["/pressed"] = "<Response><Say>Thank you</Say></Response>"
        sid = place_call(providers, caller, url=f"{caller.url}/twiml")
    statuses = [form["CallStatus"] for form in caller.forms("/status")]
    assert statuses == ["initiated", "ringing", "in-progress", "completed"]
    [pressed] = caller.forms("/pressed")
    assert (pressed["Digits"], pressed["CallSid"]) == ("1", sid)
    entry = providers.ledger()["twilio-voice"][0]
    assert entry["said"] == ["Follow is down. Press 1.", "Thank you"]
    validator = RequestValidator(providers.credentials.twilio_token)
    assert all(validator.validate(caller.url + path, form, s) for path, form, s in caller.heard)
    assert twilio_of(providers).calls(sid).fetch().status == "completed"


def test_a_call_may_bring_its_words_along(providers: Providers) -> None:
    with listening() as caller:
        place_call(providers, caller, twiml="<Response><Say>Wake up</Say></Response>")
    assert providers.ledger()["twilio-voice"][0]["said"] == ["Wake up"]


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        pytest.param("no", "no-answer", id="nobody answers"),
        pytest.param("busy", "busy", id="busy"),
        pytest.param("hang", "completed", id="answered, nothing pressed"),
    ],
)
def test_a_call_that_is_not_acknowledged(providers: Providers, answer: str, last: str) -> None:
    providers.put_phones({"*": {"answer": answer}})
    with listening() as caller:
        gather = f'<Gather action="{caller.url}/pressed"><Say>Press 1</Say></Gather>'
        place_call(providers, caller, twiml=f"<Response>{gather}</Response>")
    assert caller.forms("/status")[-1]["CallStatus"] == last
    assert caller.forms("/pressed") == []


def test_a_call_without_events_hears_of_its_end_only(providers: Providers) -> None:
    with listening() as caller:
        twilio_of(providers).calls.create(
            to=TO, from_=FROM, twiml="<Response/>", status_callback=f"{caller.url}/status"
        )
        wait_until(lambda: any(form["CallStatus"] in ENDS for _, form, _ in caller.heard))
    assert [form["CallStatus"] for form in caller.forms("/status")] == ["completed"]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        pytest.param({"From": FROM, "Twiml": "<Response/>"}, 21201, id="no To"),
        pytest.param({"To": TO, "Twiml": "<Response/>"}, 21213, id="no From"),
        pytest.param({"To": TO, "From": FROM}, 21205, id="nothing to say"),
        pytest.param({"To": "x", "From": FROM, "Twiml": "<Response/>"}, 21211, id="no number"),
    ],
)
def test_a_wrong_call_is_refused(providers: Providers, form: dict[str, str], code: int) -> None:
    assert post_raw(providers, "Calls", form).json()["code"] == code


def test_wrong_phones_are_refused_in_one_sentence(providers: Providers) -> None:
    answer = providers.put_phones({TO: {"answer": "maybe"}})
    assert answer.status == 400
    assert "answer must be one of" in answer.text


# X.


def test_a_thread_is_posted_and_read_again(providers: Providers) -> None:
    client = x_of(providers)
    first = client.create_tweet(text="Follow is down 01:02 https://status.example.org").data["id"]
    client.create_tweet(text="We are on it 01:31", in_reply_to_tweet_id=first)
    posts = providers.ledger()["x"]
    assert [post["in_reply_to"] for post in posts] == [first, ""]
    me = client.get_me(user_auth=True).data.id
    found = client.get_users_tweets(me, user_auth=True, max_results=5).data
    assert [post.text for post in found][-1].startswith("Follow is down")


@pytest.mark.parametrize(
    "wrong", ["consumer_secret", "access_token_secret", "access_token", "consumer_key"]
)
def test_a_wrong_key_is_unauthorised(providers: Providers, wrong: str) -> None:
    with pytest.raises(tweepy.Unauthorized):
        x_of(providers, **{wrong: "wrong"}).create_tweet(text="x")
    assert providers.ledger()["x"] == []


def test_a_request_cannot_be_played_twice(providers: Providers) -> None:
    session = rebased(requests.Session(), providers.url)
    client = x_of(providers)
    client.session = session
    sent = client.create_tweet(text="once")
    assert sent.data["id"]
    keys = providers.credentials
    shown = {
        "oauth_consumer_key": keys.x_consumer_key,
        "oauth_token": keys.x_access_token,
        "oauth_nonce": "n1",
        "oauth_timestamp": str(int(time.time())),
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_version": "1.0",
    }
    url = "https://api.twitter.com/2/users/me"
    signature = oauth_signature(
        "GET", url, list(shown.items()), (keys.x_consumer_secret, keys.x_access_token_secret)
    )
    pairs = {**shown, "oauth_signature": quote(signature, safe="")}
    headers = {"Authorization": "OAuth " + ", ".join(f'{k}="{v}"' for k, v in pairs.items())}
    statuses = [session.get(url, headers=headers, timeout=TIMEOUT_S).status_code for _ in "12"]
    assert statuses == [200, 401]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        pytest.param("x" * 280, True, id="280 letters"),
        pytest.param("x" * 281, False, id="281 letters"),
        pytest.param("é" * 280, True, id="Latin 1"),
        pytest.param("語" * 140, True, id="140 Chinese"),
        pytest.param("語" * 141, False, id="141 Chinese"),
        pytest.param("👩‍👩‍👧" * 140, True, id="140 families"),
        pytest.param("👩‍👩‍👧" * 141, False, id="141 families"),
        pytest.param("https://example.org/" + "x" * 300 + " " + "y" * 256, True, id="URL is 23"),
        pytest.param("https://example.org/" + "x" * 300 + " " + "y" * 257, False, id="URL + 1"),
        pytest.param("   ", False, id="empty"),
    ],
)
def test_a_post_is_weighed(providers: Providers, text: str, fits: bool) -> None:
    client = x_of(providers)
    if fits:
        assert client.create_tweet(text=text).data["text"] == text
    else:
        with pytest.raises(tweepy.BadRequest):
            client.create_tweet(text=text)


def test_a_flag_weighs_two() -> None:
    assert post_weight("🇺🇸") == 2


def test_the_same_text_twice_is_forbidden(providers: Providers) -> None:
    client = x_of(providers)
    client.create_tweet(text="Follow is down")
    with pytest.raises(tweepy.Forbidden, match="duplicate content"):
        client.create_tweet(text="Follow is down")
    assert len(providers.ledger()["x"]) == 1


def test_used_up_credits_are_402(providers: Providers) -> None:
    providers.put_faults({"x": "402"})
    with pytest.raises(tweepy.HTTPException) as refused:
        x_of(providers).create_tweet(text="x")
    told = refused.value.response.json()
    assert (refused.value.response.status_code, told["title"]) == (402, "CreditsDepleted")
    assert providers.ledger()["x"] == []
    assert "facebook cannot show '402'" in providers.put_faults({"facebook": "402"}).text


def test_a_reply_needs_its_post(providers: Providers) -> None:
    with pytest.raises(tweepy.BadRequest, match="deleted or not visible"):
        x_of(providers).create_tweet(text="x", in_reply_to_tweet_id="1")


# Facebook.


def test_a_post_is_made_edited_and_commented(providers: Providers) -> None:
    graph, page = graph_of(providers), providers.credentials.facebook_page_id
    post = graph.put_object(page, "feed", message="01:02 down", link="https://s.example")["id"]
    assert re.fullmatch(rf"{page}_\d+", post)
    args = {"message": "02:10 mended"}
    assert graph.request(f"v25.0/{post}", post_args=args, method="POST") == {"success": True}
    assert graph.put_object(post, "comments", message="We found the cause")["id"]
    assert [found["message"] for found in graph.get_connections(page, "feed")["data"]] == [
        "02:10 mended"
    ]
    [comment] = graph.get_connections(post, "comments")["data"]
    assert comment["message"] == "We found the cause"
    assert [entry["in_reply_to"] for entry in providers.ledger()["facebook"]] == [post, ""]


def test_the_same_words_twice_on_a_page_are_506(providers: Providers) -> None:
    graph = graph_of(providers)
    post = graph.put_object("me", "feed", message="Follow is down", link="https://s.example")["id"]
    with pytest.raises(facebook.GraphAPIError) as refused:
        graph.put_object("me", "feed", message="Follow is down", link="https://s.example")
    assert refused.value.code == 506
    assert graph.put_object("me", "feed", message="Follow is down", link="https://t.example")
    assert graph.put_object(post, "comments", message="Follow is down")
    assert graph.put_object(post, "comments", message="Follow is down")


@pytest.mark.parametrize("version", ["v19.0", "v25.0", "v30.1"])
def test_any_version_answers(providers: Providers, version: str) -> None:
    graph = graph_of(providers)
    graph.version = version
    assert graph.put_object("me", "feed", message=f"at {version}")["id"]


def test_a_wrong_page_token_is_190(providers: Providers) -> None:
    with pytest.raises(facebook.GraphAPIError) as refused:
        graph_of(providers, "wrong").put_object("me", "feed", message="x")
    assert refused.value.code == 190
    assert refused.value.type == "OAuthException"


@pytest.mark.parametrize(
    ("target", "edge", "message"),
    [
        pytest.param("1", "feed", "x", id="another page"),
        pytest.param("1_1", "comments", "x", id="a post that is not"),
        pytest.param("me", "feed", "", id="nothing to say"),
    ],
)
def test_a_wrong_post_is_100(providers: Providers, target: str, edge: str, message: str) -> None:
    with pytest.raises(facebook.GraphAPIError) as refused:
        graph_of(providers).put_object(target, edge, message=message)
    assert refused.value.code == 100


def test_the_token_can_be_checked(providers: Providers) -> None:
    graph, keys = graph_of(providers), providers.credentials
    for path in ("debug_token", "v25.0/debug_token"):
        answer = graph.request(path, {"input_token": keys.facebook_page_token})
        assert answer["data"]["is_valid"] is True
    assert graph.request("debug_token", {"input_token": "x"})["data"]["is_valid"] is False


# Faults.


def send(providers: Providers, target: str, text: str) -> object:
    match target:
        case "twilio-sms":
            return twilio_of(providers).messages.create(to=TO, from_=FROM, body=text)
        case "twilio-voice":
            twiml = f"<Response><Say>{text}</Say></Response>"
            return twilio_of(providers).calls.create(to=TO, from_=FROM, twiml=twiml)
        case "x":
            return x_of(providers).create_tweet(text=text)
        case _:
            return graph_of(providers).put_object("me", "feed", message=text)


class Caller:
    """What a provider called back with: path, form and signature, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[tuple[str, dict[str, str], str]] = []
        self.answers: dict[str, str] = {}

    def forms(self, path: str) -> list[dict[str, str]]:
        return [form for at, form, _ in self.heard if at == path]


@contextmanager
def listening() -> Iterator[Caller]:
    """Listen for callbacks on loopback while the block runs."""

    class Hear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = dict(parse_qsl(body, keep_blank_values=True))
            caller.heard.append((self.path, form, self.headers.get("X-Twilio-Signature", "")))
            answer = caller.answers.get(self.path, "").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hear)
    caller = Caller(f"http://127.0.0.1:{server.server_address[1]}")
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield caller
    finally:
        server.shutdown()
        server.server_close()


def wait_until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.01)
