"""Breaks what a test is to see mended."""

from pathlib import Path


def put_folder_in_place_of(file: Path) -> None:
    """Let it be impossible to write, for root as well."""
    file.unlink()
    file.mkdir()
