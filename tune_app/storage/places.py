"""The storages that `--storage` can name: a folder of studies, or a bucket of studies."""

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
    """A storage of studies; `str` gives it as `--storage` takes it.

    The methods of a bucket raise `UserError` when it does not answer.
    """

    def names(self) -> list[str]:
        """The names of the studies, sorted.

        Raises:
            UserError: it is no storage, or does not answer.
        """
        ...

    def has(self, name: str) -> bool:
        """Whether there is a study of this name."""
        ...

    def study(self, name: str) -> StoredStudy:
        """An existing study."""
        ...

    def create(self, name: str) -> StoredStudy:
        """Creates the folder of a new study.

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
        """The names of the studies, sorted.

        Raises:
            UserError: the path is not a folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(Problem("not a folder", f"--storage {self}", "where studies live"))
        paths = self.path.glob(f"*/{journal.FILE_NAME}")
        return sorted(path.parent.name for path in paths)

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
    """A prefix of a bucket. Each study has a working copy in the cache folder of each machine."""

    def __init__(self, url: str) -> None:
        self.url = objects.checked(url)
        with answering(self.url):
            self._store = objects.ObjectStore(self.url)

    def __str__(self) -> str:
        return self.url

    def names(self) -> list[str]:
        """The names of the studies, sorted.

        Raises:
            UserError: there is no such bucket, or it does not answer.
        """
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
        """Prepares the working copy of a new study.

        Raises:
            FileExistsError: the name is taken.
        """
        if self.has(name):
            raise FileExistsError(name)
        folder = self._working_copy(name)
        if folder.exists() and not journal.is_locked(folder):
            # The working copy of an earlier study of this name.
            shutil.rmtree(folder)
        return self.study(name)

    def _working_copy(self, name: str) -> Path:
        place = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        return (cache_folder() / "studies" / place / name).resolve()


def _make_parts(folder: Path) -> None:
    for part in PARTS:
        (folder / part).mkdir(parents=True, exist_ok=True)


def at(text: str) -> Storage:
    """The storage for the value of `--storage`.

    Raises:
        UserError: its kind is unknown, or the bucket does not answer.
    """
    if text.startswith("file:///"):
        return Folder(Path(text.removeprefix("file://")))
    return Bucket(text) if "://" in text else Folder(Path(text))


def on_worker(folder: Path, url: str | None) -> StoredStudy:
    """A study on a worker: `folder` is shared with the driver, or a working copy of `url`."""
    return FolderStudy(folder) if url is None else BucketStudy(objects.ObjectStore(url), folder)


@contextmanager
def answering(address: str) -> Iterator[None]:
    """Turns `StorageFailed` into a UserError.

    Raises:
        UserError: the storage at `address` does not answer.
    """
    try:
        yield
    except StorageFailed as error:
        fix = "look at the address, the network and the credentials in the environment"
        raise UserError(
            Problem(f"the storage does not answer: {error}", address, fix=fix)
        ) from error
