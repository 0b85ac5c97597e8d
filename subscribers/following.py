"""Following one incident: an address that hears of it, and of nothing else unless it subscribed."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from incidents.models import Incident
from subscribers import services
from subscribers.models import Role, State, Subscription


@transaction.atomic
def follow(
    incident: Incident, *, channel: str, address: str, confirmed: bool, source: str, now: datetime,
    language: str = "en", consent_text: str = "", network_hash: str = "",
) -> Subscription | None:  # fmt: skip
    """Let an address hear of this incident; None when its owner asked not to be written to.

    A new address hears only of what it follows; one that is subscribed keeps its subscription.
    With `confirmed` whoever calls vouches for the consent; else the owner is asked first.
    Raises BadAddress, NotOffered.
    """
    row = services.find(channel=channel, address=address)
    is_new = row is None
    if row is None or row.state == State.PENDING:
        if confirmed:
            incoming = services.Incoming(
                channel=channel, address=address, consent_source=source, consent_at=now
            )
            done = services.bring_in([incoming], source=source, now=now)
            if done.refused:
                raise ValueError(done.refused[0].why)
        else:
            services.subscribe(
                channel=channel, address=address, source=source, language=language, consent_text=consent_text,
                network_hash=network_hash, only_incidents=True, now=now,
            )  # fmt: skip
        row = services.find(channel=channel, address=address)
    if row is None:
        return None
    if is_new:
        row.only_incidents, row.every_component = True, False
        row.save(update_fields=["only_incidents", "every_component"])
    row.incidents.add(incident)
    return row


def unfollow(row: Subscription, incident: Incident, *, now: datetime) -> None:
    """Stop hearing of this incident; an address left with nothing is gone."""
    row.incidents.remove(incident)
    if row.only_incidents and not row.incidents.exists() and not row.contact_of.exists():
        services.leave(row, now=now)


def followers(incident: Incident, *, channels: Sequence[str]) -> QuerySet[Subscription]:
    """Return who follows this incident, pending ones too."""
    rows = Subscription.objects.filter(
        role=Role.SUBSCRIBER, channel__in=channels, incidents=incident
    )
    return rows.exclude(state=State.GONE).order_by("id")
