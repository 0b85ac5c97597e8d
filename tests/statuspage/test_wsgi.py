"""The web process, as gunicorn loads it before it makes its workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOOK = (
    "from statuspage import schema; schema.refuse_mismatch = lambda: None; "
    "import sys, statuspage.wsgi; print({'desk.console', 'notifications.receipts.doors'} <= set(sys.modules))"
)


@pytest.mark.slow
def test_the_views_are_read_before_the_first_request(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "SITE_URL": "http://status.test"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=ROOT, env=env | {"REDIS_URL": os.environ["REDIS_URL"]}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr
