"""`bench soak`: an hour of incidents, kills and restarts (tests/faults/soak.py); figures first and last."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 60.0
SPARE_S = 900.0


def run(*, minutes: float = MINUTES) -> dict[str, Any]:  # Any: JSON
    """Run it; return contract.md's object. Raises RuntimeError in words when it did not come to its end."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "faults", "tests/faults/soak.py"]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "SOAK": json.dumps({"minutes": minutes})},
        capture_output=True, text=True, check=False, timeout=minutes * 60 + SPARE_S,
    )  # fmt: skip
    said = re.search(r"^SOAK (.+)$", done.stderr, re.MULTILINE)
    if said is None:
        raise RuntimeError(f"the soak did not come to its end: {done.stdout[-1500:]}")
    found: dict[str, Any] = json.loads(said[1])
    broken = found["verdict"].partition("BROKEN ")[2]
    return {
        "value": found["last"]["worker-email"]["memory_mb"],
        "unit": "MB of the workers at the end",
        "limit": found["first"]["worker-email"]["memory_mb"],
        "ratio_to_limit": round(
            found["last"]["worker-email"]["memory_mb"]
            / found["first"]["worker-email"]["memory_mb"], 2
        ),
        "figures": found | {"passed": done.returncode == 0, "broken": broken},
        "run": f"{minutes:.0f} min, an incident and its end every 2 min to 300 people, a process killed about every 40 s, "
        "Valkey killed twice, PostgreSQL once; the product's own times",
    }  # fmt: skip
