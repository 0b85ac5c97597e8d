"""A family of four through four nights, on a simulated clock: the real ladder, line, channels and receipts, stand-ins for Twilio.

Run alone it prints who was told, when, by what; exit 0 only if every row is as it must be.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from zoneinfo import ZoneInfo

import time_machine

from demo import providers as stand_ins
from demo.credentials import Credentials
from demo.pages import ask

if TYPE_CHECKING:
    from incidents.models import Incident
    from subscribers.models import Subscription

NEW_YORK = ZoneInfo("America/New_York")
STEP = timedelta(seconds=5)
IDLE_S = 20.0  # until the stand-in has said the last word of everything
FINAL = ("delivered", "undelivered", "failed", "completed", "busy", "no-answer")
Rows = dict[tuple[str, str], list[str]]


@dataclass(frozen=True, slots=True)
class Night:
    """When the outage begins and ends, and until when the aunt, the further contact, wants quiet."""

    name: str
    begins: str
    lasts_s: int
    quiet: tuple[clock_time, clock_time] | None = None


NIGHTS = (  # in order: a clock that goes back a month would be a restored backup
    Night("an ordinary night", "2026-01-14T06:00:00+00:00", 30 * 60),
    Night("over in ninety seconds", "2026-01-15T06:00:00+00:00", 90),
    Night("the hour left out", "2026-03-08T06:50:00+00:00", 60 * 60, (clock_time(22), clock_time(2, 30))),
    Night("the hour that comes twice", "2026-11-01T05:55:00+00:00", 60 * 60, (clock_time(23), clock_time(1, 30))),
)  # fmt: skip
ASLEEP, SECOND, MAIL, STOPPER, AUNT = (
    "asleep",
    "answers the second call",
    "bounced e-mail",
    "STOP, then the contact",
    "the contact",
)
# What the rules say, in New York's time: docs/decisions.md, "The ladder".
EXPECTED: Rows = {
    ("an ordinary night", ASLEEP): ["01:00:00 EST text", "01:02:00 EST call", "01:02:05 EST call", "01:17:05 EST call", "01:17:10 EST call", "01:30:00 EST text: over"],
    ("an ordinary night", SECOND): ["01:00:00 EST text", "01:02:00 EST call", "01:02:05 EST call, key 1", "01:30:00 EST call, key 1", "01:30:00 EST text: over"],
    ("an ordinary night", MAIL): ["01:00:00 EST mail", "01:00:05 EST text", "01:30:00 EST text: over"],
    ("an ordinary night", STOPPER): ["01:00:00 EST text", "01:02:00 EST call"],
    ("an ordinary night", AUNT): ["01:02:05 EST call, key 1", "01:30:00 EST call, key 1"],
    ("over in ninety seconds", ASLEEP): ["01:00:00 EST text", "01:01:30 EST text: over"],
    ("over in ninety seconds", SECOND): ["01:00:00 EST text", "01:01:30 EST text: over"],
    ("over in ninety seconds", MAIL): ["01:00:00 EST mail", "01:00:05 EST text", "01:01:30 EST text: over"],
    ("over in ninety seconds", STOPPER): ["01:00:00 EST text", "01:01:30 EST text: over"],
    ("over in ninety seconds", AUNT): [],
    ("the hour left out", ASLEEP): ["01:50:00 EST text", "01:52:00 EST call", "01:52:05 EST call", "03:07:05 EDT call", "03:07:10 EDT call", "03:50:00 EDT text: over"],
    ("the hour left out", SECOND): ["01:50:00 EST text", "01:52:00 EST call", "01:52:05 EST call, key 1", "03:50:00 EDT call, key 1", "03:50:00 EDT text: over"],
    ("the hour left out", MAIL): ["01:50:00 EST mail", "01:50:05 EST text", "03:50:00 EDT text: over"],
    ("the hour left out", STOPPER): ["01:50:00 EST text", "01:52:00 EST call"],
    # Her quiet hours end at half past two, which does not come: as much after the gap.
    ("the hour left out", AUNT): ["03:30:00 EDT call, key 1", "03:50:00 EDT call, key 1"],
    ("the hour that comes twice", ASLEEP): ["01:55:00 EDT text", "01:57:00 EDT call", "01:57:05 EDT call", "01:12:05 EST call", "01:12:10 EST call", "01:55:00 EST text: over"],
    ("the hour that comes twice", SECOND): ["01:55:00 EDT text", "01:57:00 EDT call", "01:57:05 EDT call, key 1", "01:55:00 EST call, key 1", "01:55:00 EST text: over"],
    ("the hour that comes twice", MAIL): ["01:55:00 EDT mail", "01:55:05 EDT text", "01:55:00 EST text: over"],
    ("the hour that comes twice", STOPPER): ["01:55:00 EDT text", "01:57:00 EDT call"],
    # Hers end at half past one, when it comes the second time.
    ("the hour that comes twice", AUNT): ["01:30:00 EST call, key 1", "01:55:00 EST call, key 1"],
}  # fmt: skip


@dataclass(slots=True)
class Family:
    """Who lives there tonight: name -> what they can be reached by."""

    numbers: dict[str, str] = field(default_factory=dict)
    mails: list[tuple[datetime, str]] = field(default_factory=list)


def play() -> Rows:
    """Return (night, person) -> what reached them, in order."""
    found: Rows = {}
    with ExitStack() as stack:
        port = stack.enter_context(_house())
        credentials = Credentials.from_environ(os.environ)
        providers = stack.enter_context(
            stand_ins.running(credentials, step_s=0.0, replies_url=f"http://127.0.0.1:{port}/receipts/twilio")
        )  # fmt: skip
        os.environ["TWILIO_API_URL"] = providers.url
        from django.conf import settings

        settings.ENVIRON.raw["TWILIO_API_URL"] = providers.url
        for number, night in enumerate(NIGHTS):
            with time_machine.travel(datetime.fromisoformat(night.begins), tick=False) as clock:
                found |= _Played(night, number, providers, clock, f"http://127.0.0.1:{port}").play()
    return found


class _Played:
    """One night."""

    def __init__(
        self, night: Night, number: int, providers: stand_ins.Providers, clock: Any, site: str
    ) -> None:
        # Any: time_machine's Traveller has no exported type.
        self._night = night
        self._providers = providers
        self._clock = clock
        self._site = site
        self._begins = datetime.fromisoformat(night.begins)
        self._number = number
        self._mails: list[tuple[datetime, str]] = []
        self._bounced: set[int] = set()
        ask("DELETE", f"{providers.url}/ledger")
        self._people = self._cast()

    def play(self) -> Rows:
        incident = self._declare()
        stopped = resolved = looked = False
        while self._since() <= timedelta(seconds=self._night.lasts_s + 120):
            if not resolved and self._since() >= timedelta(seconds=self._night.lasts_s):
                resolved = self._resolve(incident)
            if not stopped and self._rings(STOPPER) == 1 and self._since() >= timedelta(minutes=2):
                stopped = self._reply(STOPPER, "please stop")
            if not looked and self._since() >= timedelta(seconds=20):
                looked = self._preview_a_link(incident)
            self._second()
            self._clock.shift(self._until_something_is_due())
        return self._told()

    def _until_something_is_due(self) -> timedelta:
        """Return the whole steps until the next thing that can happen, so that an empty minute costs nothing."""
        from django.db.models import Min

        from notifications.models import Delivery, DeliveryState, Wake

        now = datetime.now(UTC)
        ahead = {
            self._begins + timedelta(seconds=s)
            for s in (20, 120, self._night.lasts_s, self._night.lasts_s + 125)
        }
        for wake in Wake.objects.filter(ended_at__isnull=True):
            ahead |= {wake.due_at, now + STEP} if wake.due_at <= now else {wake.due_at}
        ahead.add(
            Delivery.objects.filter(state=DeliveryState.PENDING).aggregate(at=Min("due_at"))["at"]
            or now + timedelta(days=1)
        )
        open_ones = Delivery.objects.filter(
            passed_on_at__isnull=True, accepted_at__isnull=False, channel="sms"
        )
        ahead |= {
            at + timedelta(seconds=120)
            for at in open_ones.values_list("accepted_at", flat=True)
            if at
        }
        if Delivery.objects.filter(
            state__in=["bounced", "suppressed"], passed_on_at__isnull=True
        ).exists():
            ahead.add(now + STEP)
        due = min((at for at in ahead if at > now), default=now + STEP)
        return max(1, -(-(due - now) // STEP)) * STEP

    def _since(self) -> timedelta:
        return datetime.now(UTC) - self._begins

    def _second(self) -> None:
        """One pass of the clock and of every worker; then the stand-ins say the last word of what they took."""
        from notifications import outbox, passing, sending, waking

        now = outbox.database_now()
        outbox.open_entries(now)
        outbox.fan_out(now)
        passing.pass_on(now)
        waking.climb(now)
        outbox.sweep_leases()
        sent = sum(sending.drain(channel, seconds=5) for channel in ("sms", "voice"))
        self._send_mails(now)
        if sent:
            self._await_last_words()

    def _send_mails(self, now: datetime) -> None:
        """The mail server takes every mail and sends it back at once: no such user."""
        from django.conf import settings

        from notifications import bounces, channels, mailbox, outbox
        from notifications.outbox import Settlement
        from tests.notifications.test_bounces import SENDER, report

        while claimed := outbox.claim("email", rows=100):
            due = outbox.admit(claimed, claimed.ids)
            outcome = channels.accepted("id")
            outbox.settle(
                [Settlement(one, outcome, now) for one in due],
                lease=claimed.lease,
                provider="smtp",
                critical=True,
            )
            for one in due:
                self._mails.append((now, "mail"))
                raw = report(to=bounces.return_path(SENDER, str(one.pk), settings.SECRET_KEY))
                mailbox.take(raw, now)

    def _await_last_words(self) -> None:
        ends = time.monotonic() + IDLE_S
        while time.monotonic() < ends:
            entries = [one for rows in self._providers.ledger().values() for one in rows]
            if all(_has_ended(one) for one in entries):
                return
            time.sleep(0.005)
        raise AssertionError("the stand-in never said its last word")

    # The cast.

    def _cast(self) -> dict[str, str]:
        names = (ASLEEP, SECOND, MAIL, STOPPER, AUNT)
        numbers = {name: f"+1617555{self._number}{place}00" for place, name in enumerate(names)}
        self._providers.put_phones({
            numbers[ASLEEP]: {"answer": "no"},
            numbers[SECOND]: {"answer": "no,yes"},
            numbers[STOPPER]: {"answer": "no"},
            numbers[AUNT]: {"answer": "yes"},
        })  # fmt: skip
        from subscribers.models import Contact

        follow, login = _component("follow"), _component("login")
        for name in (ASLEEP, SECOND, STOPPER):
            row = _subscription("sms", numbers[name])
            _subscription("voice", numbers[name], of=row, wake_me=True)
        mail = _subscription("email", f"parent{self._number}@family.example", only=follow)
        _subscription("sms", numbers[MAIL], of=mail, only=login, position=1)
        aunt = _subscription("voice", numbers[AUNT], only=login)
        if self._night.quiet:
            person = aunt.subscriber
            person.quiet_from, person.quiet_until = self._night.quiet
            person.time_zone = str(NEW_YORK)
            person.save()
        from subscribers.models import Subscription

        stopper = Subscription.objects.get(channel="voice", address_hash=_hash(numbers[STOPPER]))
        Contact.objects.create(person=stopper.subscriber, subscription=aunt)
        return numbers

    def _declare(self) -> "Incident":
        from incidents import reads, services
        from incidents.lifecycle import ComponentStatus

        incident = services.declare(
            page=reads.the_page(), name=f"Followers may not receive readings {self._number}", body="We are looking.",
            actor="simulated", now=self._begins, components={_component("follow"): ComponentStatus.MAJOR_OUTAGE},
        )  # fmt: skip
        self._show(incident)
        return incident

    def _resolve(self, incident: "Incident") -> bool:
        from incidents import services
        from incidents.lifecycle import Status

        services.publish_update(
            incident,
            status=Status.RESOLVED,
            body="Mended.",
            actor="simulated",
            now=datetime.now(UTC),
        )
        self._show(incident)
        return True

    def _show(self, incident: "Incident") -> None:
        from incidents import services

        services.mark_shown(
            list(incident.updates.values_list("pk", flat=True)), now=datetime.now(UTC)
        )

    # What people do.

    def _rings(self, name: str) -> int:
        return sum(
            one["to"] == self._people[name] for one in self._providers.ledger()["twilio-voice"]
        )

    def _reply(self, name: str, words: str) -> bool:
        said = {
            "from": self._people[name],
            "to": "+15005550006",
            "body": words,
            "url": f"{self._site}/receipts/twilio",
        }
        answered = json.loads(ask("POST", f"{self._providers.url}/inbound", said).text)
        assert answered["answered"] == 200
        return True

    def _preview_a_link(self, incident: "Incident") -> bool:
        """A phone that shows previews opens the link of the one who is asleep: that must not count as heard."""
        from notifications import sending
        from notifications.models import Delivery

        delivery = Delivery.objects.select_related("broadcast", "subscription").get(
            broadcast__incident=incident, broadcast__number=1, channel="sms",
            subscription__address_hash=_hash(self._people[ASLEEP]),
        )  # fmt: skip
        url = sending.recipient(delivery, delivery.broadcast, social=False, asks=True).heard_url
        return ask("GET", url).status == 200

    def _told(self) -> Rows:
        rows: Rows = {}
        ledger = self._providers.ledger()
        for name, number in self._people.items():
            entries = [
                (datetime.fromisoformat(str(one["time"])), _in_words(one))
                for one in ledger["twilio-sms"] + ledger["twilio-voice"]
                if one["to"] == number
            ]
            if name == MAIL:
                entries += self._mails
            entries.sort()
            rows[self._night.name, name] = [
                f"{at.astimezone(NEW_YORK):%H:%M:%S %Z} {what}" for at, what in entries
            ]
        return rows


_OVER = ("resolved", "works again", "over")


def _in_words(entry: dict[str, object]) -> str:
    if entry["provider"] == "twilio-sms":
        over = (
            "resolved" in str(entry["body"]).lower()
            or "works again" in str(entry["body"]).lower()
            or "over" in str(entry["body"]).lower()
        )
        return "text: over" if over else "text"
    return f"call, key {entry['pressed']}" if entry["pressed"] else "call"


def _has_ended(entry: dict[str, Any]) -> bool:  # Any: JSON of a stranger
    if entry["provider"] not in ("twilio-sms", "twilio-voice"):
        return True
    said = entry["callbacks"]
    return entry["status"] in FINAL and bool(said) and said[-1]["status"] == entry["status"]


def _component(slug: str) -> Any:  # Any: a model, which cannot be imported before Django is set up
    from incidents import reads, services
    from incidents.models import Component

    found = Component.objects.filter(slug=slug).first()
    return found or services.add_component(
        page=reads.the_page(), slug=slug, name=slug.capitalize(), actor="simulated", now=datetime.now(UTC), critical=slug == "follow"
    )  # fmt: skip


def _hash(number: str) -> str:
    from django.conf import settings

    from subscribers import addresses

    return addresses.address_hash("phone", number, settings.SECRET_KEY)


def _subscription(
    channel: str, address: str, *, of: "Subscription | None" = None, only: Any = None, wake_me: bool = False, position: int = 0
) -> "Subscription":  # fmt: skip
    """Return a subscription confirmed long ago; `of` gives it the same person."""
    from django.conf import settings

    from subscribers import addresses
    from subscribers.models import State, Subscriber, Subscription

    kind = settings.CHANNELS[channel][1]
    row = Subscription.objects.create(
        subscriber=of.subscriber if of else Subscriber.objects.create(),
        channel=channel,
        address_sealed=addresses.seal(address, settings.FIELD_KEYS),
        address_hash=addresses.address_hash(kind, address, settings.SECRET_KEY),
        state=State.ACTIVE,
        every_component=only is None,
        wake_me=wake_me,
        position=position,
        confirmed_at=datetime.now(UTC),
    )
    if only is not None:
        row.components.add(only)
    return row


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _house() -> Iterator[int]:
    """Set Django up on an SQLite of its own, whose clock is the host's and so can be simulated; serve /receipts; give the port."""
    with (
        tempfile.TemporaryDirectory(prefix="sp-family-") as folder,
        WSGIServer(("127.0.0.1", 0), _Quiet) as free,
    ):
        port = free.server_port
        free.server_close()
        os.environ.update(_environ(Path(folder), port))
        import django

        django.setup()
        from django.core.management import call_command
        from django.core.wsgi import get_wsgi_application

        call_command("migrate", verbosity=0)
        with make_server("127.0.0.1", port, get_wsgi_application(), handler_class=_Quiet) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield port
            server.shutdown()


def _environ(folder: Path, port: int) -> dict[str, str]:
    for name in ("DATABASE_URL", "CELERY_BROKER_URL"):
        os.environ.pop(name, None)
    return {
        "DATA_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "REDIS_URL": f"unix://{folder}/nobody",
        "SITE_URL": f"http://127.0.0.1:{port}",
        "ALLOWED_HOSTS": "127.0.0.1",
        "SECRET_KEY": "only-for-the-simulation",
        "DJANGO_SETTINGS_MODULE": "statuspage.settings",
        "EMAIL_URL": "smtp://127.0.0.1:1",
        "EMAIL_FROM": "Status <status@status.test>",
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "only-for-the-simulation",
        "TWILIO_FROM": "+15005550006",
        "TWILIO_API_URL": "http://127.0.0.1:1",
        "TWILIO_SMS_PER_S": "1000",
        "TWILIO_CALLS_PER_S": "1000",
        "LOG_LEVEL": "ERROR",
    }


def table(rows: Rows) -> str:
    """Return the rows as a table that a person can read; what is not as it must be is marked."""
    lines = []
    for (night, person), told in rows.items():
        mark = " " if told == EXPECTED.get((night, person)) else "!"
        lines.append(f"{mark} {night:<26} {person:<24} {'; '.join(told) or 'nothing'}")
    return "\n".join(lines)


def main() -> int:
    rows = play()
    print(table(rows), flush=True)
    return 0 if rows == EXPECTED else 1


if __name__ == "__main__":
    sys.exit(main())
