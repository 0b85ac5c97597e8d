"""A bare Debian root, and an installation in it by the commands of docs/operate.md alone, timed.

debootstrap makes the root; what is done inside is what a person would type, read out of the document. Needs root and
Debian's mirror; prints one JSON object of seconds.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = "bookworm"
OPERATE = ROOT / "docs" / "operate.md"
STEP_S = 900.0
# The document's own lines, in its order; each has to stand there word for word.
APT = "apt-get install -y --no-install-recommends python3-venv ca-certificates"
SERVE = "./run serve --port 8000"
SUPERUSER = "./run manage createsuperuser"
APPLY = "./run manage apply site.yaml"


class Failed(Exception):
    """A step went wrong; the text says which."""


def run(
    base: Path | None = None, *, after: Callable[[Path], None] | None = None
) -> dict[str, float]:
    """Build it and drive it; `base` is a bare root that is there already, `after` looks at it in the end."""
    if os.geteuid() != 0:
        raise Failed("a root can be made by root only; run it as root")
    text = OPERATE.read_text(encoding="utf-8")
    for line in (APT, SERVE, SUPERUSER, APPLY):
        if line not in text:
            raise Failed(f"docs/operate.md does not say {line!r}")
    if base is not None:
        return _driven(base, {}, after)
    with tempfile.TemporaryDirectory(prefix="sp-root-", ignore_cleanup_errors=True) as name:
        root = Path(name) / "root"
        seconds: dict[str, float] = {}
        tool = shutil.which("debootstrap", path="/usr/sbin:/sbin:/usr/bin")
        if tool is None:
            raise Failed("debootstrap is not on this machine: apt-get install debootstrap")
        _timed(seconds, "debootstrap_s", [tool, "--variant=minbase", SUITE, str(root)])
        return _driven(root, seconds, after)


def _driven(
    root: Path, seconds: dict[str, float], after: Callable[[Path], None] | None
) -> dict[str, float]:
    found = _install(root, seconds)
    if after is not None:
        after(root)
    return found


def _install(root: Path, seconds: dict[str, float]) -> dict[str, float]:
    _give_network(root)
    began = time.monotonic()
    _timed(seconds, "apt_s", ["chroot", str(root), "sh", "-c", f"apt-get update -qq && {APT} -qq"])
    _copy(root / "srv" / "statuspage")
    started = time.monotonic()
    site = f"http://127.0.0.1:{free_port()}"
    told = f"cd /srv/statuspage && export DATA_DIR=/var/lib/statuspage SITE_URL={site}"
    port = site.rpartition(":")[2]
    serve = SERVE.replace("8000", port)
    with (root / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            _inside(root, f"{told} && exec {serve}"), stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await(root, server, site)
        seconds["first_page_s"] = time.monotonic() - started
        secret = "DJANGO_SUPERUSER_PASSWORD=only-for-this-root-42"
        _timed(seconds, "operator_s", _inside(
            root, f"{told} && {secret} {SUPERUSER} --noinput --username ann --email ann@example.org"
        ))  # fmt: skip
        (root / "srv" / "statuspage" / "site.yaml").write_text(
            f'page: {{name: A bare root, url: "{site}"}}\ncomponents:\n  - {{slug: login, name: Log in}}\n',
            encoding="utf-8",
        )
        _timed(seconds, "apply_s", _inside(root, f"{told} && {APPLY}"))
        _await(root, server, site, words="Log in")
        seconds["total_s"] = time.monotonic() - began
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    return {name: round(value, 1) for name, value in seconds.items()}


def _inside(root: Path, words: str) -> list[str]:
    """Return the command that runs `words` in the root as a person's shell would."""
    return enter(root, ["env", "-i", *SAID, *pip_said(), "sh", "-c", words])


def enter(root: Path, command: list[str], *, read_only: tuple[str, ...] = ()) -> list[str]:
    """Return the command that runs `command` in the root, in a process world of its own that ends with it.

    With `read_only` nothing can be written but there and in /tmp.
    """
    walls = ["--mount", "--pid", "--fork", "--kill-child=SIGTERM"]
    steps = [
        'mount -t proc proc "$0/proc"',
        'for at in $PLACES; do mount --bind "$at" "$0$at"; done',
    ]
    if read_only:
        steps += [
            'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"',
            'mount -t proc proc "$0/proc"',
            'mount -t tmpfs tmpfs "$0/tmp"',
            'mount -t tmpfs tmpfs "$0/dev/shm"',
            'for at in $OPEN; do mount --bind "$KEPT$at" "$0$at"; done',
        ]
    shell = f'{" && ".join(steps)} && exec chroot "$0" "$@"'
    kept = root.parent / f"{root.name}-volumes"
    for place in read_only:
        (kept / place[1:]).mkdir(parents=True, exist_ok=True)
        owner = (root / place[1:]).stat()
        os.chown(kept / place[1:], owner.st_uid, owner.st_gid)
    told = [f"PLACES={' '.join(_places())}", f"OPEN={' '.join(read_only)}", f"KEPT={kept}"]
    for place in _places():
        (root / place[1:]).mkdir(parents=True, exist_ok=True)
    return ["unshare", *walls, "env", *told, "sh", "-c", shell, str(root), *command]


# What a person's shell has. pip's own settings of this machine, where its index may be another one, come by file.
SAID = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
)


def pip_said() -> list[str]:
    given = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    if _certificates() is not None:
        given["PIP_CERT"] = _TRUSTED
    return [f"{name}={value}" for name, value in given.items()]


def _certificates() -> Path | None:
    """Return what this machine trusts: its network may be behind an authority of its own."""
    path = Path(os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"))
    return path if path.exists() else None


def _places() -> list[str]:
    """Return folders of this machine that its pip settings name as indexes: a network without one has none."""
    words = [os.environ.get("PIP_FIND_LINKS", "")]
    for path in _PIP_FILES:
        if Path(path).exists():
            words += re.findall(r"file://(/[^\s]+)", Path(path).read_text(encoding="utf-8"))
    found = [Path(word).resolve() for word in words if word.startswith("/") and Path(word).is_dir()]
    # An index lies beside the files that it leads to.
    return sorted({str(path.parent if path.name == "simple" else path) for path in found})


_PIP_FILES = ("/etc/pip.conf", "/root/.config/pip/pip.conf")
# Not the root's own bundle: the package ca-certificates, which is installed there, makes that anew.
_TRUSTED = "/etc/ssl/given.crt"


def _give_network(root: Path) -> None:
    """Give the root what a new machine gets from its network: names, certificates, where packages come from."""
    (root / "proc").mkdir(exist_ok=True)
    given = {path: path for path in ("/etc/resolv.conf", "/etc/hosts", *_PIP_FILES)}
    given[str(_certificates())] = _TRUSTED
    for here, there in given.items():
        if Path(here).exists():
            (root / there[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here, root / there[1:])


def _copy(target: Path) -> None:
    """Put the tree there, as git holds it."""
    target.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True)


def _timed(seconds: dict[str, float], name: str, command: list[str]) -> None:
    started = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=STEP_S, errors="replace"
    )
    seconds[name] = time.monotonic() - started
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise Failed(f"{name[:-2]} ended with {done.returncode}: {' | '.join(last)}")


def _await(
    root: Path, server: "subprocess.Popen[bytes]", site: str, *, words: str = "<html"
) -> None:
    deadline = time.monotonic() + STEP_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{site}/", timeout=5) as page:
            if words in page.read().decode():
                return
        time.sleep(0.2)
    tail = (root / "serve.log").read_text(errors="replace").splitlines()[-3:]
    raise Failed(f"the page did not come: {' | '.join(tail)}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


if __name__ == "__main__":
    try:
        print(json.dumps(run(Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
    except Failed as error:
        sys.exit(f"bare_root: {error}")
