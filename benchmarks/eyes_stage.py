"""Plays scenarios in real time inside namespaces of its own: `python -m benchmarks.eyes_stage`; prints a Point per line.

Run by benchmarks/accept_eyes.py through eyes_net.enclose(), never by hand outside of it.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import eyes_room
from benchmarks.eyes_room import LOCATIONS
from benchmarks.eyes_scaled import prepare
from benchmarks.probes_stage import NotHere
from statuspage.supervisor import CannotStart


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eyes_stage")
    parser.add_argument("--agents", type=int, default=len(LOCATIONS), help="how many locations")
    parser.add_argument("--only", default="", help="scenarios by number, with commas between")
    given = parser.parse_args()
    if os.getpid() != 1:
        parser.error("it has to be the first process of namespaces of its own")
    folder = Path(os.environ["DATA_DIR"])
    try:
        with eyes_room.open_room(folder, LOCATIONS[: given.agents]) as room:
            prepare("gunicorn")  # Django, and the same seconds here as in the processes
            from benchmarks import eyes_scenarios

            numbers = tuple(given.only.split(",")) if given.only else eyes_scenarios.NUMBERS
            play = eyes_scenarios.Play(room, lambda line: print(line, file=sys.stderr, flush=True))
            for point in play.play(numbers):
                print(json.dumps(asdict(point)), flush=True)
    except (NotHere, CannotStart) as error:
        print(f"eyes: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
