"""How often may be asked for a letter: per network, per block of numbers, for all together."""

from datetime import datetime, timedelta

from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.models import (
    Ask,
)

# Statuspage's own bound for text messages; for mail a school or a carrier's NAT must still fit.
ASKS_OF_A_NETWORK_MAX = {Kind.PHONE: 10, Kind.EMAIL: 200, Kind.PUSH: 200, Kind.URL: 20}
ASKS_WINDOW = timedelta(hours=4)
# Toll fraud works through blocks of numbers from many networks: per block and for all together.
ASKS_OF_A_PREFIX_MAX, ASKS_OF_ALL_MAX, SPEND_WINDOW = 30, 2_000, timedelta(hours=1)


class TooManyAsks(Exception):
    """Too many letters were asked for from one network or for one block of numbers."""


def count_ask(kind: Kind, address: str, network: str, now: datetime) -> None:
    """Count a request before anybody is looked up. Raises TooManyAsks."""
    prefix = address[: addresses.PREFIX_CHARS] if kind is Kind.PHONE else ""
    recent = Ask.objects.filter(kind=kind, at__gt=now - ASKS_WINDOW)
    if recent.filter(network_hash=network).count() >= ASKS_OF_A_NETWORK_MAX.get(kind, 0):
        raise TooManyAsks
    if kind is Kind.PHONE:
        spent = recent.filter(at__gt=now - SPEND_WINDOW)
        if (
            spent.count() >= ASKS_OF_ALL_MAX
            or spent.filter(prefix=prefix).count() >= ASKS_OF_A_PREFIX_MAX
        ):
            raise TooManyAsks
    Ask.objects.create(kind=kind, network_hash=network, prefix=prefix, at=now)
