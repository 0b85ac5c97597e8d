"""A stranger's webhook leads nowhere inside, neither by its challenge nor by any later message."""

import socket
from typing import Any

import pytest

from notifications.channels import Result, webhook
from tests.notifications.test_channels import notice, recipient

INSIDE = [
    "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://0.0.0.0/", "https://[::1]/",
    "https://[::ffff:169.254.169.254]/", "https://[64:ff9b::7f00:1]/", "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/", "https://localhost/",
    "https://[fe80::1]/", "https://[fc00::1]/", "https://example.org:22/", "http://example.org/",
]  # fmt: skip


def sent(url: str, *, confirms: bool) -> Any:
    channel = webhook.configure({"SECRET_KEY": "only-for-tests"})
    said = notice(kind="letter", confirms=True) if confirms else notice()
    try:
        return dict(channel.send(said, iter([recipient("1", url)])))["1"]
    finally:
        channel.close()


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []

    def connect(place: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(place)
        raise OSError("nobody is called in this test")

    monkeypatch.setattr(socket, "create_connection", connect)
    return made


@pytest.mark.parametrize("confirms", [True, False], ids=["the challenge", "a later message"])
@pytest.mark.parametrize("url", INSIDE)
def test_no_message_leads_inside(url: str, confirms: bool, no_connection: list[Any]) -> None:
    assert sent(url, confirms=confirms).result is Result.REFUSED
    assert no_connection == []


@pytest.mark.parametrize("confirms", [True, False], ids=["the challenge", "a later message"])
@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::ffff:10.0.0.1"]],
    ids=["localtest.me", "one of two is inside", "mapped"],
)
def test_a_name_is_judged_by_every_address_it_has_at_every_send(
    answers: list[str], confirms: bool, no_connection: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(host: str, port: int, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port)) for answer in answers]

    monkeypatch.setattr(socket, "getaddrinfo", told)
    assert sent("https://localtest.me/", confirms=confirms).result is Result.REFUSED
    assert no_connection == []


@pytest.mark.parametrize("confirms", [True, False], ids=["the challenge", "a later message"])
def test_a_resolver_that_fails_sends_nothing(
    confirms: bool, no_connection: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: Any, **__: Any) -> Any:
        raise socket.gaierror("temporary failure")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    assert sent("https://example.org/", confirms=confirms).result is Result.RETRY
    assert no_connection == []
