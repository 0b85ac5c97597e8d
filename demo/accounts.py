"""Who can log in to the Follow service: accounts, passwords, locks, sessions, followers."""

from __future__ import annotations

import re
import secrets
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

ZERO_UUID = "00000000-0000-0000-0000-000000000000"

# Sessions live about a day (follow-service.md 1.2); older ones go when there are too many.
SESSION_S = 24 * 3600.0
SESSIONS_MAX = 10_000
# The real bounds are not published: three wrong passwords, ten minutes.
WRONG_PASSWORDS_MAX = 3
LOCKED_S = 600.0


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can log in; without `wears` no synthetic sensor uploads for them."""

    name: str
    region: str = "us"
    generation: str = "g7"
    wears: bool = True
    follows: tuple[str, ...] = ()

    @property
    def account_id(self) -> str:
        """Return the stable id that the Share calls know the account by."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.follow.invalid"))

    @property
    def is_awkward(self) -> bool:
        """Tell whether the name has more in it than lower-case letters and digits (F14)."""
        return re.fullmatch(r"[a-z0-9]+", self.name) is None

    def is_in(self, cohort: str) -> bool:
        """Tell whether the account is of a region, a generation, or both as `ous/g5`."""
        return all(part in (self.region, self.generation) for part in cohort.split("/"))


ACCOUNTS = (
    Account("probe"),
    Account("probe2", generation="g6"),
    Account("old", generation="g5"),
    Account("europe", region="ous"),
    Account("europeold", region="ous", generation="g5"),
    Account("ana.maria+share", generation="g6"),
    Account("a.rather.long+name.of.an.account.0123456789@example.org"),
    Account("canary", wears=False),
    Account("follower", wears=False, follows=("probe", "europe", "canary")),
)


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in that has not run out."""

    account: Account
    opened_s: float


@dataclass(slots=True)
class Lock:
    """Wrong passwords of one account, and until when it is locked for them."""

    wrong: int = 0
    until_s: float = 0.0


class Refused(Exception):
    """A call that the service refuses, by its own code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message or REFUSALS[code][1]


# Code -> status on the plain REST calls, and the message. Share answers 500 to all of them.
REFUSALS: Mapping[str, tuple[int, str]] = {
    "AccountPasswordInvalid": (401, "Publisher account password failed."),
    "SSO_AuthenticateAccountNotFound": (401, "No such account."),
    "SSO_AuthenticatePasswordInvalid": (401, "Account password is invalid."),
    "SSO_AuthenticateMaxAttemptsExceeded": (
        423,
        "Too many attempts: the account is locked.",
    ),
    "SSO_InternalError": (500, "Cannot Authenticate by AccountName."),
    "SessionIdNotFound": (401, "Session ID not found."),
    "SessionNotValid": (401, "Session not active or timed out."),
    "InvalidArgument": (400, "An argument is not valid."),
    "MonitoredReceiverNotAssigned": (409, "No receiver is assigned to this account."),
    "InternalError": (500, "The service is not available."),
}


class Accounts:
    """All accounts with one password, their locks, and the sessions that are open."""

    def __init__(self, password: str, *, session_s: float, locked_s: float) -> None:
        self.password = password
        self.session_s = session_s
        self.locked_s = locked_s
        self._by_name = {account.name: account for account in ACCOUNTS}
        self._by_id = {account.account_id: account for account in ACCOUNTS}
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._locks: dict[str, Lock] = {}

    def named_in(self, body: Mapping[str, object]) -> Account | None:
        """Return the account that a log-in names, by name or by id."""
        name = body.get("user", body.get("accountName", ""))
        by_id = self._by_id.get(str(body.get("accountId", "")).lower())
        return by_id or self._by_name.get(str(name))

    def checked(
        self, account: Account | None, body: Mapping[str, object], *, wrong: str
    ) -> Account:
        """Return the account when its password is right; count the wrong ones and lock."""
        if not body.get("password"):
            raise Refused("InvalidArgument", "Parameter password must not be empty.")
        if account is None:
            raise Refused("SSO_AuthenticateAccountNotFound")
        lock = self._locks.setdefault(account.name, Lock())
        if lock.until_s > monotonic():
            raise Refused("SSO_AuthenticateMaxAttemptsExceeded")
        if not secrets.compare_digest(str(body["password"]).encode(), self.password.encode()):
            lock.wrong += 1
            if lock.wrong >= WRONG_PASSWORDS_MAX:
                self._locks[account.name] = Lock(0, monotonic() + self.locked_s)
            raise Refused(wrong)
        lock.wrong = 0
        return account

    def open_session(self, account: Account) -> str:
        """Return the id of a new session; the oldest goes when there are too many."""
        session_id = str(uuid.uuid4())
        self._sessions[session_id] = Session(account, monotonic())
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return session_id

    def known_by(self, session_id: str) -> Account | None:
        """Return whose session this is, even when it has run out."""
        session = self._sessions.get(session_id)
        return session.account if session else None

    def holder_of(self, session_id: str) -> Account:
        """Return whose session this is, or refuse."""
        session = self._sessions.get(session_id)
        if session is None:
            raise Refused("SessionIdNotFound")
        if monotonic() - session.opened_s > self.session_s:
            raise Refused("SessionNotValid")
        return session.account

    def followed_by(self, follower: Account) -> list[Account]:
        """Return whom an account follows; one that follows nobody reads itself."""
        return [self._by_name[name] for name in follower.follows or (follower.name,)]

    def followed(self, follower: Account, wanted: str) -> Account:
        """Return the account behind a subscription id, or refuse."""
        for account in self.followed_by(follower):
            if subscription_id(follower, account) == wanted.lower():
                return account
        raise Refused("InvalidArgument", "Parameter subscriptionId must be one of the list.")


def subscription_id(follower: Account, followed: Account) -> str:
    """Return the stable id of one following another."""
    return str(uuid.uuid5(uuid.UUID(follower.account_id), followed.account_id))
