"""One walk along the steps of a journey: ask, look, and say what was seen."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp
from yarl import URL

from probes.conditions import Unmet, amount, find, unmet
from probes.facts import GOOD, Memory, Outcome, StepObservation
from probes.restraint import Restraint, account_digest
from probes.steps import Expect, Expectation, Step, payload_of
from probes.values import MARK, NotFilled, Values
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

REDIRECTS_MAX: Final = 5
# Session ids and JWTs stay under 4 KB, as cookies do (RFC 6265, 6.1).
SAVED_CHARS_MAX: Final = 4096
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
LOCKED: Final = 423
TOO_MANY: Final = 429
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

Json = Any  # Whatever an answer holds.


@dataclass(slots=True)
class Walk:
    """One walk along the steps of a check: what it saw, the first failing step last."""

    client: Client
    values: Values
    memory: Memory
    now: datetime
    timeout_s: float
    steps: list[StepObservation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    # The beginning of what the failing step was answered.
    answer: str = ""
    # What the last step was answered.
    text: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def is_well(self) -> bool:
        """Say whether no step failed so far."""
        return all(step.outcome in GOOD for step in self.steps)

    def moment(self) -> datetime:
        """Return what time it is, from the walk's beginning on."""
        return self.now + timedelta(seconds=time.monotonic() - self.began)

    async def along(self, steps: Sequence[Step], component: str | None) -> bool:
        """Take steps until one fails; say whether all went well. Never raises."""
        for step in steps:
            attempt = _Attempt(step, step.component or component or "", self)
            self.steps.append(await attempt.run(self.timeout_s))
            if not self.is_well:
                break
        return self.is_well


class _Attempt:
    """One step, tried once."""

    def __init__(self, step: Step, component: str, walk: Walk) -> None:
        self.step = step
        self.component = component
        self.walk = walk
        self.client = walk.client
        self.values = walk.values
        self.account = ""

    async def run(self, timeout_s: float) -> StepObservation:
        """Ask and look; never raises."""
        self.client.marks = Marks()
        MARKS.set(self.client.marks)
        began_at = self.walk.moment()
        if self._proves_an_account():
            self.account = account_digest(self._account())
            restraint = self._restraint()
            if restraint.holds_back(began_at):
                again_at = restraint.again_at(began_at)
                words = f"rejected before, not tried again until {again_at:%H:%M:%S} UTC"
                return self._seen(Outcome.AUTH_SUSPECT, words, "rejected")
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ask()
        except (NotFilled, Refused) as error:
            return self._seen(Outcome.PROBER_FAULT, str(error), shape="private")
        except Broken as error:
            return self._seen(Outcome.TARGET_FAIL, str(error), shape=error.shape)
        except TimeoutError:
            words = f"{self.client.marks.waited_for()} within {amount(timeout_s)} s"
            return self._seen(Outcome.TARGET_FAIL, words, shape="timeout")
        except (aiohttp.InvalidURL, ValueError, TypeError):
            # A header with a line break, a port out of range: what was filled in is no request.
            return self._seen(Outcome.PROBER_FAULT, "the filled-in request is not valid")
        except (aiohttp.ClientError, OSError) as error:
            shape, words = in_words(error)
            return self._seen(Outcome.TARGET_FAIL, words, shape=shape)
        self.walk.text = text_of(answer)
        seen = self._judge(answer, self.walk.moment())
        if seen.outcome not in GOOD:
            self.walk.answer = self.values.excerpt(self.walk.text)
        return seen

    def _judge(self, answer: Answer, now: datetime) -> StepObservation:
        if answer.status not in self.step.expect.statuses():
            refusal = self._refusal(answer.status, now)
            if refusal:
                return refusal
        failures = self._failures(answer, now)
        if not failures:
            failures = self._save(answer)
        if failures:
            words = "; ".join(each.words for each in failures)
            shape = "http" if failures[0].condition == "status" else "body"
            failed = tuple(each.condition for each in failures)
            return self._seen(Outcome.TARGET_FAIL, words, shape, failed, answer.status)
        self._went_well()
        self._warn(now)
        slow_s = self.step.expect.degraded_over_s
        total_s = self.client.marks.total_s()
        if slow_s is not None and total_s > slow_s:
            words = f"took {amount(total_s)} s, allowed {amount(slow_s)}"
            return self._seen(Outcome.SLOW, words, "slow", ("degraded_over_s",), answer.status)
        return self._seen(Outcome.OK, "", status=answer.status)

    def _refusal(self, status: int, now: datetime) -> StepObservation | None:
        """Return what was said to us and not to people; None when it was said to everybody."""
        if status == TOO_MANY:
            # detection.md, F22.
            words = f"HTTP {status}: the target limits this prober"
            return self._seen(Outcome.BLOCKED_US, words, "limited", status=status)
        if status == FORBIDDEN:
            # detection.md, D23: a wall in front of the service turns machines away.
            words = f"HTTP {status}: the target turns this prober away"
            return self._seen(Outcome.BLOCKED_US, words, "blocked", status=status)
        if status not in (UNAUTHORIZED, LOCKED) or not self.account:
            return None
        restraint = self._restraint()
        restraint.tried_at = now
        if status == LOCKED:
            words = f"HTTP {status}: the probe's account is locked{restraint.freeze(now)}"
            self._keep(restraint)
            return self._seen(Outcome.PROBER_FAULT, words, "locked", status=status)
        words = f"HTTP {status}: the probe's account was rejected{restraint.reject(now)}"
        self._keep(restraint)
        return self._seen(Outcome.AUTH_SUSPECT, words, "rejected", status=status)

    # -- whose account --

    def _proves_an_account(self) -> bool:
        """Say whether the step sends what the prober alone knows: a rejection may be its own."""
        texts = [*self.step.headers.values(), *payload_of(self.step)]
        return any(found[1] for text in texts for found in MARK.finditer(text))

    def _account(self) -> str:
        texts = [self.step.url, *self.step.headers.values(), *payload_of(self.step)]
        return " ".join(self.values.named(text) for text in texts)

    def _restraint(self) -> Restraint:
        return Restraint.of(self.walk.memory.facts.get("accounts", {}).get(self.account))

    def _keep(self, restraint: Restraint) -> None:
        self.walk.memory.facts.setdefault("accounts", {})[self.account] = restraint.told()

    def _went_well(self) -> None:
        if self.account:
            self.walk.memory.facts.get("accounts", {}).pop(self.account, None)

    def _seen(
        self,
        outcome: Outcome,
        reason: str,
        shape: str = "",
        failed: tuple[str, ...] = (),
        status: int | None = None,
    ) -> StepObservation:
        return StepObservation(
            name=self.step.name,
            component=self.component,
            outcome=outcome,
            reason=self.values.hide(reason),
            failed=failed,
            shape=shape,
            status=status,
            phases_ms=self.client.marks.phases_ms(),
            account=self.account if outcome in (*GOOD, Outcome.AUTH_SUSPECT) else "",
        )

    # -- asking --

    async def _ask(self) -> Answer:
        step, values = self.step, self.values
        try:
            url = URL(values.fill(step.url, url=True))
        except ValueError:
            raise NotFilled("the filled-in url is not valid") from None
        method = step.method
        headers = {name: values.fill(text) for name, text in step.headers.items()}
        payload: dict[str, Any] = {}  # Any: aiohttp's own keyword arguments.
        if step.json_ is not None:
            payload["json"] = values.fill_json(step.json_)
        elif step.form is not None:
            payload["data"] = values.fill_json(step.form)
        elif step.body is not None:
            payload["data"] = values.fill(step.body)
        for _ in range(REDIRECTS_MAX + 1):
            self.client.check(url)
            async with self.client.session.request(
                method, url, headers=headers, allow_redirects=False, **payload
            ) as response:
                onward = self._onward(response, url)
                if onward is None:
                    return await read_answer(response)
                if response.status not in (307, 308) and method != "HEAD":
                    method, payload = "GET", {}
                url = onward
        raise Broken("redirect", f"redirected more than {REDIRECTS_MAX} times")

    def _onward(self, response: aiohttp.ClientResponse, url: URL) -> URL | None:
        """Return where a redirect leads, None when it is an answer; other hosts are refused."""
        place = response.headers.get("Location")
        expected = response.status in self.step.expect.statuses()
        if response.status not in REDIRECTS or place is None or expected:
            return None
        try:
            onward = url.join(URL(place))
        except ValueError:
            raise Broken("redirect", f"HTTP {response.status} to no valid address") from None
        # Plain http may lead to https, never back: headers hold secrets.
        weaker = onward.scheme != "https" and (url.scheme == "https" or onward.scheme != "http")
        if onward.host != url.host or weaker or (onward.port != url.port and _own_port(onward)):
            raise Broken("redirect", f"HTTP {response.status} to another host, not followed")
        return onward

    # -- looking --

    def _failures(self, answer: Answer, now: datetime) -> list[Unmet]:
        expect = self.step.expect
        failure = _wrong_status(answer, expect)
        if failure:
            return [failure]
        if expect.content_type and answer.content_type != expect.content_type.lower():
            words = f"content type was {answer.content_type or 'missing'}, "
            return [Unmet("content_type", words + f"expected {expect.content_type}")]
        if not expect.body:
            return []
        if not answer.whole:
            return [Unmet("body", f"the body was over {BODY_BYTES_MAX // 1024} KB")]
        return self._body_failures(now)

    def _body_failures(self, now: datetime) -> list[Unmet]:
        document: Json = None
        if any(each.path is not None for each in self.step.expect.body):
            document = document_of(self.walk.text)
            if isinstance(document, Unmet):
                return [document]
        return self._unmet(self.step.expect.body, document, now)

    def _warn(self, now: datetime) -> None:
        if not self.step.expect.warn:
            return
        document = document_of(self.walk.text)
        found = [document] if isinstance(document, Unmet) else []
        found = found or self._unmet(self.step.expect.warn, document, now)
        self.walk.warnings += [f"{self.step.name}: {each.words}" for each in found]

    def _unmet(self, asked: Sequence[Expectation], document: Json, now: datetime) -> list[Unmet]:
        failures: list[Unmet] = []
        for each in asked:
            value = self.walk.text if each.path is None else find(each.path, document)
            subject = "the body" if each.path is None else each.path
            failures += unmet(each.asked(), value, now, subject=subject, hide=self.values.hide)
        return failures

    def _save(self, answer: Answer) -> list[Unmet]:
        if not self.step.save:
            return []
        cut = Unmet("body", "the body was cut")
        document = document_of(self.walk.text) if answer.whole else cut
        if isinstance(document, Unmet):
            return [document]
        for name, path in self.step.save.items():
            value = find(path, document)
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                return [Unmet("save", f"{path}, to be saved as {name}, was missing")]
            if len(str(value)) > SAVED_CHARS_MAX:
                return [Unmet("save", f"{path} was over {amount(SAVED_CHARS_MAX)} characters")]
            self.values.save(name, str(value))
        return []


def _own_port(url: URL) -> bool:
    return url.explicit_port is not None


def _wrong_status(answer: Answer, expect: Expect) -> Unmet | None:
    right = expect.statuses()
    if answer.status in right or (not right and 200 <= answer.status < 300):
        return None
    expected = " or ".join(str(each) for each in right) or "200 to 299"
    return Unmet("status", f"HTTP {answer.status}, expected {expected}")
