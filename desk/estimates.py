"""How long a message takes by each channel, and what it costs, in words, before it is sent."""

from dataclasses import dataclass
from datetime import timedelta

from desk.preview import Words
from desk.words import span


@dataclass(frozen=True, slots=True)
class Said:
    """One channel's words with what they ask of it; "" = not known, and not guessed."""

    words: Words
    takes: str
    costs: str
    parts: str


def of(words: Words) -> Said:
    """Return the estimate of one channel in words."""
    found = words.estimate
    if found is None or not found.people:
        return Said(words, "", "", "")
    takes = (
        ""
        if found.eta_s is None
        else f"the last after about {span(timedelta(seconds=found.eta_s))}"
    )
    if found.hours > 1:
        takes += f", the brake lets it through in {found.hours} hours"
    costs = "" if found.cost is None else f"about {found.cost:,.2f} {found.currency}"
    return Said(words, takes, costs, f"{found.parts} parts each" if found.parts > 1 else "")
