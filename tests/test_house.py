"""The rules of the house, checked by machine: who may import whom, and what pure files must not touch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE = [
    *("incidents/lifecycle.py", "incidents/facts.py", "incidents/uptime.py", "incidents/wire.py"),
    "incidents/chain.py",
    "subscribers/addresses.py",
    *("desk/advice.py", "desk/roles.py", "desk/tables.py", "desk/words.py"),
    *("probes/conditions.py", "probes/verdict.py", "probes/facts.py", "probes/options.py"),
    *("probes/restraint.py", "probes/steps.py", "probes/values.py", "probes/latency.py"),
    *("probes/words.py", "probes/rule.py", "probes/sight.py", "probes/ratio.py"),
    *("probes/baseline.py", "probes/suspicion.py", "probes/reasoning.py", "probes/policy.py"),
    "probes/replay.py",
    "probes/recount.py",
    *(
        "notifications/messages.py",
        "notifications/routing.py",
        "notifications/retry.py",
        "notifications/reach.py",
        "notifications/breaker.py",
        "notifications/tariffs.py",
        "notifications/ladder.py",
        "notifications/replies.py",
        "notifications/bounces.py",
        "notifications/silence.py",
    ),
    *("public/pages.py", "public/shown.py", "public/statusapi.py", "public/feeds.py"),
    *("public/bars.py", "public/plots.py", "public/times.py", "public/richtext.py"),
    *("public/badges.py", "public/ical.py", "public/measures.py", "public/words.py"),
]
NO_ORM = [
    *PURE,
    *("probes/web.py", "probes/walk.py", "public/watchdog.py", "subscribers/gate.py"),
    *(
        "statuspage/supervisor.py",
        "statuspage/demonstration.py",
        "statuspage/embedded.py",
        "statuspage/__main__.py",
    ),
    *(
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "notifications/channels").glob("*.py"))
    ),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "probes/agent").glob("*.py"))),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "probes/kinds").glob("*.py"))),
]
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter"}
NETWORK = {"socket", "requests", "aiohttp", "urllib.request", "http.client", "smtplib", "redis"}
ROOMS = [
    "statuspage",
    "desk",
    "public",
    "notifications",
    "subscribers",
    "probes",
    "incidents",
    "demo",
]


def imports(path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_only_point_down_to_the_core() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", NO_ORM)
def test_a_file_that_must_stand_alone_touches_no_database(path: str) -> None:
    touched = [
        name
        for name in imports(path)
        if name.startswith(("django.db", "django.conf"))
        or ".models" in name
        or name.endswith(".models")
    ]
    assert touched == []


@pytest.mark.parametrize("path", PURE)
def test_a_pure_file_asks_neither_clock_nor_network(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    asked = [
        f.attr for f in calls if isinstance(f, ast.Attribute) and f.attr in CLOCKS and _is_clock(f)
    ]
    used = [name for name in imports(path) if name.split(".")[0] in NETWORK or name in NETWORK]
    assert (asked, used) == ([], [])


def _is_clock(function: ast.Attribute) -> bool:
    return isinstance(function.value, ast.Name) and function.value.id in {
        "datetime",
        "date",
        "time",
        "timezone",
    }


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_says_in_one_line_what_lives_there(room: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / room).rglob("*.py")
        if "migrations" not in path.parts
        and (text := path.read_text())
        and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []


def test_no_room_has_a_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "signals", "managers", "constants"}
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.stem in drawers]
    assert found == []


def test_the_pure_files_are_where_the_house_says() -> None:
    assert [path for path in PURE if not (ROOT / path).exists()] == []
