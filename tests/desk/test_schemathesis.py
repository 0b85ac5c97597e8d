"""Calls that nobody thought of, made of our own description; and rows of them, each made of the last one's answer."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies import booleans
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode

from desk import keys
from desk.api.v1 import api
from desk.models import ApiKey
from incidents import metrics, postmortems, services
from incidents.lifecycle import Status
from incidents.models import Component, Group
from subscribers import following
from tests import world

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
# There are rules that no schema can say: an incident needs a name when it is made, a window ends after it began.
# Unknown parameters are ignored, as Statuspage does. Keys are tried below, on every call, by hand.
LEFT_OUT = (
    "positive_data_acceptance", "negative_data_rejection", "max_response_time", "ignored_auth",
)  # fmt: skip
load_all_checks()
EVERY_CHECK = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT]
# How many ways each call is made in; `./run accept doors` tries more.
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "8"))
FRUGAL = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)  # fmt: skip


class There:
    """Something of everything, so that what is asked for can be found."""

    def __init__(self) -> None:
        page, now = world.page(), world.NOW
        login, follow = world.component("login"), world.component("follow")
        group = Group.objects.create(page=page, name="App")
        Component.objects.filter(pk=login.pk).update(group=group)
        over = world.incident(login)
        update = services.publish_update(
            over, status=Status.RESOLVED, body="Over.", actor="ann", now=now
        )
        postmortems.draft(over, body="What happened.", actor="ann", now=now)
        metric = metrics.add(page, fields={"name": "Delay"}, actor="ann", now=now)
        follower = following.follow(
            over, channel="email", address="a@family.example", confirmed=True, source="x", now=now
        )
        assert follower
        world.incident(follow)
        self.ids = {
            "page_id": page.uid, "component_id": follow.uid, "group_id": group.uid, "incident_id": over.uid,
            "update_id": update.uid, "metric_id": metric.uid, "subscriber_id": world.person().uid,
        }  # fmt: skip
        self.follower = follower.uid

    def aim(self, case: Any, *, only: str = "") -> None:
        """Put ids that are there where the case made some up."""
        for name in case.path_parameters or ():
            if not only or name == only:
                case.path_parameters[name] = self.of(case.path)[name]

    def of(self, path: str) -> dict[str, str]:
        """Return the ids for this path: who follows one incident is no subscriber of the page."""
        return self.ids | ({"subscriber_id": self.follower} if "/incidents/" in path else {})


@pytest.fixture
def there(db: None) -> There:
    return There()


@pytest.fixture
def opened(db: None) -> dict[str, str]:
    """A key that no limit stops."""
    key = keys.create(name="stranger", scopes=[], now=timezone.now())
    ApiKey.objects.update(requests_per_minute=1_000_000)
    return {"Authorization": f"OAuth {key}"}


CALLS = [
    f"{method.upper()} {path}"
    for path, methods in api.get_openapi_schema()["paths"].items()
    for method in methods
]


@pytest.fixture
def schema(opened: dict[str, str]) -> Iterator[Any]:  # Any: schemathesis's own
    """The description as it is served, and the application behind it in this thread and its transaction."""
    signals = (request_started, request_finished)
    for signal in signals:  # as Django's own test client does
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/v1/openapi.json", get_wsgi_application())
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.parametrize("call", CALLS)
def test_no_single_call_breaks_what_is_described(
    schema: Any, opened: dict[str, str], there: There, call: str
) -> None:
    method, _, path = call.partition(" ")
    operation = schema[path][method]
    right, wrong = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    answered: Counter[int] = Counter()

    @FRUGAL
    @given(case=right | wrong, aimed=booleans())
    def any_way(case: Any, aimed: bool) -> None:
        there.aim(case, only="" if aimed else "page_id")
        answered[case.call_and_validate(headers=opened, checks=EVERY_CHECK).status_code] += 1

    any_way()
    assert sum(answered.values()) > 1
    if method == "GET":
        assert answered[200], answered


@pytest.mark.parametrize("call", CALLS)
def test_no_call_is_answered_without_a_key(db: None, there: There, call: str) -> None:
    method, _, path = call.partition(" ")
    for key in ("", "OAuth wrong", "Bearer wrong"):
        answer = Client().generic(
            method, path.format(**there.of(path)), "{}", "application/json", headers={"Authorization": key}
        )  # fmt: skip
        assert (answer.status_code, answer.json()["message"]) == (401, "Could not authenticate")


def test_no_row_of_calls_breaks_what_is_described(
    schema: Any, opened: dict[str, str], there: There
) -> None:
    answered: Counter[tuple[str, int]] = Counter()

    class Row(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        def before_call(self, case: Any) -> None:
            there.aim(case, only="page_id")

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": opened}

        def validate_response(self, response: Any, case: Any, **words: Any) -> None:
            answered[case.operation.label, response.status_code] += 1
            case.validate_response(response, checks=EVERY_CHECK, recorder=self.recorder)

    steps = settings(FRUGAL, max_examples=EXAMPLES * 2, stateful_step_count=20)
    run_state_machine_as_test(Row, settings=steps)
    done = {call for call, status in answered if status < 400}
    assert len(done) >= len(CALLS) // 4, set(CALLS) - done
