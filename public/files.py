"""Public files on a disk: replaced whole, with compressed twins beside them."""

import gzip
import os
import tempfile
from pathlib import Path

import brotli

GZIP_LEVEL = 6
BROTLI_QUICK = 5  # while people wait for it; polish.py does better later
TWINS = (".gz", ".br")
_NO_TWINS = (".sig", ".key", ".png")  # short, or compressed already


def write(folder: Path, path: str, body: bytes) -> None:
    """Replace the file at once, compressed copies beside it; a reader sees the old or the new one, whole."""
    if has_twins(path):
        replace(folder / f"{path}.gz", gzip.compress(body, GZIP_LEVEL, mtime=0))
        replace(folder / f"{path}.br", brotli.compress(body, quality=BROTLI_QUICK))
    replace(folder / path, body)


def has_twins(path: str) -> bool:
    return not path.endswith(_NO_TWINS)


def is_twin(name: str) -> bool:
    return name.endswith(TWINS)


def remove(folder: Path, path: str) -> None:
    for ending in ("", *TWINS):
        (folder / f"{path}{ending}").unlink(missing_ok=True)


def replace(target: Path, body: bytes) -> None:
    """Write beside `target`, then rename: whole or not at all, also when power fails. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # a web server of another user reads them
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
