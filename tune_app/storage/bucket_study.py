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
"""The bucket's folder for requests to workers; `control/stop` corresponds to the stop file."""

STOP_POLL_S = 5.0
"""How often a trial looks for a stop request in the bucket; each look is a paid request."""

REFRESH_LOCK = ".refresh.lock"
"""Only one process at a time copies the bucket's journal to this machine."""


class BucketStudy:
    """A study in a bucket; its folder is a working copy. See `storage.study.Study`."""

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
        stored = journals.read(self._store)
        with (
            open(self.folder / REFRESH_LOCK, "ab") as alone,
            open(self.folder / journal.FILE_NAME, "ab+") as file,
        ):
            fcntl.flock(alone, fcntl.LOCK_EX)
            # A shared lock makes a starting driver wait; an exclusive one would look like a driver.
            if journal.try_lock(file, fcntl.LOCK_SH):
                self._update_journal(stored)

    def holder(self) -> Holder | None:
        return living(holders(self._store), self.folder)

    def open_session(self) -> None:
        lease = Lease(self._store, place_of(self.folder), self.address, beat=self._on_beat)
        try:
            self._update_journal(journals.read(self._store))
            self.download("")
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
            # Retries until the lease is lost: the storage may fail for a minute.
            self.check()
            try:
                self._push(self._pusher)
                return
            except StorageFailed:
                continue

    def stop(self, requested: bool) -> None:
        mark(self.folder, requested)
        # Called from a signal handler, which must not block or raise.
        threading.Thread(target=self._mark_bucket, args=(requested,), daemon=True).start()

    def is_stopping(self) -> bool:
        if (self.folder / STOP_FILE).exists():
            return True
        if clock() - self._asked >= STOP_POLL_S:
            self._asked = clock()
            with suppress(StorageFailed):
                self._is_stopping = bool(self._store.list(CONTROL))
        return self._is_stopping

    def download(self, part: str) -> None:
        # Trackers continue the files of earlier sessions.
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
        entries = self._store.list(part)
        for path in _files(self.folder, part):
            key, stat = path.relative_to(self.folder).as_posix(), path.stat()
            entry = entries.get(key)
            if entry is None or entry.size != stat.st_size or entry.modified < stat.st_mtime:
                self._store.upload(path, key)

    def close_session(self) -> None:
        if self._lease is not None:
            self._push_quietly()
            self._lease.release()
            self._lease = None

    def delete(self) -> None:
        # A study whose lease was lost belongs to another driver.
        with suppress(UserError, StorageFailed):
            self.check()
            self._pusher = None
            self._store.remove_folder("")
            shutil.rmtree(self.folder)

    def _mark_bucket(self, requested: bool) -> None:
        with suppress(StorageFailed):
            if requested:
                self._store.write(f"{CONTROL}/stop", b"")
            else:
                self._store.remove(f"{CONTROL}/stop")

    def _push(self, pusher: journals.Pusher) -> None:
        # Listed before the push: the pushed journal no longer needs these checkpoints. If this
        # machine dies before, a session that resumes from the bucket still finds them.
        names = self._checkpoints.pending_removals()
        pusher.push()
        self._checkpoints.remove_from_bucket(names)

    def _on_beat(self) -> None:
        """With each heartbeat, pushes the events that no commit has pushed."""
        # Before the first commit the journal may end in a torn line.
        if self._has_begun:
            self._push_quietly()

    def _push_quietly(self) -> None:
        if self._pusher is not None and self._lease is not None:
            try:
                self._lease.check()
                self._push(self._pusher)
            except (StorageFailed, UserError):
                return  # The driver's next commit raises it.

    def _update_journal(self, stored: bytes) -> None:
        """Writes the bucket's journal to the folder, unless the local one continues it.

        A driver that died on this machine may have written more than it could push.
        """
        path = self.folder / journal.FILE_NAME
        if not path.read_bytes().startswith(stored):
            with open(path, "r+b") as file:
                file.write(stored)
                file.truncate()
                os.fsync(file.fileno())


def _is_mirrored(key: str) -> bool:
    """Whether `download` and `publish` copy this file: not journal, checkpoints or claims."""
    top = key.split("/")[0]
    kept_otherwise = top in (FOLDER, journals.FOLDER, CLAIMS, CONTROL, journal.FILE_NAME)
    # Locks are local to a machine; replacing the file of a held lock would break it.
    is_hidden = any(name.startswith(".") for name in key.split("/")) or key.endswith(".lock")
    return not kept_otherwise and not is_hidden


def _files(folder: Path, part: str) -> list[Path]:
    paths = (
        path for path in (folder / part).rglob("*") if path.is_file() and not path.is_symlink()
    )
    return [path for path in paths if _is_mirrored(path.relative_to(folder).as_posix())]


def _check_inside(folder: Path, target: Path) -> None:
    if ".." in target.parts or not target.parent.resolve().is_relative_to(folder.resolve()):
        what = "a name in the bucket leaves the study's folder"
        raise UserError(Problem(what, str(target), fix="remove it from the bucket"))
