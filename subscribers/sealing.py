"""Sealing: every address under the newest key, in small steps that may be stopped."""

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from subscribers import addresses
from subscribers.models import Ask, Subscription

STEP_ROWS = 500  # of one transaction


@dataclass(slots=True)
class Rotated:
    renewed: int = 0
    fresh: int = 0
    unreadable: int = 0


def rotate() -> Rotated:
    """Seal anew what an older key of FIELD_KEYS had sealed; what no key opens stays as it is."""
    done = Rotated()
    for model, column in ((Subscription, "address_sealed"), (Ask, "wish")):
        after = 0
        while rows := _step(model, column, after, done):
            after = rows
    return done


@transaction.atomic
def _step(model: type[Subscription] | type[Ask], column: str, after: int, done: Rotated) -> int:
    """Renew one step of rows; return the last row's id, 0 at the end."""
    found = model._default_manager.select_for_update().filter(pk__gt=after).order_by("pk")
    rows = list(found.values_list("pk", column)[:STEP_ROWS])
    for pk, sealed in rows:
        if not bytes(sealed):
            continue
        if addresses.is_sealed_with(bytes(sealed), settings.FIELD_KEYS[0]):
            done.fresh += 1
            continue
        try:
            text = addresses.unseal(bytes(sealed), settings.FIELD_KEYS)
        except addresses.Unreadable:
            done.unreadable += 1
            continue
        model._default_manager.filter(pk=pk).update(
            **{column: addresses.seal(text, settings.FIELD_KEYS)}
        )
        done.renewed += 1
    return rows[-1][0] if rows else 0
