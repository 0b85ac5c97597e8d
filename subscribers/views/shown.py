"""What templates show of a subscription to whoever holds its link."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import formats
from django.utils.translation import gettext, gettext_noop

from incidents import reads
from incidents.models import Component
from subscribers import addresses, services
from subscribers.mishaps import Mishap
from subscribers.models import Contact, State, Subscriber, Subscription

# What the channel files call themselves, marked for the catalogues: a channel knows no reader's language.
LABELS = (
    gettext_noop("E-mail"),
    gettext_noop("Text message"),
    gettext_noop("Phone call"),
    gettext_noop("Notification in this browser"),
)


def row(subscription: Subscription) -> dict[str, Any]:
    address = services.address_of(subscription)
    chosen = set(subscription.components.values_list("slug", flat=True))
    suppression = services.suppressions([subscription]).get(subscription.pk)
    components = list(Component.objects.all())
    person = subscription.subscriber
    return {
        "uid": subscription.uid,
        "channel": subscription.channel,
        "label": label(subscription.channel),
        "address": masked(subscription, address),
        "is_everything": subscription.every_component,
        "only_incidents": [one.name for one in subscription.incidents.all()[:20]],
        "is_only_incidents": subscription.only_incidents,
        "is_contact": subscription.contact_of.exists(),
        "components": [
            {"slug": c.slug, "name": c.name, "is_chosen": c.slug in chosen} for c in components
        ],
        "chosen": [component.name for component in components if component.slug in chosen],
        "critical": [component.name for component in components if component.critical],
        "can_wake": subscription.channel == services.WAKING_CHANNEL,
        "wake_me": subscription.wake_me,
        "least_impact": subscription.least_impact,
        "digest": subscription.digest,
        "is_pending": subscription.state == State.PENDING,
        "is_safety": subscription.basis != "consent",
        "list_name": subscription.list_name,
        "undeliverable": suppression.reason if suppression else "",
        "undelivered_at": local(subscription.undelivered_at, person),
        "undelivered_why": subscription.undelivered_why,
        "paused_until": local(subscription.paused_until, person),
    }


def contact(found: Contact) -> dict[str, Any]:
    subscription = found.subscription
    return {
        "id": found.pk,
        "name": found.name,
        "label": label(subscription.channel),
        "address": masked(subscription, services.address_of(subscription)),
        "is_pending": subscription.state == State.PENDING,
    }


def mishap(found: Mishap, person: Subscriber) -> dict[str, Any]:
    return {
        "at": local(found.at, person),
        "label": label(found.channel),
        "about": found.about,
        "why": found.why,
        "instead": label(found.instead) if found.instead else "",
    }


def label(channel: str) -> str:
    return gettext(settings.CHANNELS.get(channel, (channel.capitalize(), ""))[0])


def masked(subscription: Subscription, address: str | None) -> str:
    return addresses.mask(services.kind_of(subscription.channel), address) if address else ""


def local(moment: datetime | None, person: Subscriber) -> str:
    """Return a moment in the person's zone, which is named."""
    if moment is None:
        return ""
    zone = ZoneInfo(person.time_zone or reads.the_page().time_zone)
    there = moment.astimezone(zone)
    return f"{formats.date_format(there, 'SHORT_DATETIME_FORMAT')} {there.tzname()}"
