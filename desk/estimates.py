"""How long a message takes by each channel, and what it costs, before it is sent."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from desk.preview import Words
from desk.words import span


@dataclass(frozen=True, slots=True)
class Estimate:
    """One channel's words with what they ask of it; "" = not known."""

    words: Words
    takes: str
    costs: str


def of(words: Words) -> Estimate:
    """Return the estimate of one channel; a rate or price that nobody stated is not guessed."""
    people = words.people or 0
    return Estimate(words, _takes(words.channel, people), _costs(words, people))


def _takes(channel: str, people: int) -> str:
    per_s = settings.OPEN_CHANNELS[channel].per_s if channel in settings.OPEN_CHANNELS else None
    if not people:
        return ""
    if per_s is None:
        return "no limit known"
    return f"about {span(timedelta(seconds=people / per_s))} at {per_s:g} a second"


def _costs(words: Words, people: int) -> str:
    price = settings.PRICES.get(words.channel)
    if price is None or not people:
        return ""
    return f"about {people * price * words.parts:,.2f} {settings.PRICE_CURRENCY}"
