"""A stand-in for a Statuspage that is being left: its public pages and its management API, as JSON over HTTP."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
BEGUN = datetime(2024, 1, 1, tzinfo=UTC)
NEWEST = 50


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def uid(kind: str, number: int) -> str:
    return f"{kind}{number:011d}"


def component(number: int, **words: Any) -> Json:
    row: Json = {
        "id": uid("c", number), "name": f"Part {number}", "status": "operational", "created_at": stamp(BEGUN),
        "updated_at": stamp(BEGUN), "position": number, "description": None, "showcase": True, "start_date": None,
        "group_id": uid("g", 1), "page_id": "abcdefghij12", "group": False, "only_show_if_degraded": False,
    }  # fmt: skip
    return row | words


def group(number: int) -> Json:
    children = {"group": True, "group_id": None, "components": [uid("c", 1)]}
    return component(number) | {"id": uid("g", number), "name": "All parts"} | children


def incident(number: int, *, updates: int = 10, planned: bool = False) -> Json:
    """An incident of one hour for each number, with so many updates, over by the last one."""
    begun = BEGUN + timedelta(hours=number)
    words = ["investigating", *["identified"] * (updates - 2), "resolved"]
    if planned:
        words = ["scheduled", *["in_progress"] * (updates - 2), "completed"]
    said = [
        {
            "id": uid("u", number * 100 + index), "status": word, "body": f"Word {index} of {number}.",
            "incident_id": uid("i", number), "created_at": stamp(begun + timedelta(minutes=index)),
            "updated_at": stamp(begun + timedelta(minutes=index)), "display_at": stamp(begun + timedelta(minutes=index)),
            "affected_components": [{"code": uid("c", 1), "name": "Part 1", "old_status": "operational",
                "new_status": "operational" if index == updates - 1 else "major_outage"}],
            "deliver_notifications": True, "custom_tweet": None, "tweet_id": None,
        }
        for index, word in enumerate(words)
    ]  # fmt: skip
    over = stamp(begun + timedelta(minutes=updates - 1))
    row: Json = {
        "id": uid("i", number), "name": f"Trouble {number}", "status": words[-1], "created_at": stamp(begun),
        "updated_at": over, "monitoring_at": None, "resolved_at": over, "impact": "maintenance" if planned else "major",
        "shortlink": "https://stspg.example/x", "started_at": stamp(begun), "page_id": "abcdefghij12",
        "incident_updates": said[::-1], "components": [component(1)], "reminder_intervals": None,
    }  # fmt: skip
    if planned:
        row |= {"scheduled_for": stamp(begun), "scheduled_until": over}
    return row


class OldPage:
    """Serves `incidents` (newest first) at `url`; `asked` are the paths that were called."""

    key = "old-key"

    def __init__(self, incidents: list[Json]) -> None:
        self.incidents = incidents
        self.components = [group(1), component(1), component(2, name="Part 1", group_id=None)]
        self.asked: list[str] = []
        self.breaks_after: int | None = None
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, answer = page._answer(self.path, self.headers.get("Authorization", ""))
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, target: str, authorization: str) -> tuple[int, Any]:  # Any: JSON
        self.asked.append(target)
        if self.breaks_after is not None and len(self.asked) > self.breaks_after:
            return 500, {}
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        shown = {"page": {"id": "abcdefghij12", "name": "Old page", "url": self.url, "time_zone": "America/New_York",
                          "updated_at": stamp(BEGUN)}}  # fmt: skip
        planned = [row for row in self.incidents if "scheduled_for" in row]
        others = [row for row in self.incidents if "scheduled_for" not in row]
        number = int(query.get("page", ["1"])[0])
        match path.strip("/").removesuffix(".json").split("/"):
            case ["api", "v2", "summary"]:
                return 200, shown | {
                    "components": self.components,
                    "incidents": [],
                    "scheduled_maintenances": [],
                }
            case ["api", "v2", "components"]:
                return 200, shown | {"components": self.components}
            case ["api", "v2", "incidents"]:
                return 200, shown | {"incidents": others[:NEWEST]}
            case ["api", "v2", "scheduled-maintenances"]:
                return 200, shown | {"scheduled_maintenances": planned[:NEWEST]}
            case ["history"]:
                rows = self.incidents[(number - 1) * 300 : number * 300]
                return 200, {"months": [{"year": 2024, "incidents": [{"code": row["id"], "name": row["name"]} for row in rows]}]}  # fmt: skip
            case ["incidents", code]:
                found = next((row for row in self.incidents if row["id"] == code), None)
                return (200, found) if found else (404, {})
            case ["v1", "pages", "abcdefghij12", "incidents"]:
                if authorization != f"OAuth {self.key}":
                    return 401, {"error": "Could not authenticate"}
                limit = int(query["limit"][0])
                return 200, self.incidents[(number - 1) * limit : number * limit]
            case _:
                return 404, {}
