"""A push in a real browser: shown by the service worker, and confirmed by its having come."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from playwright.sync_api import CDPSession, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from incidents import reads
from notifications import sending
from notifications.channels import webpush
from notifications.messages import LetterKind as Kind
from notifications.messages import letter_notice
from notifications.models import Delivery, DeliveryState
from subscribers import services
from subscribers.models import LetterKind, State
from tests import world
from tests.notifications.test_channels import notice
from tests.notifications.test_hooks import Browser
from tests.notifications.test_outbox import queue

WAIT_MS = 10_000
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
SHOWN = """async () => {
  const worker = await navigator.serviceWorker.getRegistration('/push/');
  const shown = await worker.getNotifications();
  return shown.map((one) => ({title: one.title, body: one.body, url: one.data.url}));
}"""


class Phone:
    """Chromium with our service worker; pushes are handed to it as the push service would."""

    def __init__(self, page: Page, cdp: CDPSession, registration: str) -> None:
        self.page = page
        self._cdp = cdp
        self._registration = registration

    def push(self, said: dict[str, Any]) -> None:
        origin = self.page.evaluate("location.origin")
        self._cdp.send(
            "ServiceWorker.deliverPushMessage",
            {
                "origin": origin,
                "registrationId": self._registration,
                "data": json.dumps(said),
            },
        )

    def shown(self, count: int) -> list[dict[str, str]]:
        """Return the notifications, once there are `count`."""
        self.page.wait_for_function(
            f"async () => (await ({SHOWN})()).length === {count}", timeout=WAIT_MS
        )
        found: list[dict[str, str]] = self.page.evaluate(SHOWN)
        return found


@pytest.fixture
def phone(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(base_url=live_server.url, permissions=["notifications"])
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto("/subscribe")
        cdp = context.new_cdp_session(page)
        seen: list[str] = []
        cdp.on(
            "ServiceWorker.workerRegistrationUpdated",
            lambda said: seen.extend(row["registrationId"] for row in said["registrations"]),
        )
        cdp.send("ServiceWorker.enable")
        page.evaluate(
            """async () => {
              const made = await navigator.serviceWorker.register('/push/worker.js');
              const worker = made.installing || made.waiting || made.active;
              await new Promise((done) => worker.state === 'activated' ? done() :
                worker.addEventListener('statechange', () => worker.state === 'activated' && done()));
            }"""
        )
        yield Phone(page, cdp, seen[-1])
        connections.close_all()
        browser.close()


def test_a_push_is_shown_and_a_newer_one_takes_its_place(phone: Phone) -> None:
    phone.push(webpush.message(notice()))
    assert phone.shown(1) == [
        {
            "title": "Follow is down: check the wearer's own device",
            "body": "Check the wearer's own device.",
            "url": "https://status.example.org/incidents/abc123",
        }
    ]

    phone.push(webpush.message(notice(sequence=2, subject="Resolved: Follow is down")))
    phone.page.wait_for_function(
        f"async () => (await ({SHOWN})())[0].title.startsWith('Resolved')", timeout=WAIT_MS
    )
    assert len(phone.shown(1)) == 1


def test_the_first_push_confirms_because_it_came(phone: Phone, live_server: LiveServer) -> None:
    row = world.person("webpush", Browser("https://push.example/1").address, state=State.PENDING)
    letter = services.write_letter(row, kind=LetterKind.CONFIRM, now=world.NOW)
    assert letter is not None
    link = services.letter_url(letter).replace(settings.SITE_URL, live_server.url)
    asks = letter_notice(
        reads.page_fact(world.page()),
        kind=Kind.CONFIRM,
        written_at=world.NOW,
        language="en",
        link=link,
    )

    with phone.page.context.expect_event(
        "response", lambda answer: "/confirm/" in answer.url, timeout=WAIT_MS
    ):
        phone.push(webpush.message(asks))
    phone.shown(1)

    row.refresh_from_db()
    assert row.state == State.ACTIVE


PRESS = """async () => {
  const [one] = await self.registration.getNotifications();
  const press = new NotificationEvent('notificationclick', {notification: one, action: one.actions[0].action});
  self.dispatchEvent(press);
}"""


def test_who_must_answer_finds_a_button_whose_press_says_heard(
    phone: Phone, live_server: LiveServer
) -> None:
    """The worker is handed the event that a press is: Chromium's tools press no notification's button."""
    world.person("webpush", Browser("https://push.example/1").address)
    queue(world.incident(world.component()))
    delivery = Delivery.objects.select_related("broadcast", "subscription").get(channel="webpush")
    Delivery.objects.update(state=DeliveryState.ACCEPTED, accepted_at=world.NOW)
    link = sending.recipient(delivery, delivery.broadcast, social=False, asks=True).heard_url
    phone.push(webpush.message(notice(), link.replace(settings.SITE_URL, live_server.url)))
    phone.shown(1)

    with phone.page.context.expect_event(
        "response", lambda answer: "/receipts/heard/" in answer.url, timeout=WAIT_MS
    ):
        phone.page.context.service_workers[0].evaluate(PRESS)

    delivery.refresh_from_db()
    assert delivery.state == "acknowledged"


def test_the_button_is_there_where_a_browser_can_be_notified(phone: Phone) -> None:
    assert phone.page.is_visible("#push button")
    key = phone.page.get_attribute("#push", "data-key") or ""

    # 65 bytes: what a browser takes as applicationServerKey.
    assert len(key) == 87
