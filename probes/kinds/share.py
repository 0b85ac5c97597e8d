"""Kind `share`: the Dexcom Share calls, as the publisher's clients or the Follow app make them."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import aiohttp
from pydantic import Field
from yarl import URL

from probes.conditions import Unmet, amount, instant
from probes.facts import GOOD
from probes.kinds import (
    BadSpec,
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    StepObservation,
    Strict,
    Watch,
    read_options,
    worst,
)
from probes.restraint import LONG_AGO, Restraint, account_digest
from probes.values import NotFilled, Values
from probes.walk import FORBIDDEN, TOO_MANY
from probes.web import (
    BODY_BYTES_MAX,
    MARKS,
    Answer,
    Broken,
    Client,
    Marks,
    Refused,
    document_of,
    in_words,
    read_answer,
    text_of,
)

LOG_IN: Final = "log in"
READ: Final = "newest reading"
ACCOUNTS_MAX: Final = 10
# Until then an account that worked is taken for sound, and a rejection of all for the vendor's.
PROVEN_FOR: Final = timedelta(hours=24)
# follow-service.md, F19.
FUTURE_S_MAX: Final = 60.0
# detection.md 2.3, rule E.
SLOW_OVER_S: Final = 5.0
# An attempt's retry comes within half an interval (agent/schedule.py); what was seen then still counts.
STILL_COUNTS: Final = 0.6
# Reaches back a day: an old reading is told from none at all. pydexcom 0.5.1 has the bounds.
MINUTES: Final = 1440
# The id that public Share clients send (pydexcom 0.5.1); Japan has another.
APPLICATION_ID: Final = "d89443d2-327c-4a6f-89e5-496bbb0317db"
ZERO_ID: Final = "00000000-0000-0000-0000-000000000000"
ID_CHARS_MAX: Final = 100
CODE_CHARS_MAX: Final = 60
OVERLOADED: Final = frozenset({502, 503, 504})

# The fields of a reading (follow-service.md 1.2); others are a change of its form.
KNOWN: Final = frozenset({"DT", "ST", "WT", "Trend", "Value"})
FIELDS_SHOWN_MAX: Final = 5
NAME_CHARS_MAX: Final = 40

REJECTING: Final = frozenset(
    {
        "AccountPasswordInvalid",
        "SSO_AuthenticateAccountNotFound",
        "SSO_AuthenticatePasswordInvalid",
    }
)
LOCKING: Final = "SSO_AuthenticateMaxAttemptsExceeded"
ENDING: Final = frozenset({"SessionIdNotFound", "SessionNotValid"})
NO_RECEIVER: Final = "MonitoredReceiverNotAssigned"
INVALID_ARGUMENT: Final = "InvalidArgument"
# Says "Cannot Authenticate by AccountName" of a wrong password, other things of real faults.
AMBIGUOUS: Final = "SSO_InternalError"

Json = Any  # Whatever an answer holds.


# ---- what site.yaml says ------------------------------------------------------------------


class Credentials(Strict):
    """One account that the probe may use."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    password: Annotated[str, Field(min_length=1, max_length=200)]


class Options(Strict):
    """All of a check of this kind."""

    path: Literal["publisher", "subscriber"] = "publisher"
    component: Annotated[str, Field(min_length=1)]
    login_component: str | None = None
    url: Annotated[str, Field(pattern=r"^https?://[^/]", max_length=2000)]
    accounts: Annotated[tuple[Credentials, ...], Field(min_length=1, max_length=ACCOUNTS_MAX)]
    max_age_s: Annotated[float, Field(gt=0)] = 660
    degraded_over_s: Annotated[float, Field(gt=0)] = SLOW_OVER_S
    application_id: str = APPLICATION_ID
    allow_private: bool = False


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the steps with their components; raise BadSpec when the check is wrong."""
    options = read_options(Options, spec)
    return (
        Watch(LOG_IN, options.login_component or options.component),
        Watch(READ, options.component),
    )


# ---- what was seen ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """What one account met with in one step."""

    outcome: Outcome
    words: str = ""
    shape: str = ""
    failed: tuple[str, ...] = ()
    status: int | None = None
    phases_ms: Mapping[str, float] = field(default_factory=dict)
    # Only this account may be meant, as with F20: no outage while another one is well.
    is_own: bool = False
    account: str = ""
    # What is strange and no failure.
    warnings: tuple[str, ...] = ()
    # The beginning of a failing answer, without secrets.
    answer: str = ""


class _Saw(Exception):
    """A call ended otherwise than it should."""

    def __init__(self, look: Look) -> None:
        super().__init__(look.words)
        self.look = look


class _Fault(Exception):
    """The service answered with one of its own fault codes, mostly inside an HTTP 500."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.status = status


def _fails(words: str, shape: str, *failed: str, status: int | None = 200) -> _Saw:
    return _Saw(Look(Outcome.TARGET_FAIL, words, shape, failed, status))


# ---- one run ------------------------------------------------------------------------------


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Log in with who is due, read with everybody, and say what all of them saw."""
    try:
        probers = _probers(check, memory)
    except BadSpec as error:
        return Observation(Outcome.PROBER_FAULT, (), f"the check cannot be run: {error}")
    due = _due(probers, now)
    await asyncio.gather(*(each.look(now, timeout_s, may_log_in=each in due) for each in probers))
    fresh = timedelta(seconds=check.interval_s * STILL_COUNTS)
    return _observed(probers, read_options(Options, check.spec), now, fresh)


def _probers(check: CheckSpec, memory: Memory) -> list["_Prober"]:
    if "probers" not in memory.kept:
        options = read_options(Options, check.spec)
        facts = memory.facts.setdefault("accounts", {})
        probers: list[_Prober] = []
        for index, account in enumerate(options.accounts):
            client = Client(allow_private=options.allow_private)
            memory.keep(f"client {index}", client, client.session.close)
            probers.append(_Prober(options, account, client, memory.environ, facts))
        memory.kept["probers"] = probers
    found: list[_Prober] = memory.kept["probers"]
    return found


def _due(probers: Sequence["_Prober"], now: datetime) -> list["_Prober"]:
    """Return who logs in: everybody without a session, else one, so that they take turns."""
    due = [each for each in probers if each.may_log_in(now)]
    without = [each for each in due if not each.session_id]
    turns = sorted((each for each in due if each.session_id), key=_Prober.waiting_since)
    return without or turns[:1]


def _observed(
    probers: Sequence["_Prober"], options: Options, now: datetime, fresh: timedelta
) -> Observation:
    login = _login_of_all(probers, now, fresh)
    reads = [_named(each.read, each, probers) for each in probers if each.read is not None]
    read = _read_of_all(reads)
    component = options.login_component or options.component
    steps = tuple(
        _step(name, of, look)
        for name, of, look in ((LOG_IN, component, login), (READ, options.component, read))
        if look is not None
    )
    if not steps:
        return Observation(Outcome.PROBER_FAULT, (), "no account may log in yet")
    seen = [look for look in (login, read) if look is not None]
    return Observation(
        outcome=worst(tuple(step.outcome for step in steps)),
        steps=steps,
        warnings=tuple(dict.fromkeys(each for look in seen for each in look.warnings)),
        answer=next((look.answer for look in seen if look.answer), ""),
    )


def _step(name: str, component: str, look: Look) -> StepObservation:
    return StepObservation(
        name=name,
        component=component,
        outcome=look.outcome,
        reason=look.words,
        failed=look.failed,
        shape=look.shape,
        status=look.status,
        phases_ms=look.phases_ms,
        account=look.account,
    )


def _named(look: Look, prober: "_Prober", probers: Sequence["_Prober"]) -> Look:
    """Say whose look it was, by its place in the list: its name is a secret."""
    if len(probers) == 1:
        return look
    name = f"account {probers.index(prober) + 1}"
    return replace(
        look,
        words=f"{name}: {look.words}" if look.words else "",
        warnings=tuple(f"{name}: {each}" for each in look.warnings),
    )


def _login_of_all(probers: Sequence["_Prober"], now: datetime, fresh: timedelta) -> Look | None:
    """Return what the log-ins say; None when the last one is too old to be counted again."""
    tried = [each for each in probers if each.login is not None]
    looks = {each: _named(each.login, each, probers) for each in tried if each.login is not None}
    doubted = [each for each in tried if looks[each].outcome in _DOUBTED]
    rest = [each for each in tried if each not in doubted]
    if not rest:
        return _all_doubted(doubted, looks, len(probers), now)
    new = [each for each in rest if each.has_just_tried(now, fresh)]
    if not new:
        last = max(rest, key=_Prober.waiting_since)
        if looks[last].outcome not in GOOD:
            return None
        return Look(Outcome.OK, warnings=_own_faults([looks[each] for each in doubted]))
    found = _gravest([looks[each] for each in new])
    return replace(found, warnings=found.warnings + _own_faults([looks[each] for each in doubted]))


_DOUBTED: Final = (Outcome.AUTH_SUSPECT, Outcome.PROBER_FAULT)


def _all_doubted(
    doubted: Sequence["_Prober"],
    looks: Mapping["_Prober", Look],
    configured: int,
    now: datetime,
) -> Look | None:
    """Nobody gets in: the vendor's fault when all of several sound accounts are rejected (F5)."""
    if not doubted:
        return None
    found = _gravest([looks[each] for each in doubted])
    rejected = all(looks[each].outcome is Outcome.AUTH_SUSPECT for each in doubted)
    sound = all(each.is_proven(now) for each in doubted)
    if rejected and sound and len(doubted) == configured > 1:
        words = f"all {configured} accounts, sound until now, were rejected; {found.words}"
        return replace(found, outcome=Outcome.TARGET_FAIL, words=words, shape="F5")
    return found


def _read_of_all(looks: Sequence[Look]) -> Look | None:
    if not looks:
        return None
    well = any(look.outcome in GOOD for look in looks)
    own = [look for look in looks if well and (look.is_own or look.outcome in _DOUBTED)]
    rest = [look for look in looks if look not in own]
    found = _gravest(rest)
    warnings = [each for look in rest for each in look.warnings]
    return replace(found, warnings=tuple(warnings) + _own_faults(own))


def _gravest(looks: Sequence[Look]) -> Look:
    outcome = worst(tuple(look.outcome for look in looks))
    return next(look for look in looks if look.outcome is outcome)


def _own_faults(looks: Sequence[Look]) -> tuple[str, ...]:
    """Say of single accounts what is wrong with them: the prober's fault, not the target's."""
    return tuple(f"{Outcome.PROBER_FAULT}: {look.words}" for look in looks if look.words)


# ---- one account --------------------------------------------------------------------------


class _Prober:
    """One account: its session, and what its log-ins and readings came to."""

    def __init__(
        self,
        options: Options,
        account: Credentials,
        client: Client,
        environ: Mapping[str, str],
        facts: dict[str, Json],
    ) -> None:
        self.options = options
        self.account = account
        self.client = client
        self.environ = environ
        self.values = Values(environ)
        self.session_id = ""
        self.login: Look | None = None
        self.read: Look | None = None
        self._tried_now = False
        self._facts = facts
        self._digest = account_digest(f"{options.url} {self._name()}")
        # Another check of this prober may use the same account: read again before each look.
        self._restraint = Restraint()
        # Not kept on disk: other credentials after a restart have proven nothing.
        self._proven_at = LONG_AGO
        # By this check; the restraint knows of others too.
        self._logged_in_at = LONG_AGO
        self._answer = ""

    # -- when --

    def may_log_in(self, now: datetime) -> bool:
        """Say whether a log-in now cannot lock the account."""
        self._restraint = Restraint.of(self._facts.get(self._digest))
        if self._restraint.is_frozen(now):
            return False
        is_late = not self.session_id or self._restraint.is_late(self._logged_in_at, now)
        if self._restraint.is_soon(now):
            if is_late:
                self._restraint.wanted_at = now
                self._facts[self._digest] = self._restraint.told()
            return False
        # Two checks that use one account take turns, or one of them would starve.
        return is_late or not self._restraint.is_wanted(now)

    def waiting_since(self) -> datetime:
        """Return when its newest log-in was."""
        return self._logged_in_at

    def has_just_tried(self, now: datetime, fresh: timedelta) -> bool:
        """Say whether its newest log-in belongs to the run that began at `now`, or to its retry."""
        return self._tried_now or timedelta(0) <= now - self.waiting_since() <= fresh

    def is_proven(self, now: datetime) -> bool:
        """Say whether these very credentials worked of late."""
        return now - self._proven_at < PROVEN_FOR

    def _name(self) -> str:
        try:
            return Values(self.environ).fill(self.account.name)
        except NotFilled:
            return self.account.name

    # -- the two steps --

    async def look(self, now: datetime, timeout_s: float, *, may_log_in: bool) -> None:
        """Log in when it is due, and read when there is a session."""
        began = time.monotonic()

        def moment() -> datetime:
            return now + timedelta(seconds=time.monotonic() - began)

        self.values = Values(self.environ)
        self.read = None
        self._tried_now = False
        if may_log_in and self.may_log_in(moment()):
            await self._log_in(moment, timeout_s)
        if not self.session_id:
            return
        self.read = await self._tried(self._reading, moment, timeout_s)
        if self.read is None and self.may_log_in(moment()):
            # It ran out, as sessions do once a day: a new one, and once more.
            await self._log_in(moment, timeout_s)
            if self.session_id:
                self.read = await self._tried(self._reading, moment, timeout_s)
        if self.read is None and self.session_id == "" and self._is_well():
            words = "the session ended within a minute of its log-in"
            self.read = Look(Outcome.TARGET_FAIL, words, "session", status=500)

    def _is_well(self) -> bool:
        return self.login is not None and self.login.outcome in GOOD

    async def _log_in(self, moment: "_Moment", timeout_s: float) -> None:
        # Written down before it begins, for the others who use this account.
        self._note(moment())
        seen = await self._tried(self._entering, moment, timeout_s)
        # A session that a log-in itself calls unknown is a fault like any other.
        self.login = seen or Look(Outcome.TARGET_FAIL, "the log-in spoke of a session", "F3")
        self._tried_now = True
        if self.login.outcome in GOOD:
            self._proven_at, self._restraint.rejections = moment(), 0
        self._note(moment())

    def _note(self, now: datetime) -> None:
        self._logged_in_at = self._restraint.tried_at = now
        self._restraint.wanted_at = LONG_AGO
        self._facts[self._digest] = self._restraint.told()

    async def _tried(self, step: "_Doing", moment: "_Moment", timeout_s: float) -> Look | None:
        """Do a step and return what it met with, None when the session ended; never raises."""
        marks = self.client.marks = Marks()
        MARKS.set(marks)
        self._answer = ""
        look: Look | None
        try:
            async with asyncio.timeout(timeout_s):
                look = await step(moment)
        except _Saw as saw:
            look = saw.look
        except _Fault as fault:
            look = self._judged(fault, moment())
        except (NotFilled, Refused) as error:
            look = Look(Outcome.PROBER_FAULT, str(error), "private")
        except Broken as error:
            look = Look(Outcome.TARGET_FAIL, str(error), "F10")
        except TimeoutError:
            words = f"{marks.waited_for()} within {amount(timeout_s)} s"
            look = Look(Outcome.TARGET_FAIL, words, "F2")
        except (aiohttp.InvalidURL, ValueError, TypeError):
            look = Look(Outcome.PROBER_FAULT, "the filled-in request is not valid")
        except (aiohttp.ClientError, OSError) as error:
            look = Look(Outcome.TARGET_FAIL, in_words(error)[1], "F1")
        if look is None:
            return None
        return self._finished(look, marks)

    def _finished(self, look: Look, marks: Marks) -> Look:
        total_s, slow_s = marks.total_s(), self.options.degraded_over_s
        if look.outcome is Outcome.OK and total_s > slow_s:
            words = f"took {amount(total_s)} s, allowed {amount(slow_s)}"
            look = replace(
                look, outcome=Outcome.SLOW, words=words, shape="F16", failed=("degraded_over_s",)
            )
        failed = look.outcome not in GOOD
        return replace(
            look,
            words=self.values.hide(look.words),
            phases_ms=marks.phases_ms(),
            answer=self.values.excerpt(self._answer) if failed else "",
        )

    # -- logging in --

    async def _entering(self, moment: "_Moment") -> Look:
        options = self.options
        name = self.values.fill(self.account.name)
        secret = {
            "password": self.values.fill(self.account.password),
            "applicationId": self.values.fill(options.application_id),
        }
        who = {"accountName": name, **secret}
        if options.path == "subscriber":
            session_id = await self._id("General/LoginSubscriberAccount", who, "session")
        else:
            account_id = await self._id("General/AuthenticatePublisherAccount", who, "account")
            by_id = {"accountId": account_id, **secret}
            session_id = await self._id("General/LoginPublisherAccountById", by_id, "session")
        self.session_id = session_id
        return Look(Outcome.OK, status=200, account=self._digest)

    async def _id(self, call: str, body: Mapping[str, str], what: str) -> str:
        found = await self._ask(call, {}, body)
        if not isinstance(found, str) or not 0 < len(found) <= ID_CHARS_MAX:
            raise _fails(f"the {what} id was no text, expected an id", "F12", "type")
        if found == ZERO_ID:
            raise _fails(f"logged in with an all-zero {what} id", "F7", "not_equals")
        self.values.save(what, found)
        return found

    # -- reading --

    async def _reading(self, moment: "_Moment") -> Look:
        query = {"sessionId": self.session_id, "minutes": str(MINUTES), "maxCount": "1"}
        self.values.save("session", self.session_id)
        if self.options.path == "subscriber":
            query["subscriptionId"] = await self._subscription()
            found = await self._ask("Subscriber/ReadSubscriptionLatestGlucoseValues", query)
        else:
            found = await self._ask("Publisher/ReadPublisherLatestGlucoseValues", query)
        return self._weighed(self._first(found, "readings"), moment())

    async def _subscription(self) -> str:
        """Return the id of whom the account follows first."""
        call = "Subscriber/ListSubscriberAccountSubscriptions"
        found = await self._ask(call, {"sessionId": self.session_id})
        subscription_id = self._first(found, "subscriptions").get("SubscriptionId")
        if not isinstance(subscription_id, str) or len(subscription_id) > ID_CHARS_MAX:
            raise _fails("[0].SubscriptionId was missing, expected an id", "F12", "missing")
        self.values.save("subscription", subscription_id)
        return subscription_id

    def _first(self, found: Json, what: str) -> Mapping[str, Json]:
        if not isinstance(found, list):
            raise _fails(f"the {what} were no list", "F12", "type")
        if not found:
            words = f"the list of {what} was empty, expected one or more"
            several = len(self.options.accounts) > 1
            shape = "F20" if several else "F8"
            raise _Saw(
                Look(Outcome.TARGET_FAIL, words, shape, ("min_length",), 200, is_own=several)
            )
        if not isinstance(found[0], dict):
            raise _fails(f"the first of the {what} was no object", "F12", "type")
        return found[0]

    def _weighed(self, reading: Mapping[str, Json], now: datetime) -> Look:
        value, at = reading.get("Value"), instant(reading.get("WT"))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _fails("[0].Value was missing, expected a number", "F12", "missing")
        if at is None:
            raise _fails("[0].WT was missing, expected a time", "F12", "missing")
        if "Trend" not in reading:
            raise _fails("[0].Trend was missing, expected a text or a number", "F12", "missing")
        age_s = (now - at).total_seconds()
        if age_s > self.options.max_age_s:
            allowed = amount(self.options.max_age_s)
            words = f"[0].WT was {amount(round(age_s))} s old, allowed {allowed}"
            raise _fails(words, "F9", "max_age_s")
        if -age_s > FUTURE_S_MAX:
            allowed = amount(FUTURE_S_MAX)
            words = f"[0].WT was {amount(round(-age_s))} s in the future, allowed {allowed}"
            raise _fails(words, "F19", "max_future_s")
        return Look(Outcome.OK, status=200, warnings=self._drifts(reading))

    def _drifts(self, reading: Mapping[str, Json]) -> tuple[str, ...]:
        """Say how the form of a reading changed: a warning (F12), for the readings are there."""
        trend = "[0].Trend was no text" if not isinstance(reading["Trend"], str) else ""
        strange = sorted(
            self.values.hide(str(each))[:NAME_CHARS_MAX] for each in reading.keys() - KNOWN
        )
        fields = (
            f"[0] had unknown fields: {', '.join(strange[:FIELDS_SHOWN_MAX])}" if strange else ""
        )
        found = [each for each in (trend, fields) if each]
        return tuple(f"the form of a reading changed: {each}" for each in found)

    # -- asking --

    async def _ask(
        self, call: str, query: Mapping[str, str], body: Mapping[str, str] | None = None
    ) -> Json:
        base = self.values.fill(self.options.url).rstrip("/")
        url = URL(f"{base}/{call}").with_query(dict(query))
        self.client.check(url)
        async with self.client.session.post(
            url, json=dict(body or {}), allow_redirects=False
        ) as response:
            answer = await read_answer(response)
        self._answer = text_of(answer)
        document = document_of(self._answer) if answer.whole else None
        if isinstance(document, dict) and "Code" in document and answer.status >= 400:
            code = str(document["Code"])[:CODE_CHARS_MAX]
            raise _Fault(code, str(document.get("Message", "")), answer.status)
        return _usable(answer, document)

    def _judged(self, fault: _Fault, now: datetime) -> Look | None:
        """Say what a fault code means, None when the session ended."""
        words = f"HTTP {fault.status} with the fault {fault.code}"
        if fault.code in ENDING:
            self.session_id = ""
            return None
        if fault.code == LOCKING:
            words += self._restraint.freeze(now)
            return Look(Outcome.PROBER_FAULT, words, "F6", status=fault.status)
        if fault.code in REJECTING or (
            fault.code == AMBIGUOUS and "cannot authenticate" in fault.message.lower()
        ):
            return self._rejected(words, fault, now)
        if fault.code == INVALID_ARGUMENT and not self.is_proven(now):
            return Look(Outcome.PROBER_FAULT, words, "F14", status=fault.status)
        is_own = fault.code == NO_RECEIVER
        shape = "F20" if is_own else "F14" if fault.code == INVALID_ARGUMENT else "F3"
        return Look(Outcome.TARGET_FAIL, words, shape, ("status",), fault.status, is_own=is_own)

    def _rejected(self, words: str, fault: _Fault, now: datetime) -> Look:
        words += self._restraint.reject(now)
        return Look(Outcome.AUTH_SUSPECT, words, "F4", status=fault.status, account=self._digest)


_Moment = Callable[[], datetime]
_Doing = Callable[[_Moment], Coroutine[Any, Any, Look]]  # Any: nothing is sent into them.


def _usable(answer: Answer, document: Json) -> Json:
    """Return the document of a good answer."""
    status = answer.status
    if status == TOO_MANY:
        words = f"HTTP {status}: the target limits this prober"
        raise _Saw(Look(Outcome.BLOCKED_US, words, "F22", status=status))
    if status == FORBIDDEN:
        words = f"HTTP {status}: the target turns this prober away"
        raise _Saw(Look(Outcome.BLOCKED_US, words, "F11", status=status))
    if status != 200:
        shape = "F2" if status in OVERLOADED else "F3"
        raise _fails(f"HTTP {status}, expected 200", shape, "status", status=status)
    if not answer.whole:
        raise _fails(f"the body was over {BODY_BYTES_MAX // 1024} KB", "F10", "body")
    if isinstance(document, Unmet):
        shape = "F11" if text_of(answer).lstrip()[:1] == "<" else "F10"
        raise _fails(document.words, shape, document.condition)
    return document
