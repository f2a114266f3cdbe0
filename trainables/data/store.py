"""Content-addressed folders on disk that are either complete and checked, or do not exist.

A folder's name is a hash of everything that its contents depend on. It is filled in a temporary
sibling, flushed to disk and renamed into place; `meta.json`, written last, has the size and the
checksum of every file. So a crash leaves no folder that looks valid, and later damage is detected
when the folder is opened. If several processes need a folder, one builds it and the others wait.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tune_app.errors import Problem, UserError
from tune_app.storage.atomic import flush
from tune_app.training.data import Log

FORMAT = 1
"""Version of the folders' format; a part of every name."""

_META = "meta.json"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


def key_of(*parts: object) -> str:
    """A folder name from everything that the folder's contents depend on."""
    text = json.dumps([FORMAT, *parts], sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def digest_of(path: Path) -> str:
    """BLAKE2b of a file's contents, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def ensure(
    folder: Path, make: Callable[[Path], dict[str, Any]], log: Log, needed_bytes: int = 0
) -> dict[str, Any]:
    """Facts about a folder, which `make` fills unless it exists already.

    `make` gets an empty folder, writes files into it and returns plain facts, which are stored with
    them. `needed_bytes` is an estimate for the message if the disk is full.

    Raises:
        UserError: the disk is full, or the cache cannot be written.
    """
    if fault_of(folder) is None:
        return _facts(folder)
    with explained(folder, needed_bytes):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder, log):
            fault = fault_of(folder)
            if fault is None:
                return _facts(folder)
            if folder.exists():
                log(f"cache {folder.parent.name}/{folder.name}: {fault}; making it again")
            return _made(folder, make)


def fault_of(folder: Path) -> str | None:
    """Why a folder is invalid, or None. Checks sizes always, checksums once per process."""
    try:
        stat = (folder / _META).stat()
        files = json.loads((folder / _META).read_bytes())["files"]
        for name, (size, _) in files.items():
            found = (folder / name).stat().st_size
            if found != size:
                return f"{name} has {found:,} bytes instead of {size:,}"
    except (FileNotFoundError, NotADirectoryError) as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_META} is damaged"
    return _damage(folder, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=1024)
def _damage(folder: Path, mtime_ns: int, inode: int) -> str | None:
    """Why checksums do not match, or None; cached for each build of a folder, by time and inode."""
    meta = json.loads((folder / _META).read_bytes())
    if meta.get("checksum") != _checksum(meta):
        return f"{_META} is damaged"
    for name, (_, digest) in meta["files"].items():
        if digest_of(folder / name) != digest:
            return f"{name} does not match its checksum"
    return None


def _checksum(meta: dict[str, Any]) -> str:
    return key_of(meta.get("facts"), meta.get("files"))


def _facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / _META).read_bytes())["facts"]
    return facts


def _made(folder: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Builds a folder in a sibling and renames it; the caller holds the lock."""
    for leftover in folder.parent.glob(f"{folder.name}.tmp*"):
        shutil.rmtree(leftover)
    temporary = folder.with_name(f"{folder.name}.tmp{os.getpid()}")
    temporary.mkdir()
    try:
        facts = make(temporary)
        _seal(temporary, facts)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(temporary, folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return facts


def _seal(folder: Path, facts: dict[str, Any]) -> None:
    """Flushes the files and writes their sizes and checksums."""
    files = {}
    for path in sorted(folder.iterdir()):
        flush(path)
        files[path.name] = [path.stat().st_size, digest_of(path)]
    meta: dict[str, Any] = {"format": FORMAT, "facts": facts, "files": files}
    meta["checksum"] = _checksum(meta)
    (folder / _META).write_text(json.dumps(meta, ensure_ascii=False, indent=1), encoding="utf-8")
    flush(folder / _META)
    flush(folder)


@contextmanager
def _locked(folder: Path, log: Log) -> Iterator[None]:
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(f"waiting for another process that makes {folder.parent.name}/{folder.name}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def explained(path: Path, needed_bytes: int = 0) -> Iterator[None]:
    """Turns the error of a full or read-only disk, while `path` is built, into a problem.

    Raises:
        UserError: the disk is full, or the cache cannot be written.
    """
    try:
        yield
    except OSError as error:
        where = str(path.parent)
        if error.errno in _NO_SPACE:
            raise UserError(_no_space(where, path, needed_bytes, error)) from error
        if error.errno in _UNUSABLE:
            problem = Problem(f"cannot write the cache ({error})", where, fix="name another folder")
            raise UserError(problem) from error
        raise


def _no_space(where: str, path: Path, needed_bytes: int, error: OSError) -> Problem:
    free = shutil.disk_usage(_existing(path)).free
    return Problem(
        what=f"no room for the data cache ({error.strerror or error})",
        where=where,
        expected=f"about {max(0.1, needed_bytes / 1e6):,.1f} MB; {free / 1e6:,.1f} MB are free",
        fix="free some space or name a cache folder on another disk",
    )


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
