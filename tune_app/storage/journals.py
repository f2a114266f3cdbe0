"""The journal of a study in a bucket, where nothing can be appended to.

Each session of a driver writes the journal anew, into a folder with the next number: first all
there is, as one object, then a chunk that is written again as it grows, and a new one when it is
large. Readers take the folder with the highest number. So a driver that lost its lease without
knowing can write what it likes, nobody reads it; and a chunk is written as a whole or not at all,
so that there are no torn lines.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tune_app.storage.store import StorageFailed

if TYPE_CHECKING:
    from tune_app.storage.objects import ObjectStore

FOLDER = "journal"
CHUNK_BYTES = 262_144
"""A chunk is written again with each push until it has this size."""

_READS = 3
"""Times that a journal is read when the next session throws the old one away meanwhile."""


def sessions(store: ObjectStore) -> list[str]:
    """The folders of a journal, oldest first."""
    keys = store.list(FOLDER)
    return sorted({key.split("/")[1] for key in keys if key.endswith("/000000.jsonl")})


def read(store: ObjectStore) -> bytes:
    """The whole journal; empty when there is none."""
    for attempt in range(_READS):
        found = sessions(store)
        if not found:
            return b""
        try:
            keys = sorted(store.list(f"{FOLDER}/{found[-1]}"))
            return b"".join(store.read(key) for key in keys)
        except FileNotFoundError as error:
            if attempt == _READS - 1:
                raise StorageFailed(f"{store.url}: the journal changes while it is read") from error
    raise AssertionError("unreachable")


class Pusher:
    """Keeps the bucket's journal up to the one on this disk, for one session."""

    def __init__(self, store: ObjectStore, path: Path, token: str) -> None:
        self._store = store
        self._path = path
        found = sessions(store)
        number = int(found[-1].partition("-")[0]) + 1 if found else 1
        self._folder = f"{FOLDER}/{number:06d}-{token}"
        # One is left for those who are reading it.
        self._outdated = found[:-1]
        self._lock = threading.Lock()
        self._chunk, self._begin, self._end = 0, 0, 0

    def push(self) -> None:
        """Brings what was appended since the last push to the bucket.

        Raises:
            StorageFailed: the bucket does not take it; the next push tries again.
        """
        with self._lock, open(self._path, "rb") as file:
            file.seek(self._begin)
            data = _whole_lines(file.read())
            end = self._begin + len(data)
            if end == self._end:
                return
            self._store.write(f"{self._folder}/{self._chunk:06d}.jsonl", data)
            self._end = end
            if self._chunk == 0 or len(data) >= CHUNK_BYTES:
                self._chunk, self._begin = self._chunk + 1, end
        self._forget()

    def _forget(self) -> None:
        """Throws away sessions that no reader reads any more, once this one can be read."""
        outdated, self._outdated = self._outdated, []
        for name in outdated:
            self._store.remove_folder(f"{FOLDER}/{name}")


def _whole_lines(data: bytes) -> bytes:
    """Without a last line that is being written, or taken back since the disk is full."""
    return data[: data.rfind(b"\n") + 1]
