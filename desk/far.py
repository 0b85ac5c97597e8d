"""A far installation over its /v1: what the terminal's commands need of it."""

import os
import secrets
from typing import Any
from urllib.parse import urlsplit

import requests

TIMEOUT_S = (5.0, 30.0)
KEY_VARIABLE = "STATUSPAGE_KEY"
PER_PAGE = 100


class FarError(Exception):
    """The far server refused or does not answer; one sentence."""


class FarServer:
    """`url` is the status page's own address, where /v1 is too."""

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FarError(
                f"--server is {url[:80]!r}; expected an address as https://status.example.org"
            )
        key = key or os.environ.get(KEY_VARIABLE, "")
        if not key:
            raise FarError(f"--key is missing; expected a key here or in {KEY_VARIABLE}")
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"OAuth {key}"
        self._page = ""

    def declare(self, words: dict[str, Any]) -> str:
        """Declare an incident; return its id."""
        return str(self._call("POST", "/incidents", {"incident": words})["id"])

    def post(self, incident: str, words: dict[str, Any]) -> int:
        """Post an update; return its number."""
        row = self._call("PATCH", f"/incidents/{incident}", {"incident": words})
        return len(row["incident_updates"])

    def incident(self, uid: str) -> dict[str, Any]:
        """Return an incident by its id, or the newest open one."""
        if uid != "newest":
            found: dict[str, Any] = self._call("GET", f"/incidents/{uid}")
            return found
        rows = self.unresolved()
        if not rows:
            raise FarError("there is no open incident there")
        return rows[0]

    def unresolved(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._call("GET", "/incidents/unresolved")
        return rows

    def components(self) -> list[dict[str, Any]]:
        """Return the components with `slug`, `id`, `name` and `status`."""
        rows: list[dict[str, Any]] = self._get("/banner.json")["components"]
        return rows

    def status(self) -> dict[str, Any]:
        """Return the page's roll-up."""
        found: dict[str, Any] = self._get("/api/v2/status.json")
        return found

    def template(self, name: str) -> dict[str, Any]:
        """Return a template by its slug or name."""
        rows = self._call("GET", f"/incident_templates?per_page={PER_PAGE}")
        for row in rows:
            if name == row["name"]:
                found: dict[str, Any] = row
                return found
        known = ", ".join(row["name"] for row in rows) or "none"
        raise FarError(f"--template is {name!r}; expected one of {known}")

    def states(self, words: list[str]) -> dict[str, str]:
        """Return id -> status of what `--component SLUG=STATUS` says."""
        ids = {row["slug"]: row["id"] for row in self.components()} if words else {}
        said = {}
        for word in words:
            slug, _, status = word.partition("=")
            if slug not in ids:
                raise FarError(
                    f"--component is {slug!r}; expected one of {', '.join(ids) or 'none'}"
                )
            said[ids[slug]] = status or "major_outage"
        return said

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if not self._page:
            self._page = self._get("/v1/pages")[0]["id"]
        # A repetition after a lost answer must not say it twice.
        headers = {"Idempotency-Key": secrets.token_hex(16)} if body else {}
        return self._ask(method, f"/v1/pages/{self._page}{path}", body, headers)

    def _get(self, path: str) -> Any:  # Any: JSON
        return self._ask("GET", path, None, {})

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> Any:  # Any: JSON
        for attempt in (1, 2):
            try:
                answer = self._session.request(
                    method, self.url + path, json=body, headers=headers, timeout=TIMEOUT_S
                )
                break
            except requests.RequestException as error:
                if attempt == 2:
                    why = type(error).__name__
                    raise FarError(f"{self.url} does not answer ({why})") from error
        try:
            found = answer.json()
        except ValueError as error:
            raise FarError(f"{self.url}{path} answers {answer.status_code} and no JSON") from error
        if answer.status_code >= 400:
            said = found.get("message") if isinstance(found, dict) else None
            raise FarError(str(said or f"{self.url}{path} answers {answer.status_code}"))
        return found
