"""The way into every process of a fault test: `python -m tests.faults.entry MODULE ARGUMENTS…`.

Reads FAULTS from the environment, a JSON object that only this file knows: `clock_s` moves this process's clock, `slept` names a file
with how long the machine slept,
`slow` names models whose saves pause (seconds), `chunk_rows` is how many a fan-out queues at once, `claim_rows` how many
a worker claims at least, `mutant` a protection to remove, `ready` a folder where readiness is noted.
"""

import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")

import django

django.setup()

import time_machine
from celery.signals import worker_ready
from django.db import models

from tests.faults import mutants, times


def main() -> None:
    told: dict[str, Any] = json.loads(os.environ["FAULTS"])  # Any: JSON
    name, sys.argv = sys.argv[1], sys.argv[1:]
    if told.get("clock_s"):
        moved = datetime.now(UTC) + timedelta(seconds=told["clock_s"])
        time_machine.travel(moved, tick=True).start()
    if told.get("slept"):
        _sleep_unnoticed(Path(told["slept"]))
    if not told.get("product_times"):
        times.shorten()
    if told.get("chunk_rows"):
        times.constant("CHUNK_ROWS", told["chunk_rows"])
    if told.get("claim_rows"):
        times.constant("CLAIM_ROWS_MIN", told["claim_rows"])
    for model, pause_s in told.get("slow", {}).items():
        _pause_before_writing(model, pause_s)
    if told.get("mutant"):
        mutants.ALL[told["mutant"]].remove()
    worker_ready.connect(_noting(Path(told["ready"]) / os.environ["FAULTS_NAME"]), weak=False)
    module = import_module(name)
    if name.startswith("statuspage"):
        module.main()
    else:
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def _sleep_unnoticed(path: Path) -> None:
    """Let the steady clock stand still for the seconds that `path` names, as in a machine that was suspended."""
    real = time.monotonic

    def monotonic() -> float:
        return real() - (float(path.read_text()) if path.exists() else 0.0)

    time.monotonic = monotonic


def _noting(path: Path) -> Callable[..., None]:
    return lambda **_: path.touch()


def _pause_before_writing(label: str, pause_s: float) -> None:
    """Open a race for as long as `pause_s`: every save of this model waits before it writes."""
    from django.apps import apps

    model: type[models.Model] = apps.get_model(label)
    real = model.save

    def later(self: models.Model, *args: Any, **kwargs: Any) -> None:  # Any: Django's signature
        time.sleep(pause_s)
        real(self, *args, **kwargs)

    model.save = later  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
