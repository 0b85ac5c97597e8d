"""What goes to followers' devices: a low reading, and no reading at all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from demo.accounts import Account
from demo.faults import iso
from demo.gate import Gate
from demo.pages import utc_now
from demo.sensor import Reading, Sensors
from demo.shapes import SLOW_S

LOW_MG_DL = 70
DEVICES_MAX = 100
ALERTS_MAX = 100
ALERT_TIMEOUT_S = 5.0
WATCH_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Device:
    """Where the alerts for one account go: a follower's device."""

    url: str
    account: Account
    low_mg_dl: int = LOW_MG_DL


class Alerts:
    """The devices that are registered, and what was posted to them."""

    def __init__(self, gate: Gate, sensors: Sensors, no_data_after_s: float) -> None:
        self.gate = gate
        self.sensors = sensors
        self.no_data_after_s = no_data_after_s
        self.devices: dict[tuple[str, str], Device] = {}
        self.sent: deque[dict[str, object]] = deque(maxlen=ALERTS_MAX)
        self._told_no_data: set[str] = set()
        self._posting: set[asyncio.Task[None]] = set()
        self._client: ClientSession | None = None

    def register(self, device: Device) -> None:
        """Let a device hear of one account."""
        self.devices[device.url, device.account.name] = device

    def hear(self, account: Account, reading: Reading) -> None:
        """Take note of an upload: the silence is over, and a low value is told."""
        self._told_no_data.discard(account.name)
        for device in self._devices_of(account):
            if reading.value < device.low_mg_dl:
                self._tell(device, "low", reading)

    def _devices_of(self, account: Account) -> list[Device]:
        return [device for device in self.devices.values() if device.account == account]

    def _tell(self, device: Device, kind: str, reading: Reading) -> None:
        self.gate.board.requests["alerts"] += 1
        strike = self.gate.strike("alerts", "rest", device.account)
        if strike and strike.shape in ("F17", "F15"):
            return
        delay_s = strike.fault.number("delay_s", SLOW_S) if strike else 0.0
        task = asyncio.create_task(self._post(device, kind, reading, delay_s))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _post(self, device: Device, kind: str, reading: Reading, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        alert: dict[str, object] = {
            "kind": kind,
            "user": device.account.name,
            "value": reading.value,
            "time": iso(reading.at),
            "sent_at": iso(utc_now()),
        }
        assert self._client is not None
        try:
            async with self._client.post(device.url, json=alert) as response:
                outcome = f"answered {response.status}"
        except (ClientError, TimeoutError) as error:
            outcome = f"not reached: {type(error).__name__}"
        self.sent.appendleft({**alert, "url": device.url, "outcome": outcome})

    async def posting(self, app: web.Application) -> AsyncIterator[None]:
        """Keep the client and the watcher for missing data while the application runs."""
        async with ClientSession(timeout=ClientTimeout(total=ALERT_TIMEOUT_S)) as client:
            self._client = client
            watcher = asyncio.create_task(self._watch_for_silence())
            yield
            for task in (watcher, *self._posting):
                task.cancel()
            await asyncio.gather(watcher, *self._posting, return_exceptions=True)

    async def _watch_for_silence(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            now = utc_now()
            for account in {device.account for device in self.devices.values()}:
                self._tell_of_silence(account, now)

    def _tell_of_silence(self, account: Account, now: datetime) -> None:
        reading = next(self.sensors.known(account, now), None)
        if reading is None:
            return
        if (now - reading.at).total_seconds() <= self.no_data_after_s:
            self._told_no_data.discard(account.name)
        elif account.name not in self._told_no_data:
            self._told_no_data.add(account.name)
            for device in self._devices_of(account):
                self._tell(device, "no_data", reading)
