"""The checkpoint store: paths, completeness and validity of checkpoints.

Their names are `checkpoints/TRIAL/step-N`, relative to the study. On a disk a checkpoint is renamed
to its name once it is complete. In a bucket it is complete once it has a manifest, which is written
last and holds the size and digest of each file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tune_app.core.trial import Checkpoint
from tune_app.errors import Problem, UserError
from tune_app.storage.store import StorageFailed, sync

if TYPE_CHECKING:
    from tune_app.storage.objects import ObjectStore

_log = logging.getLogger(__name__)

FOLDER = "checkpoints"
MANIFEST = "manifest.json"
WORK = ".work"
"""Prefix of the folders beside a trial's checkpoints in which segments write new ones."""


class CheckpointStore(Protocol):
    """The checkpoints of one study.

    Every method may raise `StorageFailed`, and `UserError` for a link out of the study's folder.
    """

    def publish(self, folder: Path, trial: str, step: int) -> str:
        """Makes a finished checkpoint durable and returns its name."""
        ...

    def fetch(self, name: str) -> Path:
        """The path of a checkpoint on this machine's disk, after a check of its files.

        Raises:
            StorageFailed: it does not exist or cannot be downloaded.
            UserError: it holds files that our checkpoints never hold.
        """
        ...

    def sizes(self) -> dict[str, int]:
        """All complete checkpoints by name, in bytes."""
        ...

    def size(self, name: str) -> int:
        """The bytes of a checkpoint; 0 if it does not exist."""
        ...

    def remove(self, name: str) -> None:
        """Removes a checkpoint, if it exists."""
        ...

    def clean(self, trial: str) -> None:
        """Removes incomplete checkpoints of a trial's dead workers on this machine; `*` for all."""
        ...


class FolderCheckpoints:
    """Checkpoints in a study's folder, which all workers share."""

    def __init__(self, study_folder: Path) -> None:
        self._study = study_folder

    def publish(self, folder: Path, trial: str, step: int) -> str:
        name = Checkpoint(trial, step).name
        target = inside(self._study, name)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # The journal will name the checkpoint, so it must survive a power loss as well.
            sync(folder)
            os.rename(folder, target)
            sync(target.parent)
        return name

    def fetch(self, name: str) -> Path:
        """See `CheckpointStore.fetch`.

        Raises:
            StorageFailed: it does not exist.
            UserError: it holds files that our checkpoints never hold.
        """
        path = inside(self._study, name)
        if not path.is_dir():
            # A checkpoint that is missing as a whole is a fault of the storage, not of the trial.
            raise StorageFailed(f"{path}: no such checkpoint")
        check(path)
        return path

    def sizes(self) -> dict[str, int]:
        paths = (self._study / FOLDER).glob("*/step-*")
        return {(name := f"{FOLDER}/{p.parent.name}/{p.name}"): self.size(name) for p in paths}

    def size(self, name: str) -> int:
        return sum(path.lstat().st_size for path in inside(self._study, name).glob("*"))

    def remove(self, name: str) -> None:
        path = inside(self._study, name)
        shutil.rmtree(path, ignore_errors=True)
        _remove_empty(path.parent)

    def clean(self, trial: str) -> None:
        for folder in (self._study / FOLDER).glob(trial):
            if not folder.is_symlink():
                for path in folder.glob(f"{WORK}*"):
                    shutil.rmtree(path, ignore_errors=True)
                _remove_empty(folder)


class BucketCheckpoints:
    """Checkpoints in a bucket, with copies of some on this machine's disk."""

    def __init__(self, store: ObjectStore, working_copy: Path) -> None:
        self._store = store
        self._copies = FolderCheckpoints(working_copy)
        self._folder = working_copy
        self._removals = ThreadPoolExecutor(4, "removals")
        self._pending_removals: set[str] = set()

    def publish(self, folder: Path, trial: str, step: int) -> str:
        path = inside(self._folder, Checkpoint(trial, step).name)
        # An existing copy may be of an earlier study of this name.
        shutil.rmtree(path, ignore_errors=True)
        name = self._copies.publish(folder, trial, step)
        self._store.remove(f"{name}/{MANIFEST}")
        files = {}
        for file in sorted(path.iterdir()):
            self._store.upload(file, f"{name}/{file.name}")
            files[file.name] = {"bytes": file.stat().st_size, "sha256": _digest(file)}
        manifest = json.dumps({"files": files}).encode()
        self._store.write(f"{name}/{MANIFEST}", manifest)
        (path / MANIFEST).write_bytes(manifest)
        self._forget_others(path)
        return name

    def fetch(self, name: str) -> Path:
        """See `CheckpointStore.fetch`.

        Raises:
            StorageFailed: it is incomplete or damaged, or the bucket does not answer.
            UserError: it holds files that our checkpoints never hold.
        """
        path = inside(self._folder, name)
        try:
            manifest = self._store.read(f"{name}/{MANIFEST}")
        except FileNotFoundError as error:
            raise StorageFailed(f"{self._store.url}/{name}: no complete checkpoint") from error
        copy = path / MANIFEST
        if not copy.is_file() or copy.read_bytes() != manifest:
            shutil.rmtree(path, ignore_errors=True)
            self._download(name, path, manifest)
        return self._copies.fetch(name)

    def sizes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for key, entry in self._store.list(FOLDER).items():
            name, _, _ = key.rpartition("/")
            sizes[name] = sizes.get(name, 0) + entry.size
        return sizes

    def size(self, name: str) -> int:
        return sum(entry.size for entry in self._store.list(name).values())

    def remove(self, name: str) -> None:
        """Removes the copy; the bucket keeps its own until `remove_from_bucket`.

        The journal in the bucket may be older and still need the checkpoint.
        """
        self._copies.remove(name)
        self._pending_removals.add(name)

    def pending_removals(self) -> list[str]:
        """The names of removed checkpoints that are still in the bucket."""
        return list(self._pending_removals)

    def remove_from_bucket(self, names: list[str]) -> None:
        """Starts the removal of pending ones and returns; the next session repeats a failed one."""
        for name in names:
            if name in self._pending_removals:
                self._pending_removals.discard(name)
                self._removals.submit(self._remove, name)

    def clean(self, trial: str) -> None:
        self._copies.clean(trial)

    def _remove(self, name: str) -> None:
        try:
            # Without its manifest it no longer counts as a checkpoint, even if the rest fails.
            self._store.remove(f"{name}/{MANIFEST}")
            self._store.remove_folder(name)
        except StorageFailed as error:
            _log.warning("%s is not removed: %s", name, error)

    def _forget_others(self, newest: Path) -> None:
        """Removes the copies of a trial's older checkpoints; they can be downloaded again."""
        for path in newest.parent.glob("step-*"):
            if path != newest:
                shutil.rmtree(path, ignore_errors=True)

    def _download(self, name: str, path: Path, manifest: bytes) -> None:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        partial.mkdir(parents=True)
        try:
            for file, digest in self._digests(name, manifest).items():
                self._store.download(f"{name}/{file}", partial / file)
                if _digest(partial / file) != digest:
                    raise StorageFailed(f"{self._store.url}/{name}: {file} is damaged")
            (partial / MANIFEST).write_bytes(manifest)
            os.rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _digests(self, name: str, manifest: bytes) -> dict[str, str]:
        """The SHA-256 digests of a manifest by file name.

        Raises:
            StorageFailed: it is not a manifest, or names files outside the checkpoint.
        """
        try:
            content: Any = json.loads(manifest)
            files = {str(file): str(facts["sha256"]) for file, facts in content["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StorageFailed(f"{self._store.url}/{name}: not a manifest") from error
        if any(_leaves(file) for file in files):
            raise StorageFailed(f"{self._store.url}/{name}: not names of files")
        return files


def inside(study_folder: Path, name: str) -> Path:
    """The path of a checkpoint.

    Raises:
        UserError: a link in the path leaves the study's folder.
        ValueError: `name` is not the name of a checkpoint.
    """
    path = study_folder / Checkpoint.parse(name).name
    if not path.resolve().is_relative_to(study_folder.resolve()):
        raise UserError(_foreign("a link that leaves the study's folder", path))
    return path


def check(path: Path) -> None:
    """Checks a checkpoint's files before anything loads them.

    transformers loads the optimiser, the learning-rate schedule and the random generators without
    executing code of the files, but without safetensors it falls back to other formats of weights.

    Raises:
        UserError: there are links, other formats, or an index that names files elsewhere.
    """
    problems = []
    for file in sorted(path.iterdir()):
        if file.is_symlink() or not file.is_file():
            problems.append(_foreign("not a plain file", file))
        elif file.suffix == ".bin" and file.name != "training_args.bin":
            problems.append(_foreign("weights that are not safetensors", file))
        elif file.name.endswith(".index.json") and not _is_index(file):
            problems.append(_foreign("an index that names files elsewhere", file))
    if problems:
        raise UserError(problems)


def _remove_empty(folder: Path) -> None:
    # The folder may not be empty, or not exist.
    with suppress(OSError):
        folder.rmdir()


def _is_index(file: Path) -> bool:
    try:
        names = json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()
        return not any(_leaves(name) for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _leaves(file: Any) -> bool:
    """Whether this is not the name of a file in the same folder."""
    return not isinstance(file, str) or file != os.path.basename(file) or file in ("", ".", "..")


def _foreign(what: str, path: Path) -> Problem:
    return Problem(what, str(path), "a checkpoint as a trial wrote it", "restore it from a backup")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
