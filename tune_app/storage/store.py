"""Files by key, on a disk or in a bucket."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tune_app.storage.atomic import flush, write_atomically


class StorageFailed(Exception):
    """A storage cannot be reached or refuses a request; the trial that used it is not the cause."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Size in bytes and time of change of a file, Unix seconds by the clock of the storage."""

    size: int
    modified: float


class Store(Protocol):
    """Files by key, `a/b/c`. A file appears as a whole or not at all.

    Every method raises `StorageFailed` when the storage does not answer, and `FileNotFoundError`
    when a file that it reads is missing.
    """

    def list(self, prefix: str) -> dict[str, Entry]:
        """All files below the folder `prefix` by key; empty if there is no such folder."""
        ...

    def read(self, key: str) -> bytes: ...

    def write(self, key: str, data: bytes) -> None: ...

    def remove(self, key: str) -> None:
        """Removes one file, if it exists."""
        ...


class FolderStore:
    """A folder of a disk, or of a file system that machines share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self, prefix: str) -> dict[str, Entry]:
        entries = {}
        for path in (self._root / prefix).glob("*"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if not path.name.startswith("."):
                entries[f"{prefix}/{path.name}"] = Entry(stat.st_size, stat.st_mtime)
        return entries

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self._root / key
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, data)

    def remove(self, key: str) -> None:
        (self._root / key).unlink(missing_ok=True)


def clock() -> float:
    """Seconds of a monotonic clock that includes the time while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def sync(folder: Path) -> None:
    """Flushes a folder and the files directly in it to the disk."""
    files = [path for path in folder.iterdir() if path.is_file()]
    for path in (*files, folder):
        flush(path)
