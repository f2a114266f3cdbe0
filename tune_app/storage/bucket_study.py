"""A study that lives in a bucket of an object store."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from tune_app.core import journal
from tune_app.errors import Problem, UserError
from tune_app.storage import journals
from tune_app.storage.atomic import replacing
from tune_app.storage.checkpoints import FOLDER, BucketCheckpoints, CheckpointStore
from tune_app.storage.lease import CLAIMS, Holder, Lease, holders, place_of
from tune_app.storage.objects import ObjectStore
from tune_app.storage.store import StorageFailed, clock
from tune_app.storage.study import STOP_FILE, living, mark

CONTROL = "control"
"""The folder of a bucket for what others ask of its workers; `stop` in it is the same."""

STOP_POLL_S = 5.0
"""How often a trial asks a bucket for it: each question is a request that costs money."""

REFRESH_LOCK = ".refresh.lock"
"""One at a time writes what it read of the bucket's journal to this machine's copy."""


class BucketStudy:
    """A study that lives in a bucket; its folder is a working copy."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.folder = folder
        self.address = store.url
        self.url: str | None = store.url
        self._checkpoints = BucketCheckpoints(store, folder)
        self.checkpoints: CheckpointStore = self._checkpoints
        self._store = store
        self._lease: Lease | None = None
        self._pusher: journals.Pusher | None = None
        self._has_begun = False
        self._asked = -STOP_POLL_S
        self._is_stopping = False

    def refresh(self) -> None:
        if journal.is_locked(self.folder):
            return
        theirs = journals.read(self._store)
        with (
            open(self.folder / REFRESH_LOCK, "ab") as alone,
            open(self.folder / journal.FILE_NAME, "ab+") as file,
        ):
            fcntl.flock(alone, fcntl.LOCK_EX)
            # The shared lock keeps a driver waiting; an exclusive one would look like a driver's.
            if journal.try_lock(file, fcntl.LOCK_SH):
                self._keep_journal(theirs)

    def holder(self) -> Holder | None:
        return living(holders(self._store), self.folder)

    def open_session(self) -> None:
        lease = Lease(self._store, place_of(self.folder), self.address, beat=self._on_beat)
        try:
            self._keep_journal(journals.read(self._store))
            self.bring("")
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
        self._has_begun = True
        while True:
            # While the lease holds there is time to wait for a storage that has a bad minute.
            self.check()
            try:
                self._push(self._pusher)
                return
            except StorageFailed:
                continue

    def stop(self, wanted: bool) -> None:
        mark(self.folder, wanted)
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

    def bring(self, part: str) -> None:
        # What an earlier session left beside the journal: views that go on from there.
        for key, entry in self._store.list(part).items():
            target = self.folder / key
            if not _is_mirrored(key) or (
                target.exists() and target.stat().st_mtime >= entry.modified
            ):
                continue
            _check_inside(self.folder, target)
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as new:
                self._store.download(key, new)

    def publish(self, part: str = "") -> None:
        there = self._store.list(part)
        for path in _files(self.folder, part):
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

    def _push(self, pusher: journals.Pusher) -> None:
        # Asked before: the lines that do without these are in the journal that is pushed now. Who
        # goes on from the bucket, if this machine dies first, begins from what it names.
        given_up = self._checkpoints.given_up()
        pusher.push()
        self._checkpoints.let_go(given_up)

    def _on_beat(self) -> None:
        """What no decision waits for need not wait longer than for a sign of life."""
        # Until the first commit the journal may end in a line that is yet to be cut off.
        if self._has_begun:
            self._push_quietly()

    def _push_quietly(self) -> None:
        if self._pusher is not None and self._lease is not None:
            try:
                self._lease.check()
                self._push(self._pusher)
            except (StorageFailed, UserError):
                return  # The driver meets it at its next commit.

    def _keep_journal(self, theirs: bytes) -> None:
        """Writes the bucket's journal here, unless there is as much or more of it already.

        A driver that died here may have written more than it could push: a later state of the same
        study.
        """
        path = self.folder / journal.FILE_NAME
        if not path.read_bytes().startswith(theirs):
            with open(path, "r+b") as file:
                file.write(theirs)
                file.truncate()
                os.fsync(file.fileno())


def _is_mirrored(key: str) -> bool:
    """Whether a key is a file like report and logs, and not one that is kept another way."""
    top = key.split("/")[0]
    kept_otherwise = top in (FOLDER, journals.FOLDER, CLAIMS, CONTROL, journal.FILE_NAME)
    # A lock is of one machine, and who holds it holds the file that is there now.
    is_hidden = any(name.startswith(".") for name in key.split("/")) or key.endswith(".lock")
    return not kept_otherwise and not is_hidden


def _files(folder: Path, part: str) -> list[Path]:
    found = (
        path for path in (folder / part).rglob("*") if path.is_file() and not path.is_symlink()
    )
    return [path for path in found if _is_mirrored(path.relative_to(folder).as_posix())]


def _check_inside(folder: Path, target: Path) -> None:
    if ".." in target.parts or not target.parent.resolve().is_relative_to(folder.resolve()):
        what = "a name in the bucket leaves the study's folder"
        raise UserError(Problem(what, str(target), fix="remove it from the bucket"))
