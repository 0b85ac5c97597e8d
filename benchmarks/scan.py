"""A dynamic scan of the running demo by Wapiti, as a stranger and as an operator: `python -m benchmarks.scan`.

Wapiti comes from PyPI into a folder of its own: its packages are none of ours. What it needs a server in the internet
for (ssrf, xxe by call-back) is left out. Prints one JSON object: pages seen, modules run, what was found.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import requests

from benchmarks import stage
from benchmarks.bare_root import Failed

WAPITI = "wapiti3==3.2.3"
MODULES = ("cookieflags", "crlf", "csp", "exec", "file", "http_headers", "redirect", "sql", "upload", "xss")  # fmt: skip
STRANGER = ("shellshock", "log4shell", "htaccess", "backup")
OPERATOR = ("csrf",)
CRAWL_S, MODULE_S, ALL_S = 90, 20, 900.0


def run() -> dict[str, Any]:  # Any: JSON
    """Scan twice; return what each of them saw."""
    with tempfile.TemporaryDirectory(prefix="sp-scan-") as name, stage.running() as demo:
        folder = Path(name)
        wapiti = _install(folder)
        told = json.loads((demo.data_dir / "demo.json").read_text(encoding="utf-8"))
        site = told["page"].rstrip("/")
        who = ["-C", _signed_in(f"{site}/admin/login/", told["user"], told["password"])]
        out = [word for path in ("accounts", "admin") for word in ("-x", f"{site}/{path}/logout/")]
        found = {
            "stranger": _scan(wapiti, folder / "stranger", f"{site}/", (*MODULES, *STRANGER), []),
            "operator": _scan(
                wapiti, folder / "operator", f"{site}/desk/", (*MODULES, *OPERATOR), [*who, *out]
            ),
        }
        # A server that died on the way would have been found clean.
        with urllib.request.urlopen(f"{site}/", timeout=30) as page:
            if page.status != 200:
                raise Failed(f"after the scan the page answers {page.status}")
        return found


def _signed_in(url: str, user: str, password: str) -> str:
    """Return the cookies of a session at the desk."""
    with requests.Session() as session:
        session.get(url, timeout=30)
        form = {"csrfmiddlewaretoken": session.cookies["csrftoken"], "next": "/desk/"}
        answer = session.post(url, form | {"username": user, "password": password, "login": user}, timeout=30, headers={"Referer": url})  # fmt: skip
        if "sessionid" not in session.cookies:
            raise Failed(f"signing in at {url} gave no session: {answer.status_code}")
        return "; ".join(f"{each.name}={each.value}" for each in session.cookies)


def _install(folder: Path) -> Path:
    venv = folder / "venv"
    for command in (
        [sys.executable, "-m", "venv", str(venv)],
        [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", WAPITI],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ALL_S)
        if done.returncode:
            raise Failed(f"{WAPITI} could not be installed: {done.stderr.strip()[-200:]}")
    return venv / "bin" / "wapiti"


def _scan(
    wapiti: Path, folder: Path, url: str, modules: tuple[str, ...], more: list[str]
) -> dict[str, Any]:
    folder.mkdir()
    report = folder / "report.json"
    bounds = ["--max-scan-time", str(CRAWL_S), "--max-attack-time", str(MODULE_S), "--max-links-per-page", "40"]  # fmt: skip
    done = subprocess.run(
        [str(wapiti), "-u", url, "--scope", "domain", "-m", ",".join(modules), "-f", "json", "-o", str(report), *bounds, *more],
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=ALL_S,
    )  # fmt: skip
    if done.returncode or not report.exists():
        raise Failed(f"Wapiti ended with {done.returncode}: {done.stdout.strip()[-200:]}")
    seen = json.loads(report.read_text(encoding="utf-8"))
    findings = [
        f"{kind}: {each['method']} {each['path']}: {each['info'][:120]}"
        for part in ("vulnerabilities", "anomalies")
        for kind, entries in seen[part].items()
        for each in entries
    ]
    pages = seen["infos"]["crawled_pages_nbr"]
    if not pages:
        raise Failed(f"Wapiti saw no page of {url}")
    return {"pages": pages, "modules": len(modules), "findings": findings}


if __name__ == "__main__":
    try:
        print(json.dumps(run(), indent=1))
    except Failed as error:
        sys.exit(f"scan: {error}")
