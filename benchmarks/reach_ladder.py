"""Ten thousand people on the ladder of one incident at ten calls a second: order, doubles, memory, the clock's tick.

Simulated seconds through the real rows, claims and outcomes on a PostgreSQL of its own; the line is a telephone network that
answers after twenty simulated seconds. Prints one JSON object.
"""

import json
import statistics
import sys
import time
from collections import defaultdict, deque
from datetime import UTC, datetime, timedelta
from typing import Any

PEOPLE = 10_000
PER_S = 10
SECONDS = 600
RINGS_S = 20
AGAIN_MAX_S = 180


def run(
    people: int = PEOPLE, seconds: int = SECONDS
) -> dict[str, Any]:  # Any: figures of several types
    """Return what was seen in the first ten minutes."""
    import django

    import tests.servers  # noqa: F401  # starts PostgreSQL and Valkey, and says so in the environment

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    settings.ENVIRON.raw["TWILIO_CALLS_PER_S"] = str(PER_S)
    return _Street(people).play(seconds)


class _Street:
    """The people, and the telephone network."""

    def __init__(self, people: int) -> None:
        # Within the day in which an entry is valid, and in the past by the database's own clock.
        self._began = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
        self._calls: defaultdict[int, list[tuple[int, int | None]]] = defaultdict(
            list
        )  # begun, ended
        self._under_way: deque[tuple[int, int]] = deque()  # ends at, delivery
        self._ticks_ms: list[float] = []
        self._rss: list[float] = []
        self._late_first = 0
        self._fill(people)

    def play(self, seconds: int) -> dict[str, Any]:
        import psutil

        from notifications import waking

        for second in range(1, seconds + 1):
            now = self._began + timedelta(seconds=second)
            self._hang_up(second, now)
            started = time.perf_counter()
            waking.climb(now)
            self._ticks_ms.append((time.perf_counter() - started) * 1000)
            self._dial(second, now)
            if second % 10 == 0:
                self._rss.append(psutil.Process().memory_info().rss / 1e6)
        return self._figures(seconds)

    def _fill(self, people: int) -> None:
        from django.conf import settings

        from incidents import reads, services
        from incidents.lifecycle import ComponentStatus
        from notifications import outbox
        from subscribers import addresses
        from subscribers.models import State, Subscriber, Subscription

        persons = Subscriber.objects.bulk_create(
            [Subscriber() for _ in range(people)], batch_size=1000
        )
        Subscription.objects.bulk_create(
            [
                Subscription(
                    subscriber=person, channel="voice", state=State.ACTIVE, wake_me=True, confirmed_at=self._began,
                    address_sealed=addresses.seal(f"+1212{number:07d}", settings.FIELD_KEYS),
                    address_hash=addresses.address_hash("phone", f"+1212{number:07d}", settings.SECRET_KEY),
                )
                for number, person in enumerate(persons)
            ],
            batch_size=1000,
        )  # fmt: skip
        follow = services.add_component(
            page=reads.the_page(),
            slug="follow",
            name="Follow",
            actor="bench",
            now=self._began,
            critical=True,
        )
        incident = services.declare(
            page=reads.the_page(), name="Followers may not receive readings", body="We are looking.", actor="bench",
            now=self._began, components={follow: ComponentStatus.MAJOR_OUTAGE},
        )  # fmt: skip
        services.mark_shown(list(incident.updates.values_list("pk", flat=True)), now=self._began)
        outbox.open_entries(self._began)
        while outbox.fan_out(self._began) or outbox.has_more():
            pass

    def _dial(self, second: int, now: datetime) -> None:
        """Make what is due, as many as the account may begin in a second, through claim, admit and settle."""
        from notifications import channels, outbox
        from notifications.outbox import Settlement

        left = PER_S
        while left > 0 and (claimed := outbox.claim("voice", rows=left)):
            left -= len(claimed.ids)
            due = outbox.admit(claimed, claimed.ids)
            outcomes = [Settlement(one, channels.accepted(f"CA{one.pk}"), now) for one in due]
            outbox.settle(outcomes, lease=claimed.lease, provider="twilio", critical=True)
            for one in due:
                self._calls[one.pk].append((second, None))
                self._under_way.append((second + RINGS_S, one.pk))

    def _hang_up(self, second: int, now: datetime) -> None:
        """Of ten people five answer the first call, three the second, two none."""
        from notifications import hearing, waking
        from notifications.hearing import Said
        from notifications.models import Delivery

        while self._under_way and self._under_way[0][0] <= second:
            _, pk = self._under_way.popleft()
            calls = self._calls[pk]
            calls[-1] = (calls[-1][0], second)
            if pk % 10 < (5, 8, 8, 8)[len(calls) - 1]:
                delivery = Delivery.objects.select_related("broadcast__letter", "subscription").get(
                    pk=pk
                )
                hearing.heard(delivery, by="key", now=now)
                waking.rang(pk, outcome="completed", now=now)
            else:
                hearing.note(Delivery.objects.filter(pk=pk), Said.FAILED, now=now)
                waking.rang(pk, outcome="no-answer", now=now)

    def _figures(self, seconds: int) -> dict[str, Any]:
        doubled = sum(
            any(
                later[0] < (earlier[1] or seconds + RINGS_S)
                for earlier, later in zip(calls, calls[1:], strict=False)
            )
            for calls in self._calls.values()
        )
        again_s = [calls[1][0] - calls[0][0] for calls in self._calls.values() if len(calls) > 1]
        firsts = [calls[0][0] for _, calls in sorted(self._calls.items())]
        ticks = sorted(self._ticks_ms)
        return {
            "people": PEOPLE,
            "seconds": seconds,
            "calls": sum(map(len, self._calls.values())),
            "called_again": len(again_s),
            "again_longest_s": max(again_s, default=0),
            "out_of_order": sum(
                one > other for one, other in zip(firsts, firsts[1:], strict=False)
            ),
            "doubled": doubled,
            "tick_p50_ms": round(statistics.median(ticks), 1),
            "tick_p99_ms": round(ticks[int(len(ticks) * 0.99) - 1], 1),
            "tick_longest_ms": round(ticks[-1], 1),
            "rss_first_mb": round(self._rss[5], 1),
            "rss_last_mb": round(self._rss[-1], 1),
        }


def main() -> int:
    print(json.dumps(run(seconds=int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
