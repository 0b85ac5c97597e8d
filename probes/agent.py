"""The prober of one location: fetches its checks, runs them on time, hands in what they saw."""

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import sqlite3
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from probes import kinds
from probes.kinds import BadSpec, CheckSpec, Memory, Observation, Outcome, StepObservation

FETCH_EVERY_S: Final = 10.0
# One answer of the server, whole; it answers in milliseconds or is away.
SERVER_TIMEOUT_S: Final = 10.0
AGAIN_AFTER_S: Final = 0.25
AGAIN_AFTER_MAX_S: Final = 5.0
# What a new list of checks may weigh; ten thousand checks of 400 bytes.
CHECKS_BYTES_MAX: Final = 4 * 1024 * 1024
BATCH_RESULTS_MAX: Final = 500
# Half of what the server admits (settings.py, DATA_UPLOAD_MAX_MEMORY_SIZE).
BATCH_BYTES_MAX: Final = 1024 * 1024
# 20 checks each 30 s fill it in 20 hours; about 50 MB.
BUFFER_RESULTS_MAX: Final = 50_000
# Dropping one by one would cost a delete each: a hundredth at a time.
BUFFER_DROP: Final = BUFFER_RESULTS_MAX // 100
RUNS_AT_ONCE_MAX: Final = 200
# Resolving blocks a thread for as long as a name server hangs.
RESOLVER_THREADS: Final = 64
REFERENCE_TIMEOUT_S: Final = 3.0
REFERENCE_FRESH_S: Final = 2.0
REFERENCE_PORT: Final = 443
STOP_WITHIN_S: Final = 1.0
# Requests under way are thousands of objects that are no garbage: Python's usual 700 looks through
# them, and through those of all checks, again and again, which cost a quarter of the agent's pace.
GARBAGE_AFTER_OBJECTS: Final = 50_000
REASON_CHARS_MAX: Final = 1000

EXIT_WRONG_USE: Final = 2


class ServerAway(Exception):
    """The server gave no usable answer; says which."""


class ServerRefused(Exception):
    """The server read what we sent and will not take it; sending it again is useless."""


# ---- what is kept on disk -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Buffered:
    """One result on its way; `row` is its place in the buffer."""

    row: int
    body: str


class Buffer:
    """Results until the server has them, and the last list of checks; survives the process."""

    def __init__(self, path: Path, results_max: int = BUFFER_RESULTS_MAX) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None)
        # A killed process loses nothing; only a power cut may, and the next run makes up for it.
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
            "CREATE TABLE IF NOT EXISTS results"
            " (row INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);"
            "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
        )
        self._results_max = results_max
        self._count = int(self._database.execute("SELECT count(*) FROM results").fetchone()[0])
        self.dropped = int(self.kept("dropped") or 0)

    def put(self, result: Mapping[str, Any]) -> None:
        """Keep a result; when full the oldest are dropped and counted."""
        self._database.execute("INSERT INTO results (body) VALUES (?)", (json.dumps(result),))
        self._count += 1
        if self._count > self._results_max:
            self._drop(max(1, min(BUFFER_DROP, self._results_max // 100)))

    def take(self, count: int) -> list[Buffered]:
        """Return the oldest results, no more than BATCH_BYTES_MAX of them; they stay."""
        rows = self._database.execute(
            "SELECT row, body FROM results ORDER BY row LIMIT ?", (count,)
        ).fetchall()
        batch: list[Buffered] = []
        room = BATCH_BYTES_MAX
        for row, body in rows:
            room -= len(body)
            if batch and room < 0:
                break
            batch.append(Buffered(row, body))
        return batch

    def forget(self, batch: Sequence[Buffered]) -> None:
        """Drop what the server has."""
        rows = [(each.row,) for each in batch]
        self._database.execute("BEGIN")
        deleted = self._database.executemany("DELETE FROM results WHERE row = ?", rows).rowcount
        self._database.execute("COMMIT")
        self._count -= max(deleted, 0)

    def keep(self, name: str, value: str) -> None:
        """Keep one named text."""
        self._database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

    def kept(self, name: str) -> str | None:
        """Return a named text, None when there is none."""
        found = self._database.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _drop(self, count: int) -> None:
        deleted = self._database.execute(
            "DELETE FROM results WHERE row IN (SELECT row FROM results ORDER BY row LIMIT ?)",
            (count,),
        ).rowcount
        self._count -= deleted
        self.dropped += deleted
        self.keep("dropped", str(self.dropped))


# ---- the server ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Orders:
    """What the server wants watched from here."""

    etag: str
    checks: tuple[CheckSpec, ...]
    references: tuple[str, ...]

    @classmethod
    def parse(cls, etag: str, text: str) -> "Orders":
        """Read the server's answer; raise ServerAway when it is something else."""
        try:
            document = json.loads(text)
            checks = tuple(
                CheckSpec(
                    slug=str(each["slug"]),
                    kind=str(each["kind"]),
                    interval_s=max(float(each["interval_s"]), 1.0),
                    timeout_s=float(each["timeout_s"]),
                    retry_after_s=float(each["retry_after_s"]),
                    spec=dict(each["spec"]),
                )
                for each in document["checks"]
            )
            return cls(etag, checks, tuple(str(each) for each in document["references"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ServerAway("it answered with no list of checks") from error


class Server:
    """The two calls that an agent makes."""

    def __init__(self, url: str, location: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.location = location
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=SERVER_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def fetch(self, etag: str) -> tuple[str, str] | None:
        """Return (etag, text) of the checks, None when they are those of `etag`."""
        headers = {"If-None-Match": etag} if etag else {}
        status, answer_etag, text = await self._ask("GET", "/probes/checks", headers=headers)
        if status == 304:
            return None
        if status != 200:
            raise ServerAway(_said(status, text))
        return answer_etag, text

    async def hand_in(self, batch: Sequence[Buffered], dropped: int) -> str:
        """Hand in results; return the etag of the checks as they are now."""
        body = (
            f'{{"location":{json.dumps(self.location)},"dropped":{dropped},'
            f'"sent_at":{json.dumps(_now().isoformat())},'
            f'"results":[{",".join(each.body for each in batch)}]}}'
        )
        headers = {"Content-Type": "application/json"}
        status, _, text = await self._ask("POST", "/probes/results", headers=headers, data=body)
        if status in (400, 413, 422):
            raise ServerRefused(_said(status, text))
        if status != 200:
            raise ServerAway(_said(status, text))
        try:
            return str(json.loads(text)["etag"])
        except (ValueError, KeyError, TypeError) as error:
            raise ServerAway("it answered with something else than an etag") from error

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        data: str | None = None,
    ) -> tuple[int, str, str]:
        try:
            async with self._session.request(
                method,
                self.url + path,
                params={"location": self.location},
                headers=headers,
                data=data,
                allow_redirects=False,
            ) as response:
                raw = await response.content.read(CHECKS_BYTES_MAX)
                while not response.content.at_eof() and len(raw) < CHECKS_BYTES_MAX:
                    raw += await response.content.read(CHECKS_BYTES_MAX - len(raw))
                text = raw.decode(errors="replace")
                return response.status, response.headers.get("ETag", ""), text
        except TimeoutError as error:
            raise ServerAway(f"no answer within {SERVER_TIMEOUT_S:.0f} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServerAway(type(error).__name__) from error


def _said(status: int, text: str) -> str:
    """Return what an error answer says, in one line."""
    try:
        said = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        said = ""
    return f"HTTP {status} {said}".strip()[:300]


# ---- the prober's own network -------------------------------------------------------------


class SelfCheck:
    """Whether this prober can reach the hosts that prove its own network."""

    def __init__(self) -> None:
        self.references: tuple[str, ...] = ()
        self._fault = ""
        self._looked_at = float("-inf")

    async def fault(self) -> str:
        """Return what is wrong with our own network, empty when nothing is."""
        if not self.references:
            return ""
        if time.monotonic() - self._looked_at > REFERENCE_FRESH_S:
            reached = await asyncio.gather(*(_reaches(each) for each in self.references))
            count, needed = sum(reached), len(reached) // 2 + 1
            missed = f"own network: reached {count} of {len(reached)} references, {needed} needed"
            self._fault = "" if count >= needed else missed
            self._looked_at = time.monotonic()
        return self._fault


async def _reaches(reference: str) -> bool:
    place = urlsplit(reference if "://" in reference else f"//{reference}")
    try:
        port = place.port or (80 if place.scheme == "http" else REFERENCE_PORT)
        async with asyncio.timeout(REFERENCE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(place.hostname, port)
    except (OSError, ValueError):
        return False
    writer.close()
    return True


# ---- the agent ----------------------------------------------------------------------------


class Agent:
    """One task for each check, one that fetches, one that hands in."""

    def __init__(
        self,
        *,
        server: Server,
        location: str,
        buffer: Buffer,
        environ: Mapping[str, str],
    ) -> None:
        self.server = server
        self.location = location
        self.buffer = buffer
        self.environ = environ
        self.self_check = SelfCheck()
        self._etag = ""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(RUNS_AT_ONCE_MAX)
        self._has_results = asyncio.Event()
        self._has_changed = asyncio.Event()
        self._sequences: dict[str, int] = {}
        self._last_complaint = ""
        self._is_ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Probe until `stop` is set; what was not handed in stays on disk."""
        self._resume()
        loops = [
            asyncio.create_task(self._fetching()),
            asyncio.create_task(self._handing_in()),
        ]
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
                wait_s = _again_after_s(failures)
            self._has_changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._has_changed.wait()
            except TimeoutError:
                continue

    async def _fetch(self) -> None:
        fetched = await self.server.fetch(self._etag)
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
        wanted = {_key(check): check for check in orders.checks}
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for key in wanted.keys() - self._tasks.keys():
            self._tasks[key] = asyncio.create_task(self._watching(wanted[key]))

    # -- probing --

    async def _watching(self, check: CheckSpec) -> None:
        """Run one check at once and then at its times; one run ends before the next begins."""
        memory = Memory(self.environ)
        try:
            while True:
                async with self._slots:
                    await self._run(check, memory)
                await asyncio.sleep(until_next_s(time.time(), check, self.location))
        finally:
            await memory.close()

    async def _run_once(self, check: CheckSpec) -> None:
        memory = Memory(self.environ)
        try:
            await self._run(check, memory)
        finally:
            await memory.close()

    async def _run(self, check: CheckSpec, memory: Memory) -> None:
        began, clock = _now(), time.monotonic()
        first = last = await _attempt(check, memory)
        attempts = 1
        if first.outcome is Outcome.TARGET_FAIL:
            looking = asyncio.create_task(self.self_check.fault())
            if check.retry_after_s > 0:
                await asyncio.sleep(retry_wait_s(check))
                last = await _attempt(check, memory)
                attempts = 2
            if fault := await looking:
                first = last = Observation(Outcome.PROBER_FAULT, (), fault)
        self.buffer.put(
            {
                "check": check.slug,
                "sequence": self._next_sequence(check.slug),
                "at": began.isoformat(),
                "attempts": attempts,
                "first_outcome": first.outcome,
                "total_ms": round((time.monotonic() - clock) * 1000, 1),
                **_on_the_wire(last),
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
                self._complain(f"{len(self.buffer)} results wait for {self.server.url}: {error}")
                await asyncio.sleep(_again_after_s(failures))
                continue
            except ServerRefused as error:
                self._complain(f"a result was refused by {self.server.url}: {error}")
                size = self._isolate(batch)
                continue
            self.buffer.forget(batch)
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
    return await kind.run(check, memory, _now(), check.timeout_s)


def _on_the_wire(seen: Observation) -> dict[str, Any]:
    # dataclasses.asdict copies deeply and costs a tenth of a probe.
    steps = [
        {name: getattr(step, name) for name in StepObservation.__slots__}
        | {"reason": step.reason[:REASON_CHARS_MAX]}
        for step in seen.steps
    ]
    return {
        "outcome": seen.outcome,
        "reason": seen.reason[:REASON_CHARS_MAX],
        "steps": steps,
    }


def until_next_s(now_s: float, check: CheckSpec, location: str) -> float:
    """Return the seconds until a check is due: aligned to its interval, apart by location.

    Aligned to the clock, so that nothing drifts and slots that a long run overslept are skipped.
    """
    share = zlib.crc32(f"{location}/{check.slug}".encode()) / 2**32
    since_due = (now_s - share * check.interval_s) % check.interval_s
    return check.interval_s - since_due


def retry_wait_s(check: CheckSpec) -> float:
    """Return the wait before the retry: never beyond half an interval, or the next run is late.

    A check each second with the usual 2 s would see two failures in 6 s instead of 3.
    """
    return min(check.retry_after_s, check.interval_s / 2)


def _again_after_s(failures: int) -> float:
    """Return how long to leave an absent server alone: doubling, spread so that agents differ."""
    wait_s = min(AGAIN_AFTER_S * 2 ** min(failures - 1, 10), AGAIN_AFTER_MAX_S)
    return float(wait_s) * random.uniform(0.8, 1.2)


def _now() -> datetime:
    return datetime.now(UTC)


# ---- the command --------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the prober; return the exit code."""
    options = _options(arguments)
    token = os.environ.get("PROBE_TOKEN", "")
    wrong = _wrong_use(options.server, options.location, token)
    if wrong:
        print(f"probe: {wrong}", file=sys.stderr)
        return EXIT_WRONG_USE
    folder = Path(os.environ.get("DATA_DIR") or "./var")
    path = options.buffer or folder / f"probe-{options.location}.sqlite3"
    try:
        buffer = Buffer(path)
    except (OSError, sqlite3.Error) as error:
        print(f"probe: the buffer {path} cannot be opened: {error}", file=sys.stderr)
        return 1
    try:
        gc.set_threshold(GARBAGE_AFTER_OBJECTS)
        return asyncio.run(_serve(options, token, buffer))
    except KeyboardInterrupt:
        return 0
    finally:
        buffer.close()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="probe",
        description="Probe from one location. The token is read from PROBE_TOKEN.",
        epilog="Example: PROBE_TOKEN=… ./run probe --server https://status.example.org"
        " --location fra",
    )
    parser.add_argument("--server", required=True, help="where the status page runs")
    parser.add_argument("--location", required=True, help="this location's name")
    parser.add_argument("--buffer", type=Path, help="file for results that wait (DATA_DIR)")
    parser.add_argument("--once", action="store_true", help="run every check once and end")
    return parser.parse_args(arguments)


def _wrong_use(server: str, location: str, token: str) -> str:
    if not token:
        return "PROBE_TOKEN is not set; `./run manage create_location NAME` prints one"
    if urlsplit(server).scheme not in ("http", "https") or not urlsplit(server).hostname:
        return f"--server is {server!r}; expected a URL as https://status.example.org"
    if not location.replace("-", "").replace("_", "").isalnum():
        return f"--location is {location!r}; expected letters, digits, - and _"
    return ""


async def _serve(options: argparse.Namespace, token: str, buffer: Buffer) -> int:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(options.server, options.location, token)
    agent = Agent(
        server=server,
        location=options.location,
        buffer=buffer,
        environ=_environ_for_checks(),
    )
    try:
        await (agent.once() if options.once else agent.run(stop))
    except (ServerAway, ServerRefused) as error:
        print(f"probe {options.location}: {options.server}: {error}", file=sys.stderr)
        return 1
    finally:
        await server.close()
    return 0


def _environ_for_checks() -> dict[str, str]:
    """Return what `${NAME}` may stand for: everything but our own token."""
    return {name: value for name, value in os.environ.items() if name != "PROBE_TOKEN"}


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A thread that still waits for a name server would hold up the exit for many seconds.
    os._exit(code)
