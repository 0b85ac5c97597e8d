"""The cast: a page with two components, and people who follow them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from incidents import reads, services
from incidents.lifecycle import ComponentStatus
from incidents.models import Component, Incident, Page
from subscribers import addresses
from subscribers.models import Role, State, Subscriber, Subscription

# Leases are counted by the database's own clock, which no test can set: the cast lives ten seconds ago.
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=10)
MAJOR = ComponentStatus.MAJOR_OUTAGE
PARTIAL = ComponentStatus.PARTIAL_OUTAGE
FINE = ComponentStatus.OPERATIONAL


def page() -> Page:
    return reads.the_page()


def component(slug: str = "follow", *, critical: bool = True) -> Component:
    found = Component.objects.filter(slug=slug).first()
    return found or services.add_component(
        page=page(), slug=slug, name=slug.capitalize(), actor="test", now=NOW, critical=critical
    )


def incident(*components: Component, hurt: ComponentStatus = MAJOR, **words: Any) -> Incident:
    """Declare an incident at NOW; `words` are declare()'s."""
    told: dict[str, Any] = {
        "name": "Followers may not receive readings",
        "body": "We are looking.",
        "actor": "ann",
        "now": NOW,
    }
    return services.declare(
        page=page(), components=dict.fromkeys(components, hurt), **(told | words)
    )


def person(
    channel: str = "email", address: str = "parent@family.example", *, only: Component | None = None,
    role: Role = Role.SUBSCRIBER, state: State = State.ACTIVE, wake_me: bool = False,
) -> Subscription:  # fmt: skip
    """Let somebody subscribe, confirmed long ago."""
    kind = settings.CHANNELS[channel][1]
    subscription = Subscription.objects.create(
        subscriber=Subscriber.objects.create(),
        channel=channel,
        address_sealed=addresses.seal(address, settings.FIELD_KEYS),
        address_hash=addresses.address_hash(kind, address, settings.SECRET_KEY),
        role=role,
        state=state,
        every_component=only is None,
        wake_me=wake_me,
        confirmed_at=None if state is State.PENDING else NOW,
    )
    if only is not None:
        subscription.components.add(only)
    return subscription
