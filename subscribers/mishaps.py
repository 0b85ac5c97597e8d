"""What did not reach a person, as their own page shows it: whoever sends writes it down, and hands it over here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string


@dataclass(frozen=True, slots=True)
class Mishap:
    """One message that came back or stayed unanswered, or a test that nobody answered; `about` is "" for a test."""

    at: datetime
    channel: str
    about: str
    why: str  # the provider's words; "" for silence
    instead: str  # the channel that told them all the same, "" for none


def of_person(person: int, now: datetime) -> Sequence[Mishap]:
    """Return the newest first. People know no channels: settings name who does."""
    find = cast(
        Callable[[int, datetime], Sequence[Mishap]], import_string(settings.MISHAPS_OF_A_PERSON)
    )
    return find(person, now)
