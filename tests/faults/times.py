"""Shorter times for the fault tests: leases of 2 s, waits and providers' patience divided by 60.

Only tests/faults/entry.py calls this, in processes that the fault tests start; the product has no such setting.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from datetime import datetime, timedelta

import notifications
from notifications import hands, retry, sending
from notifications.channels import _http, _smtp
from notifications.retry import AfterUnknown

SHORTER = 60  # a minute of waiting becomes a second
LEASE_S = 2.0
LEASE_MARGIN_S = 1.0
READ_S = 0.6
DELIVERY_S = 0.9  # less than the margin, as in the product
# What one process may have with a mail server and not written down: of each hand the outcomes of one statement, one mail a connection.
UNSETTLED = hands.HANDS * (sending.SETTLE_ROWS + _smtp.CONNECTIONS_MAX)
CONSTANTS: dict[str, object] = {
    "LEASE_S": LEASE_S,
    "LEASE_MARGIN_S": LEASE_MARGIN_S,
    "CHUNK_ROWS": 200,  # so that a fan-out to 2,000 has ten places to be interrupted
    "BULK_WAITS": timedelta(
        seconds=3
    ),  # until the clock sends by itself what no worker takes: 20 s
    "IDLE_IN_TRANSACTION_S": 10.0,  # more than a busy machine makes of a transaction, less than a test waits
    "DOWN_S": 60 / SHORTER,  # how long a provider that failed is passed over
}


def shorten() -> None:
    """Replace the product's times in this process."""
    assert READ_S < DELIVERY_S < LEASE_MARGIN_S < LEASE_S, "the product's own order"
    for module in pkgutil.walk_packages(notifications.__path__, "notifications."):
        if "migrations" not in module.name:
            importlib.import_module(module.name)
    for name, value in CONSTANTS.items():
        constant(name, value)
    for name, seconds in {"connect_s": 0.5, "read_s": READ_S, "delivery_s": DELIVERY_S}.items():
        object.__setattr__(_http.TIMEOUTS, name, seconds)  # frozen, and bound as a default already
    everywhere(retry.after_unknown, _after_unknown(retry.after_unknown))
    everywhere(retry.next_attempt_at, _next_attempt_at(retry.next_attempt_at))


def constant(name: str, value: object) -> None:
    """Set a constant in every module of the voice that has it; it must be somewhere."""
    places = [module for module in _voice() if name in vars(module)]
    assert places, f"no module of notifications has {name} any more"
    for module in places:
        setattr(module, name, value)


def everywhere(old: object, new: object) -> None:
    """Put `new` in the place of a verb in all modules of the voice that know it by name."""
    places = [
        (module, name)
        for module in _voice()
        for name, value in list(vars(module).items())
        if value is old
    ]
    assert places, f"no module of notifications has {old} any more"
    for module, name in places:
        setattr(module, name, new)


def _voice() -> list[object]:
    return [
        module for name, module in list(sys.modules.items()) if name.startswith("notifications")
    ]


def _after_unknown(real: Callable[..., AfterUnknown]) -> object:
    def shorter(channel: str, attempts: int, critical: bool, *, died: bool = False) -> AfterUnknown:
        then = real(channel, attempts, critical, died=died)
        # A float where the product has whole seconds; it only goes into a timedelta.
        return AfterUnknown(then.resend, then.after_s / SHORTER, then.why)  # type: ignore[arg-type]

    return shorter


def _next_attempt_at(real: Callable[..., datetime | None]) -> object:
    def shorter(
        attempts: int,
        failed_at: datetime,
        retry_after_s: float | None = None,
        *,
        urgent: bool = False,
    ) -> datetime | None:
        # What a provider asks for is short already: it is made long here and shortened with the rest.
        asked = None if retry_after_s is None else retry_after_s * SHORTER
        then = real(attempts, failed_at, asked, urgent=urgent)
        return failed_at + (then - failed_at) / SHORTER if then else None

    return shorter
