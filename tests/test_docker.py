"""The image and its composition, as far as they can be judged without a container engine."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from desk import intake_views
from public import serve

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
NGINX = (DOCKER / "nginx.conf").read_text(encoding="utf-8")
COMPOSE_TEXT = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)  # Any: YAML
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FAR: dict[str, Any] = yaml.safe_load((DOCKER / "prober.yaml").read_text(encoding="utf-8"))
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
ROOMS = (
    "statuspage",
    "incidents",
    "subscribers",
    "probes",
    "notifications",
    "public",
    "desk",
    "templates",
)


def _copied() -> list[str]:
    """Return what the final stage takes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    return [name for line in lines for name in line.split()]


def _final_stage() -> str:
    return DOCKERFILE.split("\nFROM ")[-1]


def test_the_image_runs_as_nobody_special() -> None:
    assert re.findall(r"^USER (.+)$", _final_stage(), flags=re.MULTILINE) == ["10001:10001"]


def test_the_image_installs_only_what_is_locked() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "--no-deps" in DOCKERFILE
    assert "pip install" not in _final_stage()


def test_base_images_are_pinned_and_no_digest_is_invented() -> None:
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE))
    images = bases | {service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert [
        image for image in sorted(images) if ":" not in image or image.endswith(":latest")
    ] == []
    assert "sha256:" not in DOCKERFILE + COMPOSE_TEXT


def test_the_image_asks_for_its_own_health() -> None:
    assert "/health/live" in DOCKERFILE.partition("HEALTHCHECK")[2]


def test_the_image_holds_every_room_and_not_the_demo() -> None:
    assert set(ROOMS) <= set(_copied())
    assert "demo" not in _copied()
    has_catalogues = any((ROOT / "locale").rglob("*.mo")) or any((ROOT / "locale").rglob("*.po"))
    assert not has_catalogues or "locale" in _copied(), (
        "docker/Dockerfile: locale/ has catalogues now; copy it"
    )


@pytest.mark.parametrize("name", _copied())
def test_what_is_copied_is_there_and_not_left_out(name: str) -> None:
    assert (ROOT / name).exists()
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and line[0] != "#"
    ]
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert rules[0] == "*"
    assert name in kept
    assert not any(fnmatch(name, rule) for rule in rules[1:] if not rule.startswith("!"))


def test_the_entrypoint_is_a_script_that_can_run() -> None:
    entrypoint = DOCKER / "entrypoint"
    assert os.access(entrypoint, os.X_OK)
    assert subprocess.run(["sh", "-n", str(entrypoint)], check=False).returncode == 0


def test_an_unknown_part_is_refused_in_one_sentence() -> None:
    done = subprocess.run(
        [str(DOCKER / "entrypoint"), "cook"],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'cook'; expected web, clock" in done.stderr


def test_every_part_of_the_composition_is_one_that_the_entrypoint_knows() -> None:
    parts = set(
        re.findall(r"^    ([a-z-]+)\)", (DOCKER / "entrypoint").read_text(), flags=re.MULTILINE)
    )
    assert {SERVICES[name]["command"][0] for name in OURS} == parts - {"manage"}


def test_the_entrypoint_starts_what_the_supervisor_starts() -> None:
    supervisor = (ROOT / "statuspage" / "supervisor.py").read_text(encoding="utf-8")
    started = set(re.findall(r'house\.start\(\s*"([a-z-]+)"', supervisor)) - {"valkey"}
    assert started
    assert started <= set(OURS)


def test_all_that_is_built_is_one_image() -> None:
    assert len({SERVICES[name]["image"] for name in OURS}) == 1
    assert all(SERVICES[name]["build"]["dockerfile"] == "docker/Dockerfile" for name in OURS)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_has_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert "logging" in service
    assert name in OURS or service.get("user", "root") not in ("root", "0", "0:0")


@pytest.mark.parametrize("name", OURS)
def test_our_own_services_cannot_write_to_their_image(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["tmpfs"] == ["/tmp"]
    assert "user" not in SERVICES[name]  # the image's own


def test_nginx_alone_has_open_ports() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]


def test_database_and_broker_are_in_a_network_without_a_way_out() -> None:
    assert COMPOSE["networks"]["store"]["internal"] is True
    assert SERVICES["postgres"]["networks"] == SERVICES["valkey"]["networks"] == ["store"]


def test_the_prober_knows_no_key_and_no_database() -> None:
    assert "environment" not in SERVICES["prober"]
    assert "networks" not in SERVICES["prober"]  # not in `store`


def test_a_far_prober_is_the_same_prober_and_knows_its_token_only() -> None:
    far, near = FAR["services"]["prober"], SERVICES["prober"]
    same = ("image", "build", "init", "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "env_file", "logging")  # fmt: skip
    assert {name: far[name] for name in same} == {name: near[name] for name in same}
    assert list(FAR["services"]) == ["prober"]
    assert list(far["environment"]) == ["PROBE_TOKEN"]
    assert "ports" not in far
    assert list(FAR["volumes"]) == [mount.split(":")[0] for mount in far["volumes"]]
    assert [word.partition(":?")[0] for word in far["command"] if "$" in word] == [
        "https://${SITE_HOST",
        "${LOCATION",
    ]


@pytest.mark.parametrize("path", sorted(DOCKER.glob("*.yaml")), ids=lambda path: path.name)
def test_a_composition_is_what_the_specification_of_compose_takes(path: Path) -> None:
    _as_an_engine_reads(path.read_text(encoding="utf-8")).validate()


def test_a_composition_with_a_wrong_word_is_refused() -> None:
    text = COMPOSE_TEXT.replace("read_only: true", "read_only: perhaps")
    with pytest.raises(ValueError, match="expected a boolean"):
        _as_an_engine_reads(text)


def _as_an_engine_reads(text: str) -> PyCompose:
    """Put the variables in and resolve the anchors, as an engine does before it looks at the words."""
    told = re.sub(r"\$\{\w+(?::-([^}]*))?(?::\?[^}]*)?\}", lambda found: found[1] or "told", text)
    return PyCompose.from_json(json.dumps(yaml.safe_load(told)))


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [str(hadolint), str(DOCKER / "Dockerfile")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python\nRUN cd /tmp && sudo true\n", encoding="utf-8")
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([str(hadolint), str(wrong)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DL3006" in done.stdout  # the image's version is not pinned


def test_every_volume_is_declared_and_only_the_clock_and_the_watchdog_write_the_page() -> None:
    used = {name: service.get("volumes", []) for name, service in SERVICES.items()}
    named = {
        mount.split(":")[0] for mounts in used.values() for mount in mounts if mount[0] not in "./"
    }
    assert named == set(COMPOSE["volumes"])
    writers = {name for name, mounts in used.items() if "public:/public" in mounts}
    assert writers == {"clock", "watchdog"}


def test_the_epochs_note_outlives_the_containers_and_only_the_clock_writes_it() -> None:
    used = {name: SERVICES[name].get("volumes", []) for name in ("clock", "worker", "worker-email")}
    at_data = {
        name: [mount for mount in mounts if mount.split(":")[1] == "/data"]
        for name, mounts in used.items()
    }
    assert at_data == {
        "clock": ["epoch:/data"],
        "worker": ["epoch:/data:ro"],
        "worker-email": ["epoch:/data:ro"],
    }
    assert "DATA_DIR=/data" in _final_stage()
    # A fresh volume gets the owner that the folder has in the image.
    assert re.search(r"install -d -o 10001 -g 10001 [^\n]*/data\b", _final_stage())


@pytest.mark.parametrize(
    "name",
    ["SECRET_KEY", "FIELD_KEYS", "POSTGRES_PASSWORD", "SITE_HOST", "TLS_CERTIFICATE", "TLS_KEY"],
)
def test_what_must_be_told_is_asked_for_in_words_and_has_no_default(name: str) -> None:
    assert re.search(rf"\$\{{{name}:\?{name} is [^}}]+\}}", COMPOSE_TEXT)
    assert f"${{{name}:-" not in COMPOSE_TEXT


def test_the_variables_are_those_that_the_product_reads() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert [name for name in SERVICES["web"]["environment"] if f"`{name}`" not in reference] == []


def test_nginx_sends_the_headers_that_the_web_process_sends() -> None:
    for policy in (serve._HTML_POLICY, serve._WIDGET_POLICY, serve._OTHER_POLICY, serve.CACHE):
        assert f'"{policy}"' in NGINX
    for kind in serve._KINDS.values():
        assert f'"{kind}"' in NGINX
    assert serve._OPEN_TO_ALL.pattern in NGINX
    assert "try_files $uri$twin $uri @django;" in NGINX


def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    done = subprocess.run(
        [_program("nginx"), "-t", "-c", str(_configuration(tmp_path))],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        pytest.param("/intake/alertmanager", 3_000_000, 200, id="a storm of alerts"),
        pytest.param("/intake/alertmanager", intake_views.BODY_BYTES_MAX, 200, id="as large as the intake takes"),
        pytest.param("/intake/alertmanager", intake_views.BODY_BYTES_MAX + 1, 413, id="larger"),
        pytest.param("/report", 3_000_000, 413, id="nothing else is so large"),
    ],
)  # fmt: skip
def test_nginx_lets_through_what_the_intake_takes(
    nginx: Path, path: str, size: int, status: int
) -> None:
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(30)
        plain.connect(str(nginx))
        client = HTTPConnection("status.test")
        client.sock = ssl._create_unverified_context().wrap_socket(plain, server_hostname="status.test")  # fmt: skip
        client.request("POST", path, b"x" * size, {"X-Forwarded-For": "192.0.2.1"})
        answer = client.getresponse()
        said = answer.read()
        client.close()
    assert answer.status == status
    if status == 200:
        heads = {"Host": "status.test", "X-Forwarded-Proto": "https", "X-Forwarded-For": "unix:"}
        assert json.loads(said) == {"size": size, **heads}


class _Web(BaseHTTPRequestHandler):
    """Stands for the web process: tells what came."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        heads = {
            name: self.headers[name] for name in ("Host", "X-Forwarded-Proto", "X-Forwarded-For")
        }
        told = json.dumps({"size": size, **heads}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, format: str, *args: Any) -> None:  # Any: as in the library
        pass


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Path]:
    """Run nginx with our configuration in front of a web process that tells what came; return its socket for TLS."""
    web = ThreadingHTTPServer(("127.0.0.1", 0), _Web)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    conf = _configuration(tmp_path, web=f"127.0.0.1:{web.server_port}")
    tls = Path(re.findall(r"listen unix:(\S+/b)", conf.read_text())[0])
    us = "user root;" if os.geteuid() == 0 else ""  # the folder is ours alone
    running = subprocess.Popen([_program("nginx"), "-c", str(conf), "-g", f"daemon off; {us}"])
    deadline = time.monotonic() + 10
    while not _answers(tls):
        assert running.poll() is None
        assert time.monotonic() < deadline, "nginx did not start"
        time.sleep(0.02)
    yield tls
    running.terminate()
    running.wait(10)
    web.shutdown()
    web.server_close()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:  # it is there a moment before it listens
        return client.connect_ex(str(path)) == 0


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.fail(f"no {name}: apt-get install nginx-light openssl")
    return found


def _configuration(folder: Path, web: str = "web:8000") -> Path:
    """Write our configuration for this machine, with a certificate made for it; return its path."""
    key, certificate, conf = folder / "key.pem", folder / "cert.pem", folder / "nginx.conf"
    subprocess.run(
        [_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=status.test"],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    sockets = tempfile.mkdtemp(prefix="sp")  # a short path: a socket's has 107 characters at most
    text = NGINX.replace("/tmp/", f"{folder}/")
    for ours, here in {
        "/run/secrets/tls_certificate": str(certificate),
        "/run/secrets/tls_key": str(key),
        "/dev/stdout": str(folder / "log"),
        "listen 8080": f"listen unix:{sockets}/a",
        "listen 8443": f"listen unix:{sockets}/b",
        "default web:8000": f"default {web}",
    }.items():
        assert ours in text
        text = text.replace(ours, here)
    conf.write_text(text, encoding="utf-8")
    return conf


@pytest.mark.slow
def test_what_the_image_holds_is_enough_to_run(tmp_path: Path) -> None:
    for name in _copied():
        target = tmp_path / "app" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target)
        else:
            shutil.copy(ROOT / name, target)
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATA_DIR": str(tmp_path / "data"),
    }
    env |= {"TOKEN_FILE": str(tmp_path / "prepared.json"), "SITE_URL": "https://status.example.org"}
    entrypoint = tmp_path / "app" / "docker" / "entrypoint"
    for part in (["manage", "check", "--deploy"], ["prepare"]):
        done = subprocess.run(
            [str(entrypoint), *part],
            cwd=tmp_path / "app",
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert "probe_token" in (tmp_path / "prepared.json").read_text()


def test_hooks_call_only_what_the_venv_holds() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    tools = {hook["entry"].split()[0] for hook in hooks}
    assert sorted(tool for tool in tools if not (ROOT / tool).exists()) == []


def test_the_forge_runs_what_everybody_runs() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["run"]
    assert "3.11" in job["container"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
