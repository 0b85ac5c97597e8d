"""The stand-ins of X and Facebook, through the clients that the product uses."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import quote

import facebook
import pytest
import requests
import tweepy

from demo.providers import Providers
from demo.x import oauth_signature, post_weight
from tests.demo.clients import (
    TIMEOUT_S,
    graph_of,
    rebased,
    x_of,
)

# JSON of a stranger: its shape is what the test looks at.
Json = Any


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
