"""One study in its storage: what a session of its driver, or a reader, does with it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tune_app import journal
from tune_app.errors import Problem, UserError
from tune_app.storage import journals
from tune_app.storage.checkpoints import FOLDER, BucketShelf, FolderShelf, Shelf
from tune_app.storage.lease import CLAIMS, Holder, Lease, holders, place_of
from tune_app.storage.store import FolderStore, StorageFailed, clock

if TYPE_CHECKING:
    from tune_app.storage.objects import ObjectStore

STOP_FILE = ".stop"
"""While it is in a study, trials save a checkpoint and end their segments."""

CONTROL = "control"
"""The folder of a bucket for what others ask of its workers; `stop` in it is the same."""

STOP_POLL_S = 5.0
"""How often a trial asks a bucket for it: each question is a request that costs money."""


class Study(Protocol):
    """A study's folder on this machine, and what keeps its storage in step with it.

    A session holds the lease from `open_session` to `close_session`; in between `check` and
    `commit` are what its journal asks for.
    """

    folder: Path
    address: str
    """Where it lives, for people: a path or a URL."""
    url: str | None
    """Where workers find the storage of checkpoints, None for the folder itself."""
    shelf: Shelf

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

    def publish(self) -> None:
        """Brings report, tables and logs to the storage.

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
        self.shelf: Shelf = FolderShelf(folder)
        self._store = FolderStore(folder)
        self._lease: Lease | None = None

    def refresh(self) -> None:
        """The folder is the storage."""

    def holder(self) -> Holder | None:
        return _living(holders(self._store), self.folder)

    def open_session(self) -> None:
        self._lease = Lease(self._store, place_of(self.folder), self.address)

    def check(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def commit(self) -> None:
        """The disk has it already."""

    def publish(self) -> None:
        """It is where it belongs."""

    def stop(self, wanted: bool) -> None:
        _mark(self.folder, wanted)

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


class BucketStudy:
    """A study that lives in a bucket; its folder is a working copy."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.folder = folder
        self.address = store.url
        self.url: str | None = store.url
        self.shelf: Shelf = BucketShelf(store, folder)
        self._store = store
        self._lease: Lease | None = None
        self._pusher: journals.Pusher | None = None
        self._asked = -STOP_POLL_S
        self._is_stopping = False

    def refresh(self) -> None:
        with open(self.folder / journal.FILE_NAME, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            self._pull_journal()

    def holder(self) -> Holder | None:
        return _living(holders(self._store), self.folder)

    def open_session(self) -> None:
        lease = Lease(self._store, place_of(self.folder), self.address, beat=self._push_quietly)
        try:
            self._pull_journal()
            self._pull_files()
            pusher = journals.Pusher(
                self._store, self.folder / journal.FILE_NAME, secrets.token_hex(4)
            )
        except BaseException:
            lease.release()
            raise
        self._lease, self._pusher = lease, pusher

    def check(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def commit(self) -> None:
        if self._pusher is None:
            return
        while True:
            # While the lease holds there is time to wait for a storage that has a bad minute.
            self.check()
            try:
                self._pusher.push()
                return
            except StorageFailed:
                continue

    def stop(self, wanted: bool) -> None:
        _mark(self.folder, wanted)
        # From a signal handler: no request may keep it, or raise into what it interrupted.
        threading.Thread(target=self._mark_bucket, args=(wanted,), daemon=True).start()

    def is_stopping(self) -> bool:
        if (self.folder / STOP_FILE).exists():
            return True
        if clock() - self._asked >= STOP_POLL_S:
            self._asked = clock()
            with suppress(StorageFailed):
                self._is_stopping = bool(self._store.list(CONTROL))
        return self._is_stopping

    def publish(self) -> None:
        there = self._store.list("")
        for path in _files(self.folder):
            key, stat = path.relative_to(self.folder).as_posix(), path.stat()
            entry = there.get(key)
            if entry is None or entry.size != stat.st_size or entry.modified < stat.st_mtime:
                self._store.upload(path, key)

    def close_session(self) -> None:
        if self._lease is not None:
            self._push_quietly()
            self._lease.release()
            self._lease = None

    def delete(self) -> None:
        # One that was lost on the way belongs to somebody else.
        with suppress(UserError, StorageFailed):
            self.check()
            self._pusher = None
            self._store.remove_folder("")
            shutil.rmtree(self.folder)

    def _mark_bucket(self, wanted: bool) -> None:
        with suppress(StorageFailed):
            if wanted:
                self._store.write(f"{CONTROL}/stop", b"")
            else:
                self._store.remove(f"{CONTROL}/stop")

    def _push_quietly(self) -> None:
        """With each beat of the lease: what no decision waits for need not wait longer."""
        if self._pusher is not None and self._lease is not None:
            try:
                self._lease.check()
                self._pusher.push()
            except (StorageFailed, UserError):
                return  # The driver meets it at its next commit.

    def _pull_journal(self) -> None:
        """Brings the journal from the bucket, unless there is as much or more of it here.

        A driver that died here may have written more than it could push: a later state of the same
        study.
        """
        path = self.folder / journal.FILE_NAME
        theirs, ours = journals.read(self._store), path.read_bytes()
        if not ours.startswith(theirs):
            with open(path, "r+b") as file:
                file.write(theirs)
                file.truncate()
                os.fsync(file.fileno())

    def _pull_files(self) -> None:
        """Brings what an earlier session left beside the journal: views that go on from there."""
        for key, entry in self._store.list("").items():
            target = self.folder / key
            if not _is_mirrored(key) or (
                target.exists() and target.stat().st_mtime >= entry.modified
            ):
                continue
            _check_inside(self.folder, target)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            self._store.download(key, partial)
            partial.replace(target)


def _mark(folder: Path, wanted: bool) -> None:
    if wanted:
        (folder / STOP_FILE).touch()
    else:
        (folder / STOP_FILE).unlink(missing_ok=True)


def _living(found: list[Holder], folder: Path) -> Holder | None:
    """The first claim that can be true: where its lock can be seen from here, the lock decides."""
    for holder in found:
        if holder.place != place_of(folder) or journal.is_locked(folder):
            return holder
    return None


def _is_mirrored(key: str) -> bool:
    """Whether a key is a file like report and logs, and not one that is kept another way."""
    top = key.split("/")[0]
    kept_otherwise = top in (FOLDER, journals.FOLDER, CLAIMS, CONTROL, journal.FILE_NAME)
    return not kept_otherwise and not any(name.startswith(".") for name in key.split("/"))


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in found if _is_mirrored(path.relative_to(folder).as_posix())]


def _check_inside(folder: Path, target: Path) -> None:
    if ".." in target.parts or not target.parent.resolve().is_relative_to(folder.resolve()):
        what = "a name in the bucket leaves the study's folder"
        raise UserError(Problem(what, str(target), fix="remove it from the bucket"))
