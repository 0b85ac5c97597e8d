"""`./run bench NAME [--json]`: one measurement, as words or as one JSON object."""

import argparse
import json
import sys

from benchmarks import fanout, night

# The others of contract.md come with their rooms: page with the face, probes and detection with the eyes.
NAMES = ("night", "fanout")
LATER = ("growth", "page", "probes", "detection")


def bench_night() -> dict[str, object]:
    """Return the night's measurement: from the fault to the last person told."""
    report = night.run(say=lambda line: print(line, file=sys.stderr))
    found = night.figures(report)
    return {
        "value": found["last_told_s"],
        "unit": "s from the fault to the last person told",
        "limit": None,
        "ratio_to_limit": None,
        "figures": found | {"channels": report["channels"], "all_clear": report["all_clear"]},
        "run": "python -m statuspage demo on SQLite and Valkey; 2,000 e-mail, 50 SMS, 20 voice, X, Facebook; "
        "interval 1 s, consecutive 2, no retry, recover 5 s, resolve 0, veto 0",
    }


def _measured(options: argparse.Namespace) -> dict[str, object]:
    if options.name == "fanout":
        parts = tuple(options.part or fanout.PARTS)
        return fanout.run(subscribers=options.subscribers, workers=options.workers, parts=parts)
    return bench_night()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", epilog="Example: ./run bench night --json")
    parser.add_argument("name", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--subscribers", type=int, default=fanout.SUBSCRIBERS, help="of fanout")
    parser.add_argument("--workers", type=int, default=fanout.WORKERS, help="of fanout")
    parser.add_argument(
        "--part", action="append", choices=fanout.PARTS, help="of fanout; may be repeated"
    )
    options = parser.parse_args()
    if options.name in LATER:
        print(f"bench: {options.name} is not there yet; {', '.join(NAMES)} is.", file=sys.stderr)
        return 2
    if options.name not in NAMES:
        parser.error(f"there is no {options.name!r}; expected one of {', '.join(NAMES)}")
    found = _measured(options)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"{found['value']:.1f} {found['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
