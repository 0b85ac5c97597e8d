"""`./run bench NAME [--json]`: one measurement, as words or as one JSON object."""

import argparse
import json
import sys

from benchmarks import detection, fanout, growth, night, night_production, page, probes, soak
from benchmarks.probes_stage import NotHere

NAMES = ("night", "detection", "fanout", "growth", "page", "probes", "shots", "soak")


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


def bench_night_production(subscribers: int = night_production.SUBSCRIBERS) -> dict[str, object]:
    """Return the night with real servers, so many people and readers of the page."""
    return night_production.run(
        subscribers=subscribers, say=lambda line: print(line, file=sys.stderr, flush=True)
    )


def bench_probes(minutes: float) -> dict[str, object]:
    """Return one agent's pace, its punctuality and its memory."""
    return probes.run(minutes=minutes, say=lambda line: print(line, file=sys.stderr, flush=True))


def _measured(options: argparse.Namespace) -> dict[str, object]:
    match options.name:
        case "fanout":
            parts = tuple(options.part or fanout.PARTS)
            people = options.subscribers or fanout.SUBSCRIBERS
            return fanout.run(subscribers=people, workers=options.workers, parts=parts)
        case "growth":
            return growth.run()
        case "probes":
            return bench_probes(probes.MINUTES if options.minutes is None else options.minutes)
        case "page":
            return page.run()
        case "shots":
            from benchmarks import shots  # it makes Django ready, which the others do without

            return shots.run()
        case "soak":
            return soak.run(minutes=options.minutes or soak.MINUTES)
        case _ if options.profile == "production":
            return bench_night_production(options.subscribers or night_production.SUBSCRIBERS)
        case _:
            return bench_night()


def main() -> int:
    if sys.argv[1:2] == ["detection"]:
        # It has options of its own.
        return detection.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="./run bench", epilog="Example: ./run bench night --json")
    parser.add_argument("name", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--minutes",
        type=float,
        help="probes: of the long run, 0 leaves it out; soak: of all, 60 unless told",
    )
    parser.add_argument(
        "--subscribers", type=int, help="of fanout, or of night --profile production"
    )
    parser.add_argument("--workers", type=int, default=fanout.WORKERS, help="of fanout")
    parser.add_argument(
        "--part", action="append", choices=fanout.PARTS, help="of fanout; may be repeated"
    )
    parser.add_argument(
        "--profile",
        choices=("small", "production"),
        default="small",
        help="of night: SQLite and 2,000 people, or real servers and 50,000",
    )
    options = parser.parse_args()
    if options.name not in NAMES:
        parser.error(f"there is no {options.name!r}; expected one of {', '.join(NAMES)}")
    try:
        found = _measured(options)
    except NotHere as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(found))
    else:
        print(f"{found['value']:.1f} {found['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
