"""The script of the night and its report: break Follow, wait until all are told, mend it, wait for the all-clear."""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent
POLL_S = 0.1
QUIET_S = 2.0  # after all were told, so long nothing more may come: a duplicate would show
COLUMNS = "channel,address,components,language,time_zone,wake_me,consent_source,consent_at"
CONSENT_AT = "2026-01-01T00:00:00Z"


class Failed(Exception):
    """The night went wrong; the text says where."""


@dataclass(frozen=True, slots=True)
class Cast:
    """How many people there are, and how they are told."""

    email: int = 2000
    sms: int = 50
    voice: int = 20


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in the night. `disturb` is called with the name of each scene as it begins."""

    cast: Cast = Cast()
    faults: Mapping[str, str] = field(default_factory=lambda: {"login": "F2", "read": "F2"})
    patience_s: float = 120.0
    disturb: Callable[[str], None] = lambda scene: None


class House:
    """The running demo, seen from outside: its addresses and its API key."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.facts: dict[str, str] = json.loads((data_dir / "demo.json").read_text())
        self._env: dict[str, str] = json.loads((data_dir / "environment.json").read_text())

    def get(self, url: str) -> Any:  # Any: JSON
        return self._call(urllib.request.Request(url))

    def send(self, method: str, url: str, body: object) -> Any:  # Any: JSON
        data = json.dumps(body).encode()
        return self._call(
            urllib.request.Request(
                url, data=data, method=method, headers={"Content-Type": "application/json"}
            )
        )

    def api(self, path: str) -> Any:  # Any: JSON
        key = {"Authorization": f"OAuth {self.facts['api_key']}"}
        return self._call(urllib.request.Request(f"{self.facts['page']}v1/{path}", headers=key))

    def manage(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env={**os.environ, **self._env}, cwd=BASE_DIR, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"manage {arguments[0]} failed: {done.stderr.strip()}")

    def _call(self, request: urllib.request.Request) -> Any:  # Any: JSON
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None


def play(house: House, script: Script, say: Callable[[str], None]) -> dict[str, Any]:  # Any: JSON
    """Play the night; return its report. Raises Failed when somebody is not told in time."""
    _invite(house, script.cast)
    page_id = house.get(f"{house.facts['page']}api/v2/status.json")["page"]["id"]
    _await(lambda: _is_healthy(house), script, "the line from probe to page never became healthy")
    known = {row["id"] for row in house.api(f"pages/{page_id}/incidents.json")}
    script.disturb("before")
    struck = house.send("PUT", f"{house.facts['follow']}/faults", dict(script.faults))
    fault_at = _instant(struck["fault_at"])
    say(f"{fault_at:%H:%M:%S}  Follow breaks")
    script.disturb("broken")
    incident = _await(lambda: _new_incident(house, page_id, known), script, "nothing was published")
    say(f"+{_since(fault_at, incident['created_at']):5.1f} s  published: {incident['name']}")
    script.disturb("published")
    told = _await(
        lambda: _all_told(house, page_id, incident["id"], fault_at, "channels"),
        script,
        "not all were told",
    )
    _tell(told["channels"], say)
    script.disturb("told")
    time.sleep(QUIET_S)
    mended = house.send("PUT", f"{house.facts['follow']}/faults", {})
    mended_at = _instant(mended["mended_at"])
    say(f"{mended_at:%H:%M:%S}  Follow recovers")
    script.disturb("mended")
    cleared = _await(
        lambda: _all_clear(house, page_id, incident["id"], mended_at),
        script,
        "the all-clear never came",
    )
    say(f"+{_since(mended_at, cleared['resolved_at']):5.1f} s  resolved")
    _tell(cleared["all_clear"], say)
    time.sleep(QUIET_S)
    return _report(house, page_id, incident["id"], fault_at, mended_at, known)


def _invite(house: House, cast: Cast) -> None:
    """Bring in the people of the night by CSV, as an operator would."""
    path = house.data_dir / "people.csv"
    columns = COLUMNS.split(",")
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        for number in range(cast.email):
            rows.writerow(
                [
                    "email",
                    f"parent{number}@family{number % 97}.example",
                    "",
                    "en",
                    "",
                    "",
                    "list",
                    CONSENT_AT,
                ]
            )
        for number in range(cast.sms):
            rows.writerow(["sms", f"+1212555{number:04d}", "", "en", "", "", "list", CONSENT_AT])
        for number in range(cast.voice):
            rows.writerow(
                ["voice", f"+1312555{number:04d}", "", "en", "", "yes", "list", CONSENT_AT]
            )
    house.manage("import_subscribers", str(path))


def _is_healthy(house: House) -> bool:
    summary = house.get(f"{house.facts['page']}api/v2/summary.json")
    banner = house.get(f"{house.facts['page']}banner.json")
    return banner["state"] == "operational" and not summary["incidents"]


def _new_incident(
    house: House, page_id: str, known: set[str]
) -> dict[str, Any] | None:  # Any: JSON
    fresh = [row for row in house.api(f"pages/{page_id}/incidents.json") if row["id"] not in known]
    return fresh[-1] if fresh else None


def _reach(
    house: House, page_id: str, incident: str, since: datetime
) -> dict[str, Any]:  # Any: JSON
    query = since.isoformat().replace("+00:00", "Z")
    found: dict[str, Any] = house.api(
        f"pages/{page_id}/incidents/{incident}/reach.json?since={query}"
    )
    return found


def _all_told(
    house: House, page_id: str, incident: str, since: datetime, part: str
) -> dict[str, Any] | None:
    """Return the reach once every subscriber's channel is there and nobody waits."""
    found = _reach(house, page_id, incident, since)
    channels = found[part]
    done = (
        bool(channels)
        and found["fanned_out"]
        and all(row["pending"] == 0 for row in channels.values())
    )
    return found if done else None


def _all_clear(house: House, page_id: str, incident: str, since: datetime) -> dict[str, Any] | None:
    found = _all_told(house, page_id, incident, since, "all_clear")
    return found if found and found["resolved_at"] else None


def _report(
    house: House,
    page_id: str,
    incident: str,
    fault_at: datetime,
    mended_at: datetime,
    known: set[str],
) -> dict[str, Any]:  # Any: JSON
    night = _reach(house, page_id, incident, fault_at)
    morning = _reach(house, page_id, incident, mended_at)
    opened = [
        row["id"] for row in house.api(f"pages/{page_id}/incidents.json") if row["id"] not in known
    ]
    return {
        "fault_at": fault_at.isoformat(),
        "detected_at": night["detected_at"],
        "published_at": night["published_at"],
        "page_at": night["page_at"],
        "channels": night["channels"],
        "mended_at": mended_at.isoformat(),
        "recovered_at": morning["resolved_at"],
        "all_clear": morning["all_clear"],
        "lost": _lost(night["channels"]) + _lost(morning["all_clear"]),
        "duplicates": _duplicates(house),
        "incidents": len(opened),
        "updates": night["updates"],
    }


def _lost(channels: Mapping[str, Mapping[str, int]]) -> int:
    """Eligible, never handed over, and not suppressed, superseded or failed."""
    excused = ("accepted", "suppressed", "superseded", "failed", "refused")
    return sum(row["eligible"] - sum(row[word] for word in excused) for row in channels.values())


def _duplicates(house: House) -> int:
    """Count what the stand-ins took more than once: the same words to the same address."""
    seen: Counter[tuple[str, ...]] = Counter()
    for mail in _mails(house):
        # By its id, and by its words: a second copy under another id is a duplicate too.
        seen.update(
            [("id", mail["to"][0], mail["message_id"]), ("words", mail["to"][0], mail["subject"])]
        )
    ledger = house.get(f"{house.facts['providers']}/ledger.json")
    for provider, entries in ledger.items():
        seen.update((provider, entry["to"], entry["body"]) for entry in entries)
    return sum(count - 1 for count in seen.values() if count > 1)


def _mails(house: House) -> Iterator[dict[str, Any]]:
    since = 0
    while mails := house.get(f"{house.facts['mailbox']}/messages.json?since={since}&limit=1000")[
        "messages"
    ]:
        yield from mails
        since = max(mail["n"] for mail in mails)


def _await(
    look: Callable[[], Any], script: Script, complaint: str
) -> Any:  # Any: what `look` found
    deadline = time.monotonic() + script.patience_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(POLL_S)
    raise Failed(f"{complaint} within {script.patience_s:.0f} s")


def _tell(channels: Mapping[str, Mapping[str, Any]], say: Callable[[str], None]) -> None:
    for name, row in channels.items():
        last = "–" if row["last_s"] is None else f"{row['last_s']:.1f} s"
        say(
            f"           {name:<9} {row['accepted']:>5} of {row['eligible']:<5} told, the last after {last}"
        )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _since(start: datetime, text: str) -> float:
    return (_instant(text) - start).total_seconds()


def is_good(report: Mapping[str, Any]) -> bool:
    """Everybody was told, once, of the fault and of its end."""
    reached = [row["accepted"] == row["eligible"] - row["suppressed"] - row["superseded"]
               for part in ("channels", "all_clear") for row in report[part].values()]  # fmt: skip
    return (
        all(reached)
        and report["lost"] == 0
        and report["duplicates"] == 0
        and report["incidents"] == 1
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Play the night on a running demo.")
    parser.add_argument("--data", type=Path, required=True, help="the demo's DATA_DIR")
    parser.add_argument("--report", type=Path, help="where to write the report as JSON")
    options = parser.parse_args()
    try:
        report = play(House(options.data), Script(), lambda line: print(line, flush=True))
    except (Failed, OSError) as error:
        print(f"night: {error}", file=sys.stderr)
        return 1
    print(f"lost {report['lost']}, duplicates {report['duplicates']}", flush=True)
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if is_good(report) else 1


if __name__ == "__main__":
    sys.exit(main())
