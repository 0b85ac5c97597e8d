"""`./run accept ROOM`: one line per promised point: pass, fail or not done, with the figure and what was run."""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

ROOMS = ("night", "eyes", "voice", "reach", "face", "people", "desk", "doors", "production")


@dataclass(frozen=True, slots=True)
class Point:
    """One promised point and how it came out; `passed` None means that it is not done."""

    promise: str
    passed: bool | None
    figure: str
    ran: str

    def line(self) -> str:
        word = {True: "pass", False: "fail", None: "not done"}[self.passed]
        return f"{word:<8} {self.promise}: {self.figure} [{self.ran}]"


Points = Callable[[], Iterable[Point]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run accept", epilog="Example: ./run accept night")
    parser.add_argument("room", choices=ROOMS)
    room = parser.parse_args().room
    try:
        points: Points = importlib.import_module(f"benchmarks.accept_{room}").points
    except ModuleNotFoundError as error:
        if error.name != f"benchmarks.accept_{room}":
            raise
        print(f"not done {room}: no point of this room is measured yet", flush=True)
        return 1
    good = True
    for point in points():
        print(point.line(), flush=True)
        good = good and point.passed is True
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
