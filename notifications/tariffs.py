"""What a message of a channel costs, and how many an hour may see: `SMS_PRICE`, `SMS_HOUR_MAX` and so on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from notifications.channels import Misconfigured

HOUR_MAX_LIMIT = 100_000_000  # more is a mistake in the units
PRICE_LIMIT = Decimal(1000)


@dataclass(frozen=True, slots=True)
class Tariff:
    """`price` is of one message, or of one part of a text; `hour_max` is where the brake holds. None: nothing known, no brake."""

    price: Decimal | None = None
    hour_max: int | None = None


def tariffs(environ: Mapping[str, str], channels: Iterable[str]) -> dict[str, Tariff]:
    """Return every channel's tariff. Raises Misconfigured for what is no price or no number."""
    return {
        name: Tariff(
            _price(f"{name.upper()}_PRICE", environ), _hour_max(f"{name.upper()}_HOUR_MAX", environ)
        )
        for name in channels
    }


def currency(environ: Mapping[str, str]) -> str:
    return environ.get("PRICE_CURRENCY", "").strip() or "USD"


def _price(variable: str, environ: Mapping[str, str]) -> Decimal | None:
    text = environ.get(variable, "").strip()
    if not text:
        return None
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal(-1)
    if not (price.is_finite() and 0 <= price <= PRICE_LIMIT):
        raise Misconfigured(
            f"{variable} is the price of one message, such as 0.0079, not {text!r}."
        )
    return price


def _hour_max(variable: str, environ: Mapping[str, str]) -> int | None:
    text = environ.get(variable, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= HOUR_MAX_LIMIT):
        raise Misconfigured(
            f"{variable} is how many messages an hour may see, from 1 to {HOUR_MAX_LIMIT}, not {text!r}."
        )
    return int(text)
