"""One study in its storage: what a session of its driver, or a reader, does with it."""

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
"""While it is in a study, trials save a checkpoint and end their segments."""


class StoredStudy(Protocol):
    """A study's folder on this machine, and what keeps its storage in step with it.

    A session holds the lease from `open_session` to `close_session`; in between `check` and
    `commit` are what its journal asks for.
    """

    folder: Path
    address: str
    """Where it lives, for people: a path or a URL."""
    url: str | None
    """Where workers find the storage of checkpoints, None for the folder itself."""
    checkpoints: CheckpointStore

    def refresh(self) -> None:
        """Brings the folder up to the storage, unless a driver on this machine writes it now."""
        ...

    def holder(self) -> Holder | None:
        """The driver that has the study now, as far as can be told."""
        ...

    def open_session(self) -> None:
        """Takes the lease; the caller holds the lock of the journal in `folder`.

        Raises:
            UserError: another driver has it.
        """
        ...

    def check(self) -> None:
        """Raises UserError when the lease is lost."""
        ...

    def commit(self) -> None:
        """Makes what is in the journal durable.

        Raises:
            UserError: the storage does not take it.
        """
        ...

    def bring(self, part: str) -> None:
        """Brings what is newer in a folder of the storage, one that is not kept another way.

        Raises:
            StorageFailed: it does not give it.
        """
        ...

    def publish(self, part: str = "") -> None:
        """Brings report, tables and logs to the storage, or one folder of them.

        Raises:
            StorageFailed: it does not take them.
        """
        ...

    def stop(self, wanted: bool) -> None:
        """Asks running trials to save and end, or takes that back. Never waits, never fails."""
        ...

    def is_stopping(self) -> bool:
        """Whether that is asked; for workers."""
        ...

    def close_session(self) -> None: ...

    def delete(self) -> None:
        """Removes the study, of which nothing was spent yet."""
        ...


class FolderStudy:
    """A study that lives in its folder."""

    url: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder)
        self.checkpoints: CheckpointStore = FolderCheckpoints(folder)
        self._store = FolderStore(folder)
        self._lease: Lease | None = None

    def refresh(self) -> None:
        """The folder is the storage."""

    def holder(self) -> Holder | None:
        return living(holders(self._store), self.folder)

    def open_session(self) -> None:
        self._lease = Lease(self._store, place_of(self.folder), self.address)

    def check(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def commit(self) -> None:
        """The disk has it already."""

    def bring(self, part: str) -> None:
        """It is here."""

    def publish(self, part: str = "") -> None:
        """It is where it belongs."""

    def stop(self, wanted: bool) -> None:
        mark(self.folder, wanted)

    def is_stopping(self) -> bool:
        return (self.folder / STOP_FILE).exists()

    def close_session(self) -> None:
        if self._lease is not None:
            self._lease.release()

    def delete(self) -> None:
        # One that was lost on the way belongs to somebody else.
        with suppress(UserError):
            self.check()
            shutil.rmtree(self.folder)


def mark(folder: Path, wanted: bool) -> None:
    """Leaves or removes the sign that trials on this machine are to stop, if the disk lets it."""
    # From a signal handler, it would be raised into whatever that interrupted.
    with suppress(OSError):
        if wanted:
            (folder / STOP_FILE).touch()
        else:
            (folder / STOP_FILE).unlink(missing_ok=True)


def living(found: list[Holder], folder: Path) -> Holder | None:
    """The first claim that can be true: where its lock can be seen from here, the lock decides."""
    for holder in found:
        if holder.place != place_of(folder) or journal.is_locked(folder):
            return holder
    return None
