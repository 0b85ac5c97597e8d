"""A large installation for measurements of the page: 40 components, years of incidents."""

import random
from datetime import datetime, timedelta

from django.utils import timezone

from incidents import reads
from incidents.lifecycle import Audience, ComponentStatus, Impact, Status
from incidents.models import (
    Component,
    Group,
    Incident,
    IncidentComponent,
    Page,
    StatusChange,
    Update,
)

COMPONENTS, GROUPS = 40, 5
INCIDENTS_IN_5_YEARS = 500
YEARS = timedelta(days=5 * 365)
MONTH = timedelta(days=30)
_WORDS = (
    "Followers may not receive readings",
    "Log in is slow",
    "Alerts arrive late",
    "The web site shows old values",
)


def build(*, since: timedelta, seed: int = 2019) -> Page:
    """Fill an empty database as if it had run for `since`; the same seed makes the same history."""
    dice = random.Random(seed)
    now = timezone.now()
    page = reads.the_page()
    Page.objects.update(name="Follow status", time_zone="America/New_York", languages=["en"])
    groups = [
        Group.objects.create(page=page, name=f"Product {number + 1}", position=number)
        for number in range(GROUPS)
    ]
    parts = [
        Component.objects.create(
            page=page, slug=f"part-{number}", name=f"Part {number + 1} of Follow", position=number,
            group=groups[number * GROUPS // COMPONENTS], created_at=now - since, updated_at=now - since,
        )
        for number in range(COMPONENTS)
    ]  # fmt: skip
    StatusChange.objects.bulk_create(
        StatusChange(component=part, status="operational", at=now - since, actor="benchmark")
        for part in parts
    )
    count = round(INCIDENTS_IN_5_YEARS * since / YEARS)
    for number in range(count):
        began = now - since * (count - number) / (count + 1)
        _past_incident(page, parts, began, timedelta(minutes=dice.randint(10, 600)), dice)
    return page


def _past_incident(
    page: Page,
    parts: list[Component],
    began: datetime,
    lasted: timedelta,
    dice: random.Random,
) -> None:
    ended = began + lasted
    incident = Incident.objects.create(
        page=page, name=dice.choice(_WORDS), status=Status.RESOLVED, impact=Impact.MAJOR, created_at=began,
        updated_at=ended, started_at=began, published_at=began, resolved_at=ended,
    )  # fmt: skip
    hurt = dice.sample(parts, dice.randint(1, 3))
    IncidentComponent.objects.bulk_create(
        IncidentComponent(incident=incident, component=part, status=ComponentStatus.OPERATIONAL)
        for part in hurt
    )
    for part in hurt:
        StatusChange.objects.create(
            component=part, status="partial_outage", at=began, actor="benchmark"
        )
        StatusChange.objects.create(
            component=part, status="operational", at=ended, actor="benchmark"
        )
    steps = (Status.INVESTIGATING, Status.IDENTIFIED, Status.MONITORING, Status.RESOLVED)
    Update.objects.bulk_create(
        Update(
            incident=incident, number=number + 1, status=status, audience=Audience.EVERYONE,
            body=f"We {dice.choice(('are looking', 'have found the cause', 'are watching'))}. " * 3,
            created_at=began + lasted * number / 3, updated_at=began + lasted * number / 3,
            display_at=began + lasted * number / 3, published_at=began + lasted * number / 3,
            shown_at=began + lasted * number / 3,
        )
        for number, status in enumerate(steps)
    )  # fmt: skip
