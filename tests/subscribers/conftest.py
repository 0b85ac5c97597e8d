"""The world of people: a page with two parts, and somebody who asks to be told."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.conf import settings

from incidents import reads, services
from incidents.models import Component
from subscribers.models import Letter, LetterKind, Subscription
from subscribers.services import subscribe

# The pages ask the real clock: the cast subscribes ten seconds ago.
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=10)
FOLLOWER = "follower@example.org"
PHONE = "+16175550123"


@pytest.fixture
def components(db: None) -> dict[str, Component]:
    page = reads.the_page()
    return {
        slug: services.add_component(
            page=page, slug=slug, name=name, critical=slug == "follow", actor="test", now=NOW
        )
        for slug, name in (("login", "Log in"), ("follow", "Readings and alerts"))
    }


@pytest.fixture
def no_counts() -> None:
    """Forget what earlier tests asked for: Valkey outlives them."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    with client:
        for key in client.scan_iter("statuspage:asks:*", count=1_000):
            client.delete(key)


Pending = Callable[..., tuple[Subscription, Letter]]


@pytest.fixture
def pending(components: dict[str, Component]) -> Pending:
    """Return what subscribes an address and gives the row with its letter."""

    def _pending(
        channel: str = "email", address: str = FOLLOWER, now: datetime = NOW
    ) -> tuple[Subscription, Letter]:
        subscribe(channel=channel, address=address, now=now, consent_text="I ask for it.")
        letter = Letter.objects.filter(kind=LetterKind.CONFIRM).order_by("-id")[0]
        return letter.subscription, letter

    return _pending
