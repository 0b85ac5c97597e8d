"""Takes "I have this problem too", and counts it for operators."""

import hashlib
import hmac
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count

from incidents.models import Component
from public.models import ProblemReport

HOUR = timedelta(hours=1)
PER_NETWORK_MAX = 5  # components that one network may name in an hour
PER_MINUTE_MAX = 600  # of all together: a flood must not fill the disk
KEEP = timedelta(days=30)
DELETED_MAX = 5_000  # rows that one pass takes away


class AlreadyCounted(Exception):
    """This network has said so within the hour, or too many have within the minute."""


def report(*, slug: str, network: str, now: datetime) -> None:
    """Count it, once for each network, component and hour. Raises AlreadyCounted."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    hashed = _hash(network, hour)
    own = ProblemReport.objects.filter(hour=hour, network=hashed).count()
    lately = ProblemReport.objects.filter(at__gt=now - timedelta(minutes=1)).count()
    if own >= PER_NETWORK_MAX or lately >= PER_MINUTE_MAX:
        raise AlreadyCounted
    slug = slug.replace("\x00", "")  # no database takes it
    component = Component.objects.filter(slug=slug).first() if slug else None
    try:
        with transaction.atomic():
            ProblemReport.objects.create(component=component, network=hashed, hour=hour, at=now)
    except IntegrityError as error:
        raise AlreadyCounted from error


def counted(now: datetime, within: timedelta = HOUR) -> dict[str, int]:
    """Return how many said so lately, by slug of the component; "" is "not sure"."""
    rows = ProblemReport.objects.filter(at__gt=now - within, at__lte=now)
    by_slug = rows.order_by().values_list("component__slug").annotate(count=Count("pk"))
    return {slug or "": count for slug, count in by_slug}


def forget(now: datetime) -> None:
    """Delete what is older than 30 days, a bounded number at a time."""
    old = ProblemReport.objects.filter(at__lt=now - KEEP).values_list("pk", flat=True)
    ProblemReport.objects.filter(pk__in=list(old[:DELETED_MAX])).delete()


def _hash(network: str, hour: datetime) -> str:
    # With the hour in it nobody can be followed from one to the next, not even by us.
    told = f"{network} {hour.isoformat()}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), told, hashlib.sha256).hexdigest()[:32]
