"""Further places for the same files: folders, and buckets that speak S3."""

import logging
import threading
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from public import files, serve, watchdog

log = logging.getLogger(__name__)

MIRRORS_MAX = 4
FILES_MAX = 20_000  # waiting for a mirror that hangs; a whole installation is smaller
S3 = "s3://"
_CONNECT_S, _READ_S, _TRIES = 5, 15, 2


class Place(Protocol):
    """Where a mirror keeps its files; all raise Unreachable or OSError."""

    def write(self, path: str, body: bytes) -> None: ...

    def remove(self, path: str) -> None: ...

    def names(self) -> set[str]:
        """Return the paths that are there."""

    def is_swapped(self) -> bool:
        """True once after a watchdog over there has put its files in the place of ours."""


class Unreachable(Exception):
    """A bucket does not take what it was given; the text says why."""


_FORESEEN = (OSError, Unreachable, BotoCoreError, ValueError)  # their text says what is wrong


class Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, path: str, body: bytes) -> None:
        if _is_public(path):
            files.write(self._folder, path, body)
        else:  # what a watchdog over there needs
            files.replace(self._folder / path, body)

    def remove(self, path: str) -> None:
        files.remove(self._folder, path)

    def names(self) -> set[str]:
        return set(_published(self._folder))

    def is_swapped(self) -> bool:
        return watchdog.take_back(self._folder)


class Bucket:
    """A bucket at s3://bucket/prefix; keys and endpoint are the AWS SDK's own variables."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._name, self._prefix = parts.netloc, parts.path.strip("/")
        limits = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": _TRIES, "mode": "standard"},
        )
        self._client = boto3.session.Session().client("s3", config=limits)

    def write(self, path: str, body: bytes) -> None:
        # Not compressed: a bucket cannot ask who takes what. Its CDN can.
        if not _is_public(path):
            return  # nobody over there could swap anything in
        try:
            self._client.put_object(
                Bucket=self._name,
                Key=self._key(path),
                Body=body,
                ContentType=serve.kind(path),
                CacheControl=serve.CACHE,
            )
        except (BotoCoreError, ClientError) as error:
            raise Unreachable(str(error)) from error

    def remove(self, path: str) -> None:
        if not _is_public(path):
            return
        try:
            self._client.delete_object(Bucket=self._name, Key=self._key(path))
        except (BotoCoreError, ClientError) as error:
            raise Unreachable(str(error)) from error

    def names(self) -> set[str]:
        start, found = self._key(""), set()
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._name, Prefix=start, PaginationConfig={"MaxItems": FILES_MAX}
            )
            for page in pages:
                found |= {row["Key"].removeprefix(start) for row in page.get("Contents", [])}
        except (BotoCoreError, ClientError) as error:
            raise Unreachable(str(error)) from error
        return found

    def is_swapped(self) -> bool:
        return False

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path


class Mirror:
    """One further place, written by its own thread: a mirror that hangs holds nobody up."""

    def __init__(self, name: str, source: Path) -> None:
        self._name = name
        self._source = source  # the folder that it is a mirror of
        self._place: Place | None = None
        self._is_gone: Callable[[str], bool] = lambda path: False
        # A newer content of a path replaces the waiting one.
        self._waiting: dict[str, bytes | None] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._idle = threading.Event()
        self._is_failing = False
        self._all_again = False  # since a watchdog's files are to be replaced there, until all are
        threading.Thread(target=self._run, name=f"mirror {name}", daemon=True).start()

    def put(self, path: str, body: bytes | None) -> None:
        """Queue a file; None removes it."""
        with self._lock:
            if path in self._waiting or len(self._waiting) < FILES_MAX:
                self._waiting.pop(path, None)  # to the end: the index stays last
                self._waiting[path] = body

    def tell_gone(self, is_gone: Callable[[str], bool]) -> None:
        """Note what no longer is on the page; what nobody told of stays, other people's files too."""
        self._is_gone = is_gone

    def wake(self) -> None:
        self._idle.clear()
        self._news.set()

    def finish(self, timeout_s: float) -> None:
        self._idle.wait(timeout_s)

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            with self._lock:
                batch, self._waiting = self._waiting, {}
            self._write_all(batch)
            if not self._news.is_set():
                self._idle.set()

    def _write_all(self, batch: dict[str, bytes | None]) -> None:
        done = 0
        try:
            place = self._place or self._opened()
            self._all_again = place.is_swapped() or self._all_again
            if self._all_again:
                self._write_again(place, set())
                self._all_again = False
            for path, body in batch.items():
                if body is None:
                    place.remove(path)
                else:
                    place.write(path, body)
                done += 1
            self._is_failing = False
        except Exception as error:  # whatever a bucket answers, the thread goes on
            if not self._is_failing:
                why = error.strerror if isinstance(error, OSError) else error
                trace = None if isinstance(error, _FORESEEN) else error
                log.warning("The mirror %s cannot be written: %s.", self._name, why, exc_info=trace)
            self._is_failing = True
            with self._lock:  # for the next pass, unless something newer waits already
                self._waiting = dict(list(batch.items())[done:]) | self._waiting

    def _opened(self) -> Place:
        """Open the place, bring it what it lacks, and take what was deleted while nobody could reach it.

        It may lack pages of long ago, which nobody writes any more.
        """
        place = Bucket(self._name) if self._name.startswith(S3) else Folder(Path(self._name))
        there = place.names()
        self._write_again(place, there)
        for path in filter(self._is_gone, there):
            place.remove(path)
            place.remove(f"{watchdog.PREPARED}/{path}")
        self._place = place
        return place

    def _write_again(self, place: Place, there: set[str]) -> None:
        for path in _published(self._source):
            if path in there:
                continue
            try:
                body = (self._source / path).read_bytes()
            except FileNotFoundError:
                continue  # removed meanwhile
            place.write(path, body)


def _published(folder: Path) -> list[str]:
    """Return the public files of a folder, without their compressed twins."""
    found = (
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not files.is_twin(path.name)
    )
    return list(islice((path for path in found if _is_public(path)), FILES_MAX))


def _is_public(path: str) -> bool:
    """Names that begin with a dot are the publisher's and the watchdog's own, half-written files among them."""
    return not any(part.startswith(".") for part in path.split("/"))


def open_all(names: Sequence[str], source: Path) -> list[Mirror]:
    mirrors = []
    for name in names[:MIRRORS_MAX]:
        if "://" in name and not name.startswith(S3):
            log.warning(
                "PUBLISH_MIRRORS names %s; a mirror is a folder or s3://bucket/prefix.", name
            )
        else:
            mirrors.append(Mirror(name, source))
    return mirrors
