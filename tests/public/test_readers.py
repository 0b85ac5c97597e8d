"""What docs/banner.md gives to developers of apps does what it says: the reader in Node, the service worker in Chromium."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from public import statusapi
from public.publish import Publisher
from public.signing import Signer
from tests.public.cast import MAJOR, component, incident, snapshot, update
from tests.public.test_browser import Site, chromium

pytestmark = [pytest.mark.slow, pytest.mark.browser]

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "banner.md").read_text(
    encoding="utf-8"
)
READER, WORKER = re.findall(r"```js\n(.*?)```", TEXT, flags=re.DOTALL)
SECRET = "a secret of this test"
DRIVER = """
import { createPublicKey, verify } from "node:crypto";
import { StatusReader } from "./reader.mjs";
const [key, ...sources] = process.argv.slice(2);
const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(key, "base64")]);
const known = createPublicKey({ key: der, format: "der", type: "spki" });
let passed = 0;
const isSigned = async (bytes, signature) => verify(null, bytes, known, Buffer.from(Buffer.from(signature).toString(), "base64"));
const reader = new StatusReader(sources, { verify: isSigned, clock: () => passed });
const told = [];
const heard = await reader.poll();
told.push(reader.shown());
passed += 299000;
told.push(reader.shown());
passed += 3000;
told.push(reader.shown());
console.log(JSON.stringify({ heard, told }));
"""


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    """A source and a mirror of it."""
    both = [Site(tmp_path / "source"), Site(tmp_path / "mirror")]
    yield both
    for site in both:
        site.server.shutdown()
        site.server.server_close()


def publish(site: Site, name: str, now: datetime, secret: str = SECRET) -> None:
    hurt = component(status=MAJOR)
    one = incident(hurt, name=name, updates=(update(what_to_do="Check the wearer."),))
    Publisher(site.folder, secret=secret).publish(snapshot(one, components=(hurt,), now=now))


def read(tmp_path: Path, sites: list[Site]) -> dict[str, Any]:  # Any: JSON
    node = shutil.which("node")
    assert node, "node is not on this machine; Debian: apt-get install nodejs"
    (tmp_path / "reader.mjs").write_text(READER, encoding="utf-8")
    (tmp_path / "driver.mjs").write_text(DRIVER, encoding="utf-8")
    key = Signer(SECRET).public_key.decode()
    sources = [f"{site.url}/banner.json" for site in sites]
    done = subprocess.run(
        [node, "driver.mjs", key, *sources],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_reader_tells_until_the_answer_is_too_old(tmp_path: Path, sites: list[Site]) -> None:
    now = datetime.now(UTC)
    publish(sites[0], "Told by the source", now)
    found = read(tmp_path, sites[:1])
    assert [one.get("headline") for one in found["told"]][0] == "Told by the source"
    assert found["told"][2] == {
        "state": "unknown", "since": statusapi.iso(now), "what_to_do": "Check the wearer.",
    }  # fmt: skip


def test_the_reader_goes_on_to_a_mirror_when_the_source_is_stale(
    tmp_path: Path, sites: list[Site]
) -> None:
    publish(sites[0], "Of an hour ago", datetime.now(UTC) - timedelta(hours=1))
    publish(sites[1], "Told by the mirror", datetime.now(UTC))
    assert read(tmp_path, sites)["told"][0]["headline"] == "Told by the mirror"


def test_the_reader_believes_no_mirror_that_lies(tmp_path: Path, sites: list[Site]) -> None:
    publish(sites[0], "Of an hour ago", datetime.now(UTC) - timedelta(hours=1))
    publish(sites[1], "A lie", datetime.now(UTC), secret="another one")
    told = read(tmp_path, sites)["told"][0]
    assert told["state"] == "unknown"
    assert "headline" not in told


def test_the_reader_says_since_nothing_when_nobody_ever_answered(
    tmp_path: Path, sites: list[Site]
) -> None:
    found = read(tmp_path, sites)
    assert found["heard"] is False
    assert found["told"][0] == {"state": "unknown", "since": None, "what_to_do": None}


def test_the_service_worker_keeps_the_last_answer_and_never_makes_it_younger(
    tmp_path: Path, sites: list[Site]
) -> None:
    source, app = sites
    publish(source, "Told by the source", datetime.now(UTC))
    app.worker = WORKER.encode()
    address = f"{source.url}/banner.json"
    ask = "async url => { const a = await fetch(url); return [a.headers.get('Date'), (await a.json()).generated_at]; }"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        app.policy = (
            f"default-src 'none'; script-src 'self'; worker-src 'self'; connect-src {source.url}"
        )
        page.goto(f"{app.url}/an-app")
        page.evaluate(
            "navigator.serviceWorker.register('/worker').then(() => navigator.serviceWorker.ready)"
        )
        page.reload()
        page.wait_for_function("navigator.serviceWorker.controller !== null")
        dated, made = page.evaluate(ask, address)
        assert dated
        source.server.shutdown()
        source.server.server_close()
        assert page.evaluate(ask, address) == [None, made]
        browser.close()


def test_the_key_in_the_shell_recipe_is_that_of_ed25519() -> None:
    """The prefix of a SubjectPublicKeyInfo of Ed25519 (RFC 8410), before the 32 bytes."""
    assert "302a300506032b6570032100" in TEXT
    assert len(base64.b64decode(Signer(SECRET).public_key)) == 32
