"""What `--storage` names: a folder of studies, or a bucket of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tune_app.cache import cache_folder
from tune_app.core import journal
from tune_app.errors import Problem, UserError
from tune_app.storage import journals, objects
from tune_app.storage.bucket_study import BucketStudy
from tune_app.storage.store import StorageFailed
from tune_app.storage.study import FolderStudy, StoredStudy

PARTS = ("report", "checkpoints", "wandb", "logs")


class Storage(Protocol):
    """Where studies live; as text it is what `--storage` takes."""

    def names(self) -> list[str]:
        """The studies, by name.

        Raises:
            UserError: it is no storage, or does not answer.
        """
        ...

    def has(self, name: str) -> bool: ...

    def study(self, name: str) -> StoredStudy:
        """A study that is there."""
        ...

    def create(self, name: str) -> StoredStudy:
        """A new study, with its folder.

        Raises:
            FileExistsError: the name is taken.
            OSError: the folder cannot be made.
        """
        ...


class Folder:
    """A folder on this machine's disk, or on a file system that machines share."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> list[str]:
        if self.path.exists() and not self.path.is_dir():
            raise UserError(Problem("not a folder", f"--storage {self}", "where studies live"))
        found = self.path.glob(f"*/{journal.FILE_NAME}")
        return sorted(path.parent.name for path in found)

    def has(self, name: str) -> bool:
        return (self.path / name / journal.FILE_NAME).is_file()

    def study(self, name: str) -> StoredStudy:
        return FolderStudy((self.path / name).resolve())

    def create(self, name: str) -> StoredStudy:
        folder = self.path / name
        folder.mkdir(parents=True)
        _make_parts(folder)
        return FolderStudy(folder.resolve())


class Bucket:
    """A prefix of a bucket. Each study has a working copy in the cache of who uses it."""

    def __init__(self, url: str) -> None:
        self.url = objects.checked(url)
        with answering(self.url):
            self._store = objects.ObjectStore(self.url)

    def __str__(self) -> str:
        return self.url

    def names(self) -> list[str]:
        with answering(self.url):
            if not self._store.has_bucket():
                raise UserError(Problem("there is no such bucket", f"--storage {self.url}"))
            return [name for name in self._store.folders() if self.has(name)]

    def has(self, name: str) -> bool:
        with answering(self.url):
            return bool(journals.sessions(self._store.below(name)))

    def study(self, name: str) -> StoredStudy:
        folder = self._working_copy(name)
        _make_parts(folder)
        return BucketStudy(self._store.below(name), folder)

    def create(self, name: str) -> StoredStudy:
        if self.has(name):
            raise FileExistsError(name)
        folder = self._working_copy(name)
        if folder.exists() and not journal.is_locked(folder):
            # What an earlier study of this name has left.
            shutil.rmtree(folder)
        return self.study(name)

    def _working_copy(self, name: str) -> Path:
        place = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        return (cache_folder() / "studies" / place / name).resolve()


def _make_parts(folder: Path) -> None:
    for part in PARTS:
        (folder / part).mkdir(parents=True, exist_ok=True)


def at(text: str) -> Storage:
    """The storage that a command line names.

    Raises:
        UserError: it is of no known kind, or a bucket that does not answer.
    """
    if text.startswith("file:///"):
        return Folder(Path(text.removeprefix("file://")))
    return Bucket(text) if "://" in text else Folder(Path(text))


def on_worker(folder: Path, url: str | None) -> StoredStudy:
    """A study as a worker sees it: its folder, which the driver shares or which is a copy."""
    return FolderStudy(folder) if url is None else BucketStudy(objects.ObjectStore(url), folder)


@contextmanager
def answering(address: str) -> Iterator[None]:
    """Turns a storage that does not answer into a UserError."""
    try:
        yield
    except StorageFailed as error:
        fix = "look at the address, the network and the credentials in the environment"
        raise UserError(
            Problem(f"the storage does not answer: {error}", address, fix=fix)
        ) from error
