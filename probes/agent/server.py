"""The two calls that a prober makes to its server, and what comes back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from probes.agent.buffer import Buffered
from probes.facts import CheckSpec

# One answer of the server, whole; it answers in milliseconds or is away.
SERVER_TIMEOUT_S: Final = 10.0
# What a new list of checks may weigh; ten thousand checks of 400 bytes.
CHECKS_BYTES_MAX: Final = 4 * 1024 * 1024
TRY_ID_CHARS_MAX: Final = 32


class ServerAway(Exception):
    """The server gave no usable answer; says which."""


class ServerRefused(Exception):
    """The server read what we sent and will not take it; sending it again is useless."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the server wants watched from here."""

    etag: str
    checks: tuple[CheckSpec, ...]
    references: tuple[str, ...]
    # Runs that an operator asked for, by check: {slug: id}.
    tries: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, etag: str, text: str) -> "Orders":
        """Read the server's answer; raise ServerAway when it is something else."""
        try:
            document = json.loads(text)
            checks = tuple(
                CheckSpec(
                    slug=str(each["slug"]),
                    kind=str(each["kind"]),
                    interval_s=max(float(each["interval_s"]), 1.0),
                    timeout_s=float(each["timeout_s"]),
                    retry_after_s=float(each["retry_after_s"]),
                    spec=dict(each["spec"]),
                )
                for each in document["checks"]
            )
            references = tuple(str(each) for each in document["references"])
            asked = document.get("try", [])
            tries = {str(each["check"]): str(each["id"])[:TRY_ID_CHARS_MAX] for each in asked}
            return cls(etag, checks, references, tries)
        except (ValueError, KeyError, TypeError) as error:
            raise ServerAway("it answered with no list of checks") from error


class Server:
    """The two calls that an agent makes."""

    def __init__(self, url: str, location: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.location = location
        # How far our clock is ahead of the server's, as its newest answer told.
        self.clock_off_s = 0.0
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=SERVER_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def fetch(self, etag: str) -> tuple[str, str] | None:
        """Return (etag, text) of the checks, None when they are those of `etag`."""
        headers = {"If-None-Match": etag} if etag else {}
        status, answer_etag, text = await self._ask("GET", "/probes/checks", headers=headers)
        if status == 304:
            return None
        if status != 200:
            raise ServerAway(_said(status, text))
        return answer_etag, text

    async def hand_in(self, batch: Sequence[Buffered], dropped: int) -> str:
        """Hand in results; return the etag of the checks as they are now."""
        body = (
            f'{{"location":{json.dumps(self.location)},"dropped":{dropped},'
            f'"sent_at":{json.dumps(datetime.now(UTC).isoformat())},'
            f'"results":[{",".join(each.body for each in batch)}]}}'
        )
        headers = {"Content-Type": "application/json"}
        status, _, text = await self._ask("POST", "/probes/results", headers=headers, data=body)
        if status in (400, 413, 422):
            raise ServerRefused(_said(status, text))
        if status != 200:
            raise ServerAway(_said(status, text))
        try:
            return str(json.loads(text)["etag"])
        except (ValueError, KeyError, TypeError) as error:
            raise ServerAway("it answered with something else than an etag") from error

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        data: str | None = None,
    ) -> tuple[int, str, str]:
        try:
            async with self._session.request(
                method,
                self.url + path,
                params={"location": self.location},
                headers=headers,
                data=data,
                allow_redirects=False,
            ) as response:
                self._compare_clocks(response.headers.get("Date", ""))
                raw = await response.content.read(CHECKS_BYTES_MAX)
                while not response.content.at_eof() and len(raw) < CHECKS_BYTES_MAX:
                    raw += await response.content.read(CHECKS_BYTES_MAX - len(raw))
                text = raw.decode(errors="replace")
                return response.status, response.headers.get("ETag", ""), text
        except TimeoutError as error:
            raise ServerAway(f"no answer within {SERVER_TIMEOUT_S:.0f} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServerAway(type(error).__name__) from error

    def _compare_clocks(self, date: str) -> None:
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return  # No Date, or none that can be read: nothing to compare with.
        if told.tzinfo is not None:
            self.clock_off_s = (datetime.now(UTC) - told).total_seconds()


def _said(status: int, text: str) -> str:
    """Return what an error answer says, in one line."""
    try:
        said = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        said = ""
    return f"HTTP {status} {said}".strip()[:300]
