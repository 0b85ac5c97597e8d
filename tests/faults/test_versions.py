"""R28: in the middle of a deploy, old and new processes meet each other's messages and rows."""

import pytest
from kombu import Connection, Exchange, Producer

from notifications.models import Broadcast
from statuspage.settings import ENVIRON
from tests.faults import history
from tests.faults.checker import Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 500}
QUEUE = "send.email"


def met_by_strangers(house: House) -> Verdict:
    """Tasks of another version, and rows with words that this one does not know or misses some of."""
    house.start("clock", slow={"notifications.Broadcast": 0.3})
    house.start("worker-email")
    with Connection(house.env["REDIS_URL"].replace("unix://", "redis+socket://", 1)) as broker:
        producer = Producer(broker, exchange=Exchange(QUEUE), routing_key=QUEUE)
        for task, arguments in (
            ("notifications.send_later", ["email"]),  # a task of the next version
            ("notifications.send", ["email", {"batch": 7}]),  # an argument more
            ("notifications.send", []),  # one less
            ("notifications.send", ["pigeon"]),  # a channel that is gone
        ):
            producer.publish(
                [arguments, {}, {}],
                serializer="json",
                headers={"task": task, "id": f"{task}{len(arguments)}", "lang": "py"},
            )
    house.declare(name="From another version")
    house.declare(name="From this one")
    until(lambda: Broadcast.objects.count() == 2, "two broadcasts")
    house.await_settled()
    house.of("clock").kill()
    other = house.declare(name="Planned by another version")
    _as_planned_elsewhere(other.uid)
    house.declare(name="Behind it")
    house.start_again(house.of("clock"), ready=False)
    house.await_settled()
    return judge(history.of(house))


def _as_planned_elsewhere(uid: str) -> None:
    from incidents.models import Incident

    incident = Incident.objects.get(uid=uid)
    Broadcast.objects.create(
        update_entry=incident.updates.get(), incident=incident, number=1,
        plan=[{"channel": "email", "urgent": True, "components": [], "digest": False}],
    )  # fmt: skip


def test_old_and_new_get_on_with_each_other(open_house: Open, report: Report) -> None:
    assert ENVIRON.broker_url
    report(met_by_strangers(open_house(PEOPLE)))
