"""Kind `alert`: the prober is a follower's device; what is to be told has to reach it.

A low reading that was written has to arrive as an alert; a reading that is followed by nothing
has to arrive as "no data". Which of the two follows from `value`, `match` and `wait_s`.
"""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from probes.conditions import amount, find, instant
from probes.facts import StepObservation
from probes.kinds import (
    BadSpec,
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    Strict,
    Watch,
    read_options,
)
from probes.kinds.http import seen_on
from probes.options import JmesPath
from probes.steps import Steps, problems_of
from probes.values import Values
from probes.walk import Walk
from probes.web import Client

STEP: Final = "alert arrives"
# detection.md 2.3, rule D: three minutes of grace.
WAIT_S: Final = 180.0
# A sensor that is silent is told of after 15 to 30 minutes.
WAIT_S_MAX: Final = 3600.0
# Below 70 mg/dL is low.
LOW_VALUE: Final = 55
ALERT_BYTES_MAX: Final = 64 * 1024
ALERTS_HEARD_MAX: Final = 100
DEVICE_BYTES: Final = 20
MATCH_MAX: Final = 10
# Between two that were written, so that their times differ on every wire.
GIVEN: Final = ("alert_value", "alert_time", "alert_ms", "device_url")
# What was asked for a second time would be another alert; a missed one is judged by itself.
RULE: Final[Mapping[str, Any]] = {"retry_after_s": 0}  # Any: as in `verdict:`.


class Device(Strict):
    """Where this prober listens, and how the service reaches it there."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    # As seen by the service; http://HOST:PORT when it is the same.
    url: Annotated[str, Field(pattern=r"^https?://[^/]+", max_length=500)] | None = None


class Options(Strict):
    """All of a check of this kind."""

    component: Annotated[str, Field(min_length=1)]
    device: Device = Device()
    # They register {device_url} and write {alert_value} at {alert_time} or {alert_ms}.
    steps: Steps
    # Paths in the alert and what has to stand there; the marks may be used.
    match: Annotated[dict[JmesPath, Any], Field(min_length=1, max_length=MATCH_MAX)]
    value: int = LOW_VALUE
    wait_s: Annotated[float, Field(gt=0, le=WAIT_S_MAX)] = WAIT_S
    degraded_over_s: Annotated[float, Field(gt=0)] | None = None
    allow_private: bool = False


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the steps with their components; raise BadSpec when the check is wrong."""
    options = read_options(Options, spec)
    if problems := problems_of(options.steps, options.component, known=GIVEN, named={STEP}):
        raise BadSpec(tuple(problems))
    own = [Watch(step.name, step.component or options.component) for step in options.steps]
    return (*own, Watch(STEP, options.component))


def patience_s(spec: Mapping[str, Any]) -> float:
    """Return two waits: a run tells after its own, and its word has to last until the next tells."""
    return 2 * read_options(Options, spec).wait_s


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Write what has to be told, and wait until it is."""
    try:
        client, options = _client(check, memory)
        listener = await _listener(options.device, memory)
    except BadSpec as error:
        return Observation(Outcome.PROBER_FAULT, (), f"the check cannot be run: {error}")
    except OSError:
        where = f"{options.device.host}:{options.device.port}"
        return Observation(Outcome.PROBER_FAULT, (), f"this prober cannot listen on {where}")
    at_ms = int(now.timestamp() * 1000)
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    given: dict[str, str | int] = {
        "alert_value": options.value,
        "alert_time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "alert_ms": at_ms,
        "device_url": listener.url(options.device),
    }
    values = Values(memory.environ, given)
    # The path of the device is what keeps strangers from ringing.
    values.secrets.add(listener.word)
    walk = Walk(client, values, memory, now, timeout_s)
    if await walk.along(options.steps, options.component):
        wanted = {path: values.fill_json(each) for path, each in options.match.items()}
        walk.steps.append(await _awaited(listener, wanted, options))
    return seen_on(walk)


def _client(check: CheckSpec, memory: Memory) -> tuple[Client, Options]:
    if "options" not in memory.kept:
        options = read_options(Options, check.spec)
        client = Client(allow_private=options.allow_private)
        memory.keep("client", client, client.session.close)
        memory.kept["options"] = options
    return memory.kept["client"], memory.kept["options"]


async def _awaited(
    listener: "Listener", wanted: Mapping[str, Any], options: Options
) -> StepObservation:
    began = time.monotonic()
    try:
        async with asyncio.timeout(options.wait_s):
            await listener.hear(wanted)
    except TimeoutError:
        words = f"no alert reached the device within {amount(options.wait_s)} s"
        return StepObservation(
            STEP, options.component, Outcome.TARGET_FAIL, words, failed=("arrives",), shape="F17"
        )
    took_s = time.monotonic() - began
    phases_ms = {"arrival": round(took_s * 1000, 1)}
    slow_s = options.degraded_over_s
    if slow_s is not None and took_s > slow_s:
        words = f"the alert took {amount(took_s)} s, allowed {amount(slow_s)}"
        return StepObservation(
            STEP,
            options.component,
            Outcome.SLOW,
            words,
            failed=("degraded_over_s",),
            shape="F16",
            phases_ms=phases_ms,
        )
    return StepObservation(STEP, options.component, Outcome.OK, phases_ms=phases_ms)


# ---- the device ---------------------------------------------------------------------------


@dataclass(slots=True)
class Listener:
    """A device on a port of this prober: it hears what is posted to its secret path."""

    runner: web.AppRunner
    word: str
    # Any: JSON of whoever posts.
    heard: deque[Any] = field(default_factory=lambda: deque(maxlen=ALERTS_HEARD_MAX))
    rang: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, device: Device) -> str:
        """Return where the service has to post."""
        host, port = self.runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{(device.url or f'http://{shown}:{port}').rstrip('/')}/alerts/{self.word}"

    async def hear(self, wanted: Mapping[str, Any]) -> None:
        """Wait for an alert that matches; every other one is passed over."""
        while True:
            while self.heard:
                if _matches(self.heard.popleft(), wanted):
                    return
            self.rang.clear()
            await self.rang.wait()

    async def take(self, request: web.Request) -> web.Response:
        """Take one alert."""
        if not secrets.compare_digest(request.match_info["word"].encode(), self.word.encode()):
            return web.json_response({"error": "No such device."}, status=404)
        try:
            self.heard.append(json.loads(await request.text()))
        except (ValueError, RecursionError):
            return web.json_response({"error": "The alert is not JSON."}, status=400)
        self.rang.set()
        return web.json_response({"heard": True})


async def _listener(device: Device, memory: Memory) -> Listener:
    """Return the device of a check, opened once; its address outlives a restart of the prober."""
    if "listener" not in memory.kept:
        word = memory.facts.setdefault("device", secrets.token_urlsafe(DEVICE_BYTES))
        app = web.Application(client_max_size=ALERT_BYTES_MAX)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        listener = Listener(runner, str(word))
        app.router.add_post("/alerts/{word}", listener.take)
        await runner.setup()
        try:
            await web.TCPSite(runner, device.host, device.port).start()
        except OSError:
            await runner.cleanup()
            raise
        memory.keep("listener", listener, runner.cleanup)
    found: Listener = memory.kept["listener"]
    return found


def _matches(alert: Any, wanted: Mapping[str, Any]) -> bool:  # Any: JSON.
    return all(_is(find(path, alert), each) for path, each in wanted.items())


def _is(found: Any, wanted: Any) -> bool:  # Any: JSON.
    """Compare as JSON does; two moments are the same however they are written."""
    if found == wanted and isinstance(found, bool) == isinstance(wanted, bool):
        return True
    if isinstance(wanted, str) and isinstance(found, str | int | float):
        one, other = instant(found), instant(wanted)
        return one is not None and one == other
    return False
