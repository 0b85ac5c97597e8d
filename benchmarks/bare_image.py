"""The steps of docker/Dockerfile in a bare Debian root: what can be known of the image without an engine.

Each instruction is taken from the file and done as an engine would: RUN in the root, COPY from the tree, USER, ENV. Then
the parts `prepare` and `web` run by the entrypoint, as the image's user, on a root mounted read-only, and the
HEALTHCHECK's own command asks. Layers, the base image's own bytes, networks and volumes only a real engine can show.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bare_root import ROOT, SAID, Failed, enter, free_port, pip_said

DOCKERFILE = ROOT / "docker" / "Dockerfile"
STEP_S = 900.0
WRITABLE = ("/data", "/public", "/token")  # the volumes of compose.yaml


@dataclass
class Image:
    """What the instructions have set so far."""

    root: Path
    tree: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    health: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)


def run(root: Path, tree: Path) -> dict[str, object]:
    """Do all instructions in `root`, where python3-venv is there already; return seconds and what was run."""
    began = time.monotonic()
    image = Image(root, tree)
    for word, rest in instructions(DOCKERFILE.read_text(encoding="utf-8")):
        _do(image, word, rest)
    built_s = time.monotonic() - began
    first_s = _serve(image)
    return {
        "built_s": round(built_s, 1),
        "healthy_s": round(first_s, 1),
        "ran": [*image.ran, "prepare", "web", "HEALTHCHECK"],
        "only_an_engine_shows": "the base image (Debian's python3 stood in for python:3.11-slim), layers, networks, volumes",
    }


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the file's instructions, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def _do(image: Image, word: str, rest: str) -> None:
    match word:
        case "FROM":
            image.env, image.workdir, image.user = {}, "/", "0:0"
            image.ran.append(f"FROM {rest}")
        case "WORKDIR":
            image.workdir = rest
            (image.root / rest[1:]).mkdir(parents=True, exist_ok=True)
        case "COPY":
            _copy(image, rest)
        case "ENV":
            for name, value in (pair.split("=", 1) for pair in shlex.split(rest)):
                image.env[name] = value.replace("$PATH", _PATH)
        case "USER":
            image.user = rest
        case "RUN":
            image.ran.append(f"RUN {rest[:60]}")
            asked = rest.replace("python -m venv", "python3 -m venv")  # Debian has no `python`
            _run(image, ["env", *pip_said(), "sh", "-c", asked])
        case "HEALTHCHECK":
            image.health = json.loads(rest[rest.index("[") :])
        case "ENTRYPOINT":
            image.entrypoint = json.loads(rest)
        case "EXPOSE" | "CMD":
            pass
        case _:
            raise Failed(f"docker/Dockerfile: nobody here knows {word}")


def _copy(image: Image, rest: str) -> None:
    *names, target = rest.split()
    if names[0].startswith("--from"):
        if not (image.root / target[1:]).exists():
            raise Failed(f"docker/Dockerfile: the first stage left no {target}")
        return
    base = Path(image.workdir) / target if not target.startswith("/") else Path(target)
    for name in names:
        source = image.tree / name
        into = base / Path(name).name if target.endswith("/") or target == "." else base
        there = image.root / str(into)[1:]
        there.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, there, dirs_exist_ok=True)
        else:
            shutil.copy(source, there)


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _inside(image: Image, command: list[str], *, read_only: bool = False, **env: str) -> list[str]:
    words = [f"{name}={value}" for name, value in (image.env | env).items()]
    user, _, group = image.user.partition(":")
    who = [] if user == "0" else ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]  # fmt: skip
    at = ["sh", "-c", 'cd "$0" && exec "$@"', image.workdir]
    told = ["env", "-i", *SAID, *words]
    return enter(image.root, [*at, *who, *told, *command], read_only=WRITABLE if read_only else ())


def _run(image: Image, command: list[str], *, read_only: bool = False, **env: str) -> str:
    done = subprocess.run(
        _inside(image, command, read_only=read_only, **env),
        capture_output=True, text=True, check=False, timeout=STEP_S, errors="replace",
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise Failed(f"{' '.join(command)[:60]} ended with {done.returncode}: {' | '.join(last)}")
    return done.stdout


def _serve(image: Image) -> float:
    """Run prepare and web as the compositions do; return how long until the health check says yes."""
    port = free_port()
    told = {"SITE_URL": f"http://127.0.0.1:{port}"}
    entrypoint = image.entrypoint
    _refuses_writing(image)
    _run(image, [*entrypoint, "prepare"], read_only=True, **told)
    script = (image.root / entrypoint[0][1:]).read_text(encoding="utf-8")
    if "0.0.0.0:8000" not in script:
        raise Failed("docker/entrypoint does not listen at port 8000 any more")
    # This machine's port 8000 may be somebody else's: the web process has a network of its own.
    started = time.monotonic()
    with (image.root.parent / "image-web.log").open("wb") as log:
        web = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "web", *_inside(image, [*entrypoint, "web"], read_only=True, **told)],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        while time.monotonic() - started < 120:
            if web.poll() is not None:
                raise Failed(f"web ended: {Path(log.name).read_text(errors='replace')[-400:]}")
            ask = ["nsenter", f"--net=/proc/{web.pid}/ns/net", "--", *_inside(image, image.health)]
            if subprocess.run(ask, capture_output=True, check=False, timeout=60).returncode == 0:
                return time.monotonic() - started
            time.sleep(0.2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(web.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            web.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(web.pid, signal.SIGKILL)
        web.wait()
    raise Failed("the health check never said yes")


def _refuses_writing(image: Image) -> None:
    done = subprocess.run(
        _inside(image, ["touch", "/app/x"], read_only=True), capture_output=True, text=True, check=False
    )  # fmt: skip
    if "Read-only" not in done.stderr:
        raise Failed(f"the root was to be read-only: {done.stderr.strip()}")
