"""The command line of `./run serve` and `./run demo`."""

import argparse
import sys

from statuspage import demonstration, supervisor


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./run", description="Run a small installation, or the demo."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser(
        "serve", epilog="Example: ./run serve --port 8000 --data /var/lib/statuspage"
    )
    server.add_argument(
        "--data", help="folder of the database, published files and logs (DATA_DIR)"
    )
    show = commands.add_parser("demo", epilog="Example: ./run demo --night --report night.json")
    show.add_argument("--night", action="store_true", help="play the night unattended, then end")
    show.add_argument("--report", help="where to write the night's report as JSON")
    for command in (server, show):
        command.add_argument(
            "--port", type=int, default=None, help=f"port to listen on (default {supervisor.PORT})"
        )
        command.add_argument("--host", default="127.0.0.1", help="address to listen on")
    options = parser.parse_args()
    try:
        if options.command == "demo":
            return demonstration.run(options)
        supervisor.serve(options)
    except supervisor.CannotStart as error:
        supervisor.say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
