"""The line's verbs in one place: open, fan out, claim, admit, release, settle, sweep, halt. Each is explained where it lives."""

from notifications.claiming import (
    LEASE_S,
    Claim,
    Due,
    admit,
    claim,
    is_served,
    release,
    take,
    waiting_channels,
)
from notifications.dbtime import database_now
from notifications.fanning import audience, fan_out, has_more
from notifications.opening import ENTRY_VALID, open_entries
from notifications.pacing import reserve
from notifications.settling import Settlement, settle, sweep_leases
from notifications.stopping import halt, settle_what_is_halted

__all__ = [
    "ENTRY_VALID",
    "LEASE_S",
    "Claim",
    "Due",
    "Settlement",
    "admit",
    "audience",
    "claim",
    "database_now",
    "fan_out",
    "halt",
    "has_more",
    "is_served",
    "open_entries",
    "release",
    "reserve",
    "settle",
    "settle_what_is_halted",
    "sweep_leases",
    "take",
    "waiting_channels",
]
