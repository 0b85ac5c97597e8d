"""The agent itself: one task for each check, one that fetches, one that hands in."""

import asyncio
import json
import sqlite3
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from probes import kinds
from probes.agent.alarm import Plight, telling
from probes.agent.buffer import Buffer, Buffered
from probes.agent.memories import Memories
from probes.agent.schedule import again_after_s, retry_wait_s, until_next_s
from probes.agent.selfcheck import SelfCheck
from probes.agent.server import Orders, Server, ServerAway, ServerRefused
from probes.facts import (
    ANSWER_CHARS_MAX,
    GOOD,
    WARNING_CHARS_MAX,
    WARNINGS_MAX,
    BadSpec,
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    StepObservation,
)
from probes.values import printable

FETCH_EVERY_S: Final = 10.0
BATCH_RESULTS_MAX: Final = 500
RUNS_AT_ONCE_MAX: Final = 200
STOP_WITHIN_S: Final = 1.0
# A full disk is left alone for as long as a server that was away for so many attempts: 5 s.
AGAIN_FOR_DISK: Final = 10
REASON_CHARS_MAX: Final = 1000


class Agent:
    """One task for each check, one that fetches, one that hands in."""

    def __init__(
        self,
        *,
        server: Server,
        location: str,
        buffer: Buffer,
        environ: Mapping[str, str],
        alarm_url: str = "",
    ) -> None:
        self.server = server
        self.location = location
        self.buffer = buffer
        self.environ = environ
        self.self_check = SelfCheck()
        self.plight = Plight(location)
        self._alarm_url = alarm_url
        self._etag = ""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(RUNS_AT_ONCE_MAX)
        self._has_results = asyncio.Event()
        self._has_changed = asyncio.Event()
        self._sequences: dict[str, int] = {}
        self._tries = Tries(buffer)
        self._memories = Memories(buffer)
        self._last_complaint = ""
        self._is_ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Probe until `stop` is set; what was not handed in stays on disk."""
        self._resume()
        loops = [
            asyncio.create_task(self._fetching()),
            asyncio.create_task(self._handing_in()),
            asyncio.create_task(self.self_check.watching_lag()),
        ]
        if self._alarm_url:
            loops.append(asyncio.create_task(telling(self.plight, self._alarm_url)))
        try:
            ended = asyncio.create_task(stop.wait())
            done, _ = await asyncio.wait({ended, *loops}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {ended}:
                task.result()
        finally:
            for task in (*loops, *self._tasks.values()):
                task.cancel()
            await asyncio.wait([*loops, *self._tasks.values()], timeout=STOP_WITHIN_S)

    async def once(self) -> None:
        """Fetch, run each check once and hand in; for a trial from a shell."""
        fetched = await self.server.fetch("")
        assert fetched is not None, "asked without an etag, a server sends its checks"
        orders = Orders.parse(*fetched)
        self.self_check.references = orders.references
        await asyncio.gather(*(self._run_once(check) for check in orders.checks))
        while batch := self.buffer.take(BATCH_RESULTS_MAX):
            await self.server.hand_in(batch, self.buffer.dropped)
            self.buffer.forget(batch)

    # -- fetching --

    def _resume(self) -> None:
        """Go on with the checks of last time, so that we probe while the server is away."""
        if (kept := self.buffer.kept("checks")) is not None:
            try:
                self._obey(Orders.parse("", kept))
            except ServerAway:
                self._complain("the checks kept on disk cannot be read; waiting for the server")

    async def _fetching(self) -> None:
        failures = 0
        while True:
            try:
                await self._fetch()
                failures = 0
                wait_s = FETCH_EVERY_S
            except ServerAway as error:
                failures += 1
                self._complain(f"checks not fetched from {self.server.url}: {error}")
                wait_s = again_after_s(failures)
            self._has_changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._has_changed.wait()
            except TimeoutError:
                continue

    async def _fetch(self) -> None:
        fetched = await self.server.fetch(self._etag)
        self.self_check.clock_off_s = self.server.clock_off_s
        if fetched is not None:
            etag, text = fetched
            self._obey(Orders.parse(etag, text))
            self.buffer.keep("checks", text)
            self._etag = etag
        self._last_complaint = ""
        if not self._is_ready:
            self._is_ready = True
            print(f"ready {self.location} {len(self._tasks)} checks", flush=True)

    def _obey(self, orders: Orders) -> None:
        """Start what is new, stop what is gone; what is unchanged keeps its pace."""
        self.self_check.references = orders.references
        self._tries.ask(orders.tries)
        self.plight.keep_only({check.slug for check in orders.checks})
        wanted = {_key(check): check for check in orders.checks}
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for key in wanted.keys() - self._tasks.keys():
            self._tasks[key] = asyncio.create_task(self._watching(wanted[key]))

    # -- probing --

    async def _watching(self, check: CheckSpec) -> None:
        """Run one check at once and then at its times; one run ends before the next begins."""
        memory = Memory(self.environ, self._memories.of_check(check.slug))
        try:
            while True:
                async with self._slots:
                    await self._run(check, memory)
                self._memories.write(check.slug, memory.facts)
                await self._wait_for(check)
        finally:
            await memory.close()

    async def _wait_for(self, check: CheckSpec) -> None:
        """Wait until a check is due, or somebody asks for a run."""
        asked = self._tries.event_of(check.slug)
        due = time.time() + until_next_s(time.time(), check, self.location)
        # A timer may ring a moment early, and a run at that moment would be made twice.
        while not asked.is_set() and 0 < (left_s := due - time.time()) <= check.interval_s:
            try:
                async with asyncio.timeout(left_s):
                    await asked.wait()
            except TimeoutError:
                continue

    async def _run_once(self, check: CheckSpec) -> None:
        memory = Memory(self.environ, self._memories.of_check(check.slug))
        try:
            await self._run(check, memory)
            self._memories.write(check.slug, memory.facts)
        finally:
            await memory.close()

    async def _run(self, check: CheckSpec, memory: Memory) -> None:
        try_id = self._tries.take(check.slug)
        began, clock = datetime.now(UTC), time.monotonic()
        first = last = await _attempt(check, memory)
        attempts = 1
        if first.outcome is Outcome.TARGET_FAIL:
            fault = self.self_check.fault(interval_s=check.interval_s, since=clock)
            looking = asyncio.create_task(fault)
            if check.retry_after_s > 0:
                await asyncio.sleep(retry_wait_s(check))
                last = await _attempt(check, memory)
                attempts = 2
            if found := await looking:
                first = last = Observation(Outcome.PROBER_FAULT, (), found)
        failed = last.outcome is Outcome.TARGET_FAIL
        self.plight.saw(check.slug, _why(last) if failed else "")
        self.buffer.put(
            {
                "check": check.slug,
                "sequence": self._next_sequence(check.slug),
                "at": began.isoformat(),
                "attempts": attempts,
                "first_outcome": first.outcome,
                "first_step": _failing_step(first),
                "total_ms": round((time.monotonic() - clock) * 1000, 1),
                "try": try_id,
                **_on_the_wire(last, answer=last.answer or first.answer),
            }
        )
        self._has_results.set()

    def _next_sequence(self, slug: str) -> int:
        """Return a number that grows, even when our disk was lost: milliseconds since 1970."""
        sequence = max(int(time.time() * 1000), self._sequences.get(slug, 0) + 1)
        self._sequences[slug] = sequence
        return sequence

    # -- handing in --

    async def _handing_in(self) -> None:
        failures = 0
        size = BATCH_RESULTS_MAX
        while True:
            self._has_results.clear()
            batch = self.buffer.take(size)
            if not batch:
                await self._has_results.wait()
                continue
            try:
                etag = await self.server.hand_in(batch, self.buffer.dropped)
            except ServerAway as error:
                failures += 1
                self.plight.not_heard(time.monotonic())
                self._complain(f"{len(self.buffer)} results wait for {self.server.url}: {error}")
                await asyncio.sleep(again_after_s(failures))
                continue
            except ServerRefused as error:
                self._complain(f"a result was refused by {self.server.url}: {error}")
                size = self._isolate(batch)
                continue
            self.plight.heard()
            try:
                self.buffer.forget(batch)
            except sqlite3.OperationalError as error:
                # A full disk. What stays is handed in again, and counts once.
                self._complain(f"the buffer cannot be written: {error}")
                await asyncio.sleep(again_after_s(AGAIN_FOR_DISK))
            failures, size = 0, BATCH_RESULTS_MAX
            if etag != self._etag:
                self._has_changed.set()

    def _isolate(self, batch: Sequence[Buffered]) -> int:
        """Halve a refused batch until the one bad result is found, and drop that one."""
        if len(batch) == 1:
            self.buffer.forget(batch)
            return BATCH_RESULTS_MAX
        return len(batch) // 2

    def _complain(self, sentence: str) -> None:
        """Say it in one line, and not again until something else happened."""
        kind = sentence.partition(":")[2]
        if kind != self._last_complaint:
            self._last_complaint = kind
            print(f"probe {self.location}: {sentence}", file=sys.stderr, flush=True)


def _key(check: CheckSpec) -> str:
    """Return what makes two orders the same check: all of it."""
    return json.dumps(asdict(check), sort_keys=True)


async def _attempt(check: CheckSpec, memory: Memory) -> Observation:
    try:
        kind = kinds.load(check.kind)
    except BadSpec as error:
        return Observation(
            Outcome.PROBER_FAULT, (), f"this prober is older than the check: {error}"
        )
    try:
        return await kind.run(check, memory, datetime.now(UTC), check.timeout_s)
    except Exception as error:  # A fault of ours must neither end the check nor blame the target.
        # Its own words may hold an address with a session in it.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(place.filename).name} line {place.lineno}"
        print(f"probe: the check {check.slug} met a fault of ours: {where}", file=sys.stderr)
        return Observation(
            Outcome.PROBER_FAULT, (), f"the prober itself failed ({type(error).__name__})"
        )


def _failing_step(seen: Observation) -> str:
    return next((step.name for step in seen.steps if step.outcome not in GOOD), "")


def _why(seen: Observation) -> str:
    """Return which step failed and why, in words; never empty."""
    step = next((step for step in seen.steps if step.outcome is Outcome.TARGET_FAIL), None)
    return printable(f"{step.name}: {step.reason}" if step else seen.reason) or "failed"


def _on_the_wire(seen: Observation, *, answer: str) -> dict[str, Any]:
    # Not dataclasses.asdict: it copies deeply, which is a tenth of a probe.
    steps = [
        {name: getattr(step, name) for name in StepObservation.__slots__}
        | {"reason": printable(step.reason)[:REASON_CHARS_MAX]}
        for step in seen.steps
    ]
    return {
        "outcome": seen.outcome,
        "reason": printable(seen.reason)[:REASON_CHARS_MAX],
        "steps": steps,
        "warnings": [printable(each)[:WARNING_CHARS_MAX] for each in seen.warnings[:WARNINGS_MAX]],
        "answer": "" if seen.outcome in GOOD else answer[:ANSWER_CHARS_MAX],
    }


class Tries:
    """The runs that operators asked for, each made once, also across restarts."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._events: dict[str, asyncio.Event] = {}
        self._wanted: dict[str, str] = {}

    def ask(self, tries: Mapping[str, str]) -> None:
        """Take what the server asks for; what was done before is passed over."""
        for slug, try_id in tries.items():
            if self._buffer.kept(f"try {slug}") != try_id:
                self._wanted[slug] = try_id
                self.event_of(slug).set()

    def event_of(self, slug: str) -> asyncio.Event:
        """Return what is set while a run of a check is asked for."""
        return self._events.setdefault(slug, asyncio.Event())

    def take(self, slug: str) -> str:
        """Return the id that the run which begins now fulfils, empty when nobody asked."""
        self.event_of(slug).clear()
        try_id = self._wanted.pop(slug, "")
        if try_id:
            self._buffer.keep(f"try {slug}", try_id)
        return try_id
