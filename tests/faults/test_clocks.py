"""R13, R25, R26: clocks that are wrong, doubled or dead."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from incidents import services
from incidents.models import Incident, Update
from notifications.models import Broadcast
from tests.faults import history
from tests.faults.checker import Rules, Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House
from tests.world import MAJOR, component, page

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 500}
HOUR_S = 3600
DEAD_S = 4.0
AT_ONCE = 4  # incidents of one moment, for two clocks to stumble over


def moved(house: House, *, clock_s: int, worker_s: int) -> Verdict:
    """The clock's and the worker's hosts have the wrong time; the mail server puts people off for a while."""
    house.start_line("clock", clock_s=clock_s)
    house.start("worker-email", clock_s=worker_s)
    house.mailbox.put_faults({"shape": "451", "ratio": 0.2})
    house.declare()
    time.sleep(2)
    house.mailbox.put_faults({})
    house.await_settled()
    return judge(history.of(house), Rules(clocks_agree=False))


def doubled(house: House) -> Verdict:
    """Two clocks look at the same entries, and each waits before it writes."""
    house.start("clock", ready=False, slow={"notifications.Broadcast": 0.3})
    house.start("clock", name="second clock", slow={"notifications.Broadcast": 0.3})
    house.start("worker-email")
    for number in range(AT_ONCE):
        house.declare(name=f"Trouble {number}")
    house.await_settled()
    verdict = judge(history.of(house))
    if (opened := Broadcast.objects.filter(incident__isnull=False).count()) != AT_ONCE:
        verdict.broken.append(f"R25 {opened} broadcasts of {AT_ONCE} updates")
    return verdict


def dead(house: House) -> Verdict:
    """What falls due while no clock runs is done by the next one."""
    house.start_line("clock", "worker-email")
    now = datetime.now(UTC)
    draft = services.declare(
        page=page(), name="Goes out by itself", body="We are looking.", published=False, actor="probes",
        components={component(): MAJOR}, publish_at=now + timedelta(seconds=DEAD_S / 2), now=now,
    )  # fmt: skip
    house.of("clock").kill()
    time.sleep(DEAD_S)
    assert Incident.objects.get(pk=draft.pk).published_at is None, "published without a clock"
    house.start_again(house.of("clock"))
    house.await_settled()
    verdict = judge(history.of(house))
    if Update.objects.filter(published_at__isnull=False).count() != 1:
        verdict.broken.append("R26 the draft was not published once")
    return verdict


@pytest.mark.parametrize(
    ("clock_s", "worker_s"),
    [
        pytest.param(HOUR_S, -HOUR_S, id="clock an hour ahead, worker an hour behind"),
        pytest.param(-HOUR_S, HOUR_S, id="clock an hour behind, worker an hour ahead"),
    ],
)
def test_a_wrong_clock_delays_and_doubles_nothing(
    open_house: Open, report: Report, clock_s: int, worker_s: int
) -> None:
    report(moved(open_house(PEOPLE), clock_s=clock_s, worker_s=worker_s))


def test_two_clocks_open_every_entry_once(open_house: Open, report: Report) -> None:
    report(doubled(open_house(PEOPLE)))


def test_what_fell_due_without_a_clock_is_done_by_the_next(
    open_house: Open, report: Report
) -> None:
    report(dead(open_house(PEOPLE)))
