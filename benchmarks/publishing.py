"""What publishing one update costs, with a long history and a short one: a process of its own with a fresh database."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import django

from benchmarks.alone import ahead

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
RESTORE_PASSES = 26
START_S = 240.0


def measured(days: int, folder: Path) -> dict[str, float]:
    """Return `publish_s` (median), `best_s`, `worst_s`, `cpu_s`, and sizes in bytes of the index with one open incident."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.publishing", "--days", str(days)],
        cwd=ROOT,
        env=_env(folder),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def publish_once(folder: Path) -> None:
    """Publish one update more of an installation that measured() made."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.publishing", "--again", "0.01"],
        cwd=ROOT, env=_env(folder), stdout=subprocess.DEVNULL, check=True, timeout=START_S,
    )  # fmt: skip


def _env(folder: Path) -> dict[str, str]:
    return {**os.environ, "DATA_DIR": str(folder), "DATABASE_URL": "", "PUBLISH_DIR": ""}


def _main(days: int) -> None:
    from django.conf import settings
    from django.core.management import call_command
    from django.utils import timezone

    from benchmarks import crowd
    from incidents import services
    from incidents.lifecycle import ComponentStatus, Status
    from incidents.models import Component
    from public import clock

    call_command("migrate", verbosity=0, interactive=False)
    page = crowd.build(since=timedelta(days=days))
    ahead()  # what fills the database may wait for others
    started = time.perf_counter()
    clock.tick(timezone.now())
    first_s = time.perf_counter() - started
    for number in range(
        RESTORE_PASSES
    ):  # a new folder gets the pages of old incidents back, some in each pass
        clock.tick(timezone.now() + timedelta(seconds=11 * (number + 1)))
    part = Component.objects.get(slug="part-7")
    incident = services.declare(
        page=page, name="Followers may not receive readings or alerts", body="We are looking. " * 10,
        what_to_do="Check the wearer or their own device now.", actor="benchmark", now=timezone.now(),
        components={part: ComponentStatus.MAJOR_OUTAGE},
    )  # fmt: skip
    clock.tick(timezone.now())
    took, cpu = [], []
    for number in range(ROUNDS):
        now = timezone.now()
        services.publish_update(
            incident, status=Status.IDENTIFIED, body=f"We have found the cause ({number}). " * 5,
            actor="benchmark", now=now, next_update_by=now + timedelta(minutes=20),
        )  # fmt: skip
        started, began = time.perf_counter(), time.process_time()
        clock.tick(timezone.now())
        took.append(time.perf_counter() - started)
        cpu.append(
            time.process_time() - began
        )  # of all its threads; a busy machine does not lengthen it
    folder = Path(settings.PUBLISH_DIR)
    index = folder / "index.html"
    sizes = {
        "index_bytes": index.stat().st_size,
        "index_gzip_bytes": (folder / "index.html.gz").stat().st_size,
        "index_brotli_bytes": (folder / "index.html.br").stat().st_size,
        "files": sum(1 for path in folder.rglob("*") if path.is_file()),
    }
    print(
        json.dumps(
            {
                "publish_s": statistics.median(took),
                "best_s": min(took),
                "worst_s": max(took),
                "cpu_s": statistics.median(cpu),
                "first_s": first_s,
            }
            | sizes
        )
    )


def _again(seconds: float) -> None:
    """Publish one update after the other; as urgent as what started this, as a clock beside its nginx is."""
    from django.utils import timezone

    from incidents import services
    from incidents.lifecycle import Status
    from incidents.models import Incident
    from public import clock

    incident = Incident.objects.order_by("-id").first()
    assert incident is not None
    clock.tick(timezone.now())
    print("publishing", flush=True)
    took: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        services.publish_update(
            incident, status=Status.IDENTIFIED, body="We have found the cause. " * 5,
            actor="benchmark", now=timezone.now(),
        )  # fmt: skip
        started = time.perf_counter()
        clock.tick(timezone.now())
        took.append(time.perf_counter() - started)
    print(json.dumps({"publish_s": statistics.median(took), "worst_s": max(took)}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishing")
    parser.add_argument("--days", type=int, default=30, help="how long it has been running")
    parser.add_argument(
        "--again",
        type=float,
        metavar="S",
        help="publish one update after the other on what is there",
    )
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "statuspage.settings"
    django.setup()
    if options.again:
        _again(options.again)
    else:
        _main(options.days)
    return 0


if __name__ == "__main__":
    sys.exit(main())
