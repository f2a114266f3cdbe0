"""Checkpoints: where they lie, when they count as complete, and what may be in them.

Their names are `checkpoints/TRIAL/step-N`, relative to the study. On a disk a checkpoint appears
under its name all at once. In a bucket it counts once its manifest is there, which is written last
and says what each file must hold.
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
"""How the folders begin, beside a trial's checkpoints, that each segment writes its own into."""


class CheckpointStore(Protocol):
    """The checkpoints of one study."""

    def publish(self, folder: Path, trial: str, step: int) -> str:
        """Makes a finished checkpoint durable under its name, which is returned."""
        ...

    def fetch(self, name: str) -> Path:
        """A checkpoint on this machine's disk, checked.

        Raises:
            StorageFailed: it is not there, or does not come.
            UserError: it holds what no checkpoint of ours does.
        """
        ...

    def sizes(self) -> dict[str, int]:
        """All complete checkpoints by name, in bytes."""
        ...

    def size(self, name: str) -> int:
        """The bytes of one; 0 if it is not there."""
        ...

    def remove(self, name: str) -> None:
        """Removes one, if it is there."""
        ...

    def clean(self, trial: str) -> None:
        """Removes what a trial's dead workers left half written on this machine; `*` for all."""
        ...


class FolderCheckpoints:
    """Checkpoints in a study's folder, which all workers see."""

    def __init__(self, study_folder: Path) -> None:
        self._study = study_folder

    def publish(self, folder: Path, trial: str, step: int) -> str:
        name = Checkpoint(trial, step).name
        target = inside(self._study, name)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # The journal is about to name it, and outlives a machine that loses its power.
            sync(folder)
            os.rename(folder, target)
            sync(target.parent)
        return name

    def fetch(self, name: str) -> Path:
        path = inside(self._study, name)
        if not path.is_dir():
            # Weights that are missing are a trial's fault only where there is something else.
            raise StorageFailed(f"{path}: no such checkpoint")
        check(path)
        return path

    def sizes(self) -> dict[str, int]:
        found = (self._study / FOLDER).glob("*/step-*")
        return {(name := f"{FOLDER}/{p.parent.name}/{p.name}"): self.size(name) for p in found}

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
    """Checkpoints in a bucket, and copies of some on this machine's disk."""

    def __init__(self, store: ObjectStore, working_copy: Path) -> None:
        self._store = store
        self._copies = FolderCheckpoints(working_copy)
        self._folder = working_copy
        self._removals = ThreadPoolExecutor(4, "removals")
        self._given_up: set[str] = set()

    def publish(self, folder: Path, trial: str, step: int) -> str:
        path = inside(self._folder, Checkpoint(trial, step).name)
        # What is there may be of an earlier study of this name.
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
        found: dict[str, int] = {}
        for key, entry in self._store.list(FOLDER).items():
            name, _, _ = key.rpartition("/")
            found[name] = found.get(name, 0) + entry.size
        return found

    def size(self, name: str) -> int:
        return sum(entry.size for entry in self._store.list(name).values())

    def remove(self, name: str) -> None:
        """Gives one up. It stays until `let_go`: the bucket's journal may still need it."""
        self._copies.remove(name)
        self._given_up.add(name)

    def given_up(self) -> list[str]:
        """What was given up by now and was not let go."""
        return list(self._given_up)

    def let_go(self, names: list[str]) -> None:
        """Removes what was given up; returns at once. What fails is done by the next session."""
        for name in names:
            if name in self._given_up:
                self._given_up.discard(name)
                self._removals.submit(self._remove, name)

    def clean(self, trial: str) -> None:
        self._copies.clean(trial)

    def _remove(self, name: str) -> None:
        try:
            # Without its manifest it is no checkpoint any more, whatever stops us from here on.
            self._store.remove(f"{name}/{MANIFEST}")
            self._store.remove_folder(name)
        except StorageFailed as error:
            _log.warning("%s is not removed: %s", name, error)

    def _forget_others(self, newest: Path) -> None:
        """The copies of a trial's older checkpoints; whoever needs one fetches it again."""
        for path in newest.parent.glob("step-*"):
            if path != newest:
                shutil.rmtree(path, ignore_errors=True)

    def _download(self, name: str, path: Path, manifest: bytes) -> None:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        partial.mkdir(parents=True)
        try:
            for file, wanted in self._digests(name, manifest).items():
                self._store.download(f"{name}/{file}", partial / file)
                if _digest(partial / file) != wanted:
                    raise StorageFailed(f"{self._store.url}/{name}: {file} is damaged")
            (partial / MANIFEST).write_bytes(manifest)
            os.rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _digests(self, name: str, manifest: bytes) -> dict[str, str]:
        """Digests by file name.

        Raises:
            StorageFailed: it is no manifest, or one that names files elsewhere.
        """
        try:
            told: Any = json.loads(manifest)
            files = {str(file): str(facts["sha256"]) for file, facts in told["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StorageFailed(f"{self._store.url}/{name}: not a manifest") from error
        if any(_leaves(file) for file in files):
            raise StorageFailed(f"{self._store.url}/{name}: not names of files")
        return files


def inside(study_folder: Path, name: str) -> Path:
    """The path of a checkpoint.

    Raises:
        UserError: a link on the way leaves the study's folder.
    """
    path = study_folder / Checkpoint.parse(name).name
    if not path.resolve().is_relative_to(study_folder.resolve()):
        raise UserError(_foreign("a link that leaves the study's folder", path))
    return path


def check(path: Path) -> None:
    """Looks at a checkpoint's files before anything loads them.

    transformers loads optimiser, schedule and generators without running what they name, but falls
    back to other formats of weights where safetensors are missing.

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
    # There may be more in it, or nothing there at all.
    with suppress(OSError):
        folder.rmdir()


def _is_index(file: Path) -> bool:
    try:
        names = json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()
        return not any(_leaves(name) for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _leaves(file: Any) -> bool:
    """Whether this is anything but the name of a file in the same folder."""
    return not isinstance(file, str) or file != os.path.basename(file) or file in ("", ".", "..")


def _foreign(what: str, path: Path) -> Problem:
    return Problem(what, str(path), "a checkpoint as a trial wrote it", "restore it from a backup")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
