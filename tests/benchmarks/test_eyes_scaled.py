"""Dividing the seconds of the rules reaches them all, wherever they stand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.eyes_scaled import DIVIDED

ROOT = Path(__file__).resolve().parent.parent.parent
PRINT = """
import json, sys
from benchmarks import eyes_scaled
found = eyes_scaled.prepare(sys.argv[1])
print(json.dumps([sorted({name for names in found.values() for name in names}), sys.modules["probes.kinds.share"].PROVEN_FOR.total_seconds()]))
"""


def divided_in(program: str) -> tuple[set[str], float]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT, program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names, proven_s = json.loads(done.stdout)
    return set(names), proven_s


@pytest.mark.slow
def test_every_span_that_is_divided_is_found_in_the_server_or_in_the_agent() -> None:
    server, _ = divided_in("gunicorn")
    agent, proven_s = divided_in("probes.agent")

    assert server | agent == DIVIDED
    assert proven_s == 24 * 3600 / 30
