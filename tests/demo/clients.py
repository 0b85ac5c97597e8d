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
