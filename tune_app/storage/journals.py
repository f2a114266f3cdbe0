"""The journal of a study in a bucket, whose objects cannot be appended to.

Each session of a driver copies the journal into a new folder with the next number: first all lines
so far as one object, then chunks. The last chunk is rewritten as it grows; a large one is followed
by the next. Readers use the folder with the highest number, so the writes of a driver that lost its
lease unnoticed are ignored. Objects are written as a whole, so there are no torn lines.
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
"""A chunk is rewritten with each push until it has this size."""

_READS = 3
"""How often a read is tried when a new session removes the old one meanwhile."""


def sessions(store: ObjectStore) -> list[str]:
    """The folders of a journal's sessions, oldest first.

    Raises:
        StorageFailed: the bucket does not answer.
    """
    keys = store.list(FOLDER)
    return sorted({key.split("/")[1] for key in keys if key.endswith("/000000.jsonl")})


def read(store: ObjectStore) -> bytes:
    """The whole journal; empty when there is none.

    Raises:
        StorageFailed: the bucket does not answer, or sessions change faster than they are read.
    """
    for attempt in range(_READS):
        folders = sessions(store)
        if not folders:
            return b""
        try:
            keys = sorted(store.list(f"{FOLDER}/{folders[-1]}"))
            return b"".join(store.read(key) for key in keys)
        except FileNotFoundError as error:
            if attempt == _READS - 1:
                raise StorageFailed(f"{store.url}: the journal changes while it is read") from error
    raise AssertionError("unreachable")


class Pusher:
    """Copies the journal on this disk to the bucket, for one session."""

    def __init__(self, store: ObjectStore, path: Path, token: str) -> None:
        self._store = store
        self._path = path
        folders = sessions(store)
        number = int(folders[-1].partition("-")[0]) + 1 if folders else 1
        self._folder = f"{FOLDER}/{number:06d}-{token}"
        # The last session is kept for its current readers.
        self._outdated = folders[:-1]
        self._lock = threading.Lock()
        self._chunk, self._begin, self._end = 0, 0, 0

    def push(self) -> None:
        """Copies the lines since the last push to the bucket.

        Raises:
            StorageFailed: the bucket does not accept them; the next push tries again.
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
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        """Removes sessions that have no readers any more, once this one can be read."""
        outdated, self._outdated = self._outdated, []
        for name in outdated:
            self._store.remove_folder(f"{FOLDER}/{name}")


def _whole_lines(data: bytes) -> bytes:
    """The data without an incomplete last line, which is being written or truncated."""
    return data[: data.rfind(b"\n") + 1]
