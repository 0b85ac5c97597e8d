"""`./run demo`: the whole house beside a Follow service to break and stand-ins for the providers. No Django."""

import argparse
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from statuspage import supervisor
from statuspage.supervisor import BASE_DIR, Supervisor, say

# What the demo keeps of its environment. All else may lead to a real installation: its providers, mirrors, broker, keys.
# DATABASE_URL stays, because statuspage.prepare refuses a database that is somebody's.
KEPT = frozenset({
    *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "VIRTUAL_ENV"),
    *("DATABASE_URL", "ALLOWED_HOSTS", "TRUSTED_PROXIES", "THEME_DIR", "LOG_LEVEL", "LOG_FORMAT"),
    *("COMMIT_HINT", "DRILL_RECIPIENTS", "SHOW_TIME_TO_INFORM"),
})  # fmt: skip
KEPT_PREFIXES = ("LC_", "PYTHON", "LD_", "DYLD_", "XDG_")
# What the demo sets for the stand-ins.
PROVIDERS = ("TWILIO_", "X_", "FACEBOOK_", "EMAIL_")


def run(options: argparse.Namespace) -> int:
    """Run the demo until SIGTERM, or play the night and return its exit code."""
    data_dir = Path(os.environ.get("DATA_DIR") or "./var").resolve()
    if options.night:
        data_dir = data_dir / "night"
    house = Supervisor(data_dir)
    listener = _listener(options)
    env = kept(os.environ)
    code = [0]
    with supervisor.running(house):
        if options.night:
            _empty(data_dir)
        started = time.monotonic()
        facts = start(house, listener, env)
        say(f"up after {time.monotonic() - started:.1f} s")
        _introduce(facts)
        if options.night:
            threading.Thread(
                target=_night, args=(house, env, options.report, code), daemon=True
            ).start()
        print(f"ready {facts['page']}", flush=True)
        house.watch()
    return code[0]


def kept(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the demo may know of the environment that it was started in."""
    return {
        name: value
        for name, value in environ.items()
        if name in KEPT or name.startswith(KEPT_PREFIXES)
    }


def _empty(folder: Path) -> None:
    """Remove what an earlier night left; the lock is held."""
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name != supervisor.LOCK:
            left.unlink()


def start(house: Supervisor, listener: socket.socket, env: dict[str, str]) -> dict[str, str]:
    """Start everything; return what demo.json holds, after writing it to DATA_DIR."""
    say("starting the Follow service, the stand-ins and the mailbox")
    site_url = f"http://{supervisor.address(listener)}"
    env = env | {"DATA_DIR": str(house.data_dir), "SITE_URL": site_url, **_credentials()}
    supervisor.start_broker(house, env)
    urls = _start_strangers(house, env)
    env |= {
        "EMAIL_URL": urls["smtp"],
        "EMAIL_FROM": "Follow status <status@follow.example>",
        "TWILIO_API_URL": urls["providers"],
        "X_API_URL": urls["providers"],
        "FACEBOOK_API_URL": urls["providers"],
    }
    site = house.data_dir / "site.yaml"
    text = (BASE_DIR / "demo" / "site.yaml").read_text(encoding="utf-8")
    site.write_text(
        text.replace("SITE_URL", site_url).replace("FOLLOW_URL", urls["follow"]), encoding="utf-8"
    )
    say("preparing the database")
    found = supervisor.prepare(env, "--demo", str(site))
    say("starting web, workers, clock, prober and watchdog")
    supervisor.start_house(house, env, listener, found.pop("probe_token"))
    supervisor.await_ready(f"{site_url}/", house)
    facts = {
        "page": f"{site_url}/",
        "desk": f"{site_url}/desk/",
        "admin": f"{site_url}/admin/",
        "mailbox": urls["mailbox"],
        "providers": urls["providers"],
        "follow": urls["follow"],
        **found,
    }
    _write(house.data_dir / "demo.json", facts)
    # For management commands from outside: what this demo was told, also where it was told nothing.
    given = {name: value for name, value in env.items() if name.startswith(PROVIDERS)}
    ours = given | {name: env[name] for name in ("DATA_DIR", "SITE_URL", "REDIS_URL")}
    ours |= {name: env.get(name, "") for name in ("DATABASE_URL", "SECRET_KEY", "FIELD_KEYS")}
    _write(house.data_dir / "environment.json", ours)
    return facts


def _credentials() -> dict[str, str]:
    """Make up what the stand-ins ask for; good for this run only."""
    word = secrets.token_hex
    return {
        "TWILIO_ACCOUNT_SID": "AC" + word(16),
        "TWILIO_AUTH_TOKEN": word(16),
        "TWILIO_FROM": "+15005550006",
        "TWILIO_SMS_PER_S": "100",
        "TWILIO_CALLS_PER_S": "100",
        "X_CONSUMER_KEY": word(12),
        "X_CONSUMER_SECRET": word(24),
        "X_ACCESS_TOKEN": f"1000-{word(16)}",
        "X_ACCESS_TOKEN_SECRET": word(24),
        "FACEBOOK_PAGE_ID": "1029384756",
        "FACEBOOK_PAGE_TOKEN": word(24),
        "FOLLOW_PASSWORD": word(12),
        "PROBE_PASSWORD": "",
    }


def _start_strangers(house: Supervisor, env: dict[str, str]) -> dict[str, str]:
    """Start the Follow service, the providers' stand-ins and the mailbox; return their addresses."""
    env["PROBE_PASSWORD"] = env["FOLLOW_PASSWORD"]
    urls = {}
    for name in ("follow", "providers"):
        listener = supervisor.listen("127.0.0.1", 0)
        fd = listener.fileno()
        house.start(name, [sys.executable, "-m", f"demo.{name}", "--fd", str(fd)], env, (fd,))
        urls[name] = f"http://{supervisor.address(listener)}"
        house.keep(listener)
    pages, smtp = supervisor.listen("127.0.0.1", 0), supervisor.listen("127.0.0.1", 0)
    fds = (pages.fileno(), smtp.fileno())
    command = [sys.executable, "-m", "demo.mailbox", "--fd", str(fds[0]), "--smtp-fd", str(fds[1])]
    house.start("mailbox", command, env, fds)
    house.keep(pages)
    house.keep(smtp)
    return urls | {
        "mailbox": f"http://{supervisor.address(pages)}",
        "smtp": f"smtp://{supervisor.address(smtp)}",
    }


def _listener(options: argparse.Namespace) -> socket.socket:
    """Take the port asked for; without one the usual port, or a free one when that is taken."""
    if options.port is not None:
        return supervisor.listen(options.host, options.port)
    if options.night:
        return supervisor.listen(options.host, 0)
    try:
        return supervisor.listen(options.host, supervisor.PORT)
    except supervisor.CannotStart:
        return supervisor.listen(options.host, 0)


def _introduce(facts: dict[str, str]) -> None:
    print(
        f"\n  Status page   {facts['page']}\n"
        f"  Desk          {facts['desk']}   ({facts['user']} / {facts['password']})\n"
        f"  Admin         {facts['admin']}\n"
        f"  Follow        {facts['follow']}   break it here\n"
        f"  Mailbox       {facts['mailbox']}\n"
        f"  Providers     {facts['providers']}   SMS, calls, X, Facebook\n",
        flush=True,
    )


def _write(path: Path, facts: dict[str, str]) -> None:
    with open(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as file:
        json.dump(facts, file, indent=2)


def _night(house: Supervisor, env: Mapping[str, str], report: str | None, code: list[int]) -> None:
    """Play the night in a process of its own, then end the demo with its exit code."""
    command = [sys.executable, "-m", "demo.night", "--data", str(house.data_dir)]
    command += ["--report", str(Path(report).resolve())] if report else []
    code[0] = subprocess.run(command, env=dict(env), cwd=BASE_DIR, check=False).returncode
    house.stopping = True
