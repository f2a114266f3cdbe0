"""Files under names, on a disk or in a bucket: the little that a study needs of either."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tune_app.storage.atomic import flush, write_atomically


class StorageFailed(Exception):
    """A storage cannot be reached, or refuses; says nothing about the trial that met it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a file without reading it. The time is by the clock of the storage."""

    size: int
    modified: float


class Store(Protocol):
    """Files by key, `a/b/c`. A file is there as a whole or not at all.

    All of it raises StorageFailed when the storage does not answer; what is not there is a
    FileNotFoundError.
    """

    def list(self, prefix: str) -> dict[str, Entry]:
        """All files below the folder `prefix` by key; none if there is no such folder."""
        ...

    def read(self, key: str) -> bytes: ...

    def write(self, key: str, data: bytes) -> None: ...

    def remove(self, key: str) -> None:
        """Removes one file; none is there afterwards, whether there was one or not."""
        ...


class FolderStore:
    """A folder of a disk, or of a file system that machines share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self, prefix: str) -> dict[str, Entry]:
        found = {}
        for path in (self._root / prefix).glob("*"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if not path.name.startswith("."):
                found[f"{prefix}/{path.name}"] = Entry(stat.st_size, stat.st_mtime)
        return found

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self._root / key
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, data)

    def remove(self, key: str) -> None:
        (self._root / key).unlink(missing_ok=True)


def clock() -> float:
    """Seconds that go on while the machine sleeps, as they do for everybody else."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def sync(folder: Path) -> None:
    """Brings the names in a folder, and the files right in it, to the disk itself."""
    files = [path for path in folder.iterdir() if path.is_file()]
    for path in (*files, folder):
        flush(path)
