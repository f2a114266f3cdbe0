"""One study in its storage, for a session of its driver or for readers."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tune_app.core import journal
from tune_app.errors import UserError
from tune_app.storage.checkpoints import CheckpointStore, FolderCheckpoints
from tune_app.storage.lease import Holder, Lease, holders, place_of
from tune_app.storage.store import FolderStore

STOP_FILE = ".stop"
"""While this file is in a study's folder, trials save a checkpoint and end their segments."""


class StoredStudy(Protocol):
    """A study's folder on this machine, and its synchronisation with the storage.

    A session holds the lease from `open_session` to `close_session`. In between its journal calls
    `check` and `commit`.
    """

    folder: Path
    address: str
    """Where the study lives, for people: a path or a URL."""
    url: str | None
    """URL of the storage for workers; None: the folder itself."""
    checkpoints: CheckpointStore

    def refresh(self) -> None:
        """Updates the folder from the storage, unless a driver on this machine is writing it.

        Raises:
            StorageFailed: the storage does not answer.
        """
        ...

    def holder(self) -> Holder | None:
        """The driver that runs the study now, None if none is known.

        Raises:
            StorageFailed: the storage does not answer.
        """
        ...

    def open_session(self) -> None:
        """Takes the lease; the caller holds the lock of the journal in `folder`.

        Raises:
            UserError: another driver has the lease.
            StorageFailed: the storage does not answer.
        """
        ...

    def check(self) -> None:
        """Checks the lease.

        Raises:
            UserError: the lease is lost.
        """
        ...

    def commit(self) -> None:
        """Makes the journal durable.

        Raises:
            UserError: the storage does not accept it.
        """
        ...

    def download(self, part: str) -> None:
        """Downloads newer files below the folder `part`, except journal and checkpoints.

        Raises:
            StorageFailed: the storage does not answer.
        """
        ...

    def publish(self, part: str = "") -> None:
        """Uploads changed files (report, views, logs), or those below the folder `part` only.

        Raises:
            StorageFailed: the storage does not accept them.
        """
        ...

    def stop(self, requested: bool) -> None:
        """Asks running trials to save and end, or withdraws the request; never blocks or raises."""
        ...

    def is_stopping(self) -> bool:
        """Whether trials are asked to save and end; called by workers."""
        ...

    def close_session(self) -> None:
        """Releases the lease; does nothing without one."""
        ...

    def delete(self) -> None:
        """Removes the study; called only before its first trial."""
        ...


class FolderStudy:
    """A study whose storage is its folder."""

    url: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder)
        self.checkpoints: CheckpointStore = FolderCheckpoints(folder)
        self._store = FolderStore(folder)
        self._lease: Lease | None = None

    def refresh(self) -> None:
        """Does nothing: the folder is the storage."""

    def holder(self) -> Holder | None:
        return living(holders(self._store), self.folder)

    def open_session(self) -> None:
        self._lease = Lease(self._store, place_of(self.folder), self.address)

    def check(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def commit(self) -> None:
        """Does nothing: the journal is on the disk."""

    def download(self, part: str) -> None:
        """Does nothing: the folder is the storage."""

    def publish(self, part: str = "") -> None:
        """Does nothing: the folder is the storage."""

    def stop(self, requested: bool) -> None:
        mark(self.folder, requested)

    def is_stopping(self) -> bool:
        return (self.folder / STOP_FILE).exists()

    def close_session(self) -> None:
        if self._lease is not None:
            self._lease.release()

    def delete(self) -> None:
        # A study whose lease was lost belongs to another driver.
        with suppress(UserError):
            self.check()
            shutil.rmtree(self.folder)


def mark(folder: Path, requested: bool) -> None:
    """Creates or removes the stop file in a study's folder; errors of the disk are ignored."""
    # Called from a signal handler, which must not raise into the code that it interrupted.
    with suppress(OSError):
        if requested:
            (folder / STOP_FILE).touch()
        else:
            (folder / STOP_FILE).unlink(missing_ok=True)


def living(candidates: list[Holder], folder: Path) -> Holder | None:
    """The first holder that may be alive: for one on this machine, the journal's lock decides."""
    for holder in candidates:
        if holder.place != place_of(folder) or journal.is_locked(folder):
            return holder
    return None
