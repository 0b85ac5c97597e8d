"""The command: `python -m probes.agent --server URL --location NAME`."""

import argparse
import asyncio
import gc
import os
import re
import signal
import sqlite3
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from probes.agent.buffer import Buffer
from probes.agent.prober import Agent
from probes.agent.server import Server, ServerAway, ServerRefused

# Resolving blocks a thread for as long as a name server hangs.
RESOLVER_THREADS: Final = 64
# Requests under way are thousands of objects that are no garbage. Python's usual 700 looks through
# them and through those of all checks again and again: a quarter of the pace, measured in November 2026.
GARBAGE_AFTER_OBJECTS: Final = 50_000

EXIT_WRONG_USE: Final = 2
OWN: Final = re.compile(
    r"PROBE_TOKEN|PROBE_ALARM_URL|SECRET_KEY|FIELD_KEYS|DATABASE_URL|REDIS_URL|CELERY_BROKER_URL"
    r"|EMAIL_URL|EMAIL_FALLBACK_URL|EMAIL_WEBHOOK_SECRET|BOUNCE_MAILBOX_URL|HEARTBEAT_URL|SENTRY_DSN"
    r"|PUBLISH_MIRRORS|OIDC_CLIENT_SECRET|STATUSPAGE_KEY|PGPASSWORD|POSTGRES_PASSWORD|TLS_KEY|OTEL_[A-Z_]+"
    r"|VAPID_PRIVATE_KEY|TWILIO_[A-Z_]+|X_(?:CONSUMER|ACCESS)_[A-Z_]+|FACEBOOK_[A-Z_]+|AWS_[A-Z_]+"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the prober; return the exit code."""
    options = _options(arguments)
    token = os.environ.get("PROBE_TOKEN", "")
    alarm_url = os.environ.get("PROBE_ALARM_URL", "")
    wrong = _wrong_use(options.server, options.location, token, alarm_url)
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
    gc.set_threshold(GARBAGE_AFTER_OBJECTS)
    try:
        return asyncio.run(_serve(options, token, alarm_url, buffer))
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


def _wrong_use(server: str, location: str, token: str, alarm_url: str) -> str:
    if not token:
        return "PROBE_TOKEN is not set; `./run manage create_location NAME` prints one"
    if not _is_address(server):
        return f"--server is {server!r}; expected a URL as https://status.example.org"
    if alarm_url and not _is_address(alarm_url):
        return "PROBE_ALARM_URL is no address; expected a URL as https://ntfy.example.org/topic"
    if not location.replace("-", "").replace("_", "").isalnum():
        return f"--location is {location!r}; expected letters, digits, - and _"
    return ""


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


async def _serve(options: argparse.Namespace, token: str, alarm_url: str, buffer: Buffer) -> int:
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
        alarm_url=alarm_url,
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
    """Return what `${NAME}` may stand for: nothing that opens the product's own doors.

    The prober of `./run serve` has the server's environment; whoever may write a check must not
    be able to send its keys somewhere.
    """
    return {name: value for name, value in os.environ.items() if not OWN.fullmatch(name)}


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A thread that still waits for a name server would hold up the exit for many seconds.
    os._exit(code)
