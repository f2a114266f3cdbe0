"""Replaces files atomically: a reader sees the old file or the new one.

A killed writer leaves the old file, and beside it a hidden partial one that nobody reads. With
`durable`, the default, the same holds after a power loss: the new file is flushed to the disk
before it is renamed, and the rename before the call returns. Callers pass False only for many files
at once that can be rebuilt from the journal.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the same folder; the file written there then replaces `path`.

    The temporary name is unique, so that two writers do not collide: the last one to end wins. It
    keeps only the suffix of `path`, from which some writers choose the format; readers that search
    files by name do not find it. An exception removes the temporary file.

    Raises:
        OSError: the file cannot be flushed or renamed; the old one, if any, is unchanged.
    """
    new = path.with_name(f".partial-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield new
        if durable:
            flush(new)
        os.replace(new, path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    if durable:
        flush(path.parent)


def write_atomically(path: Path, data: str | bytes, *, durable: bool = True) -> None:
    """Writes text, as UTF-8, or bytes. The folder must exist.

    Raises:
        OSError: the file cannot be written; the old one, if any, is unchanged.
    """
    with replacing(path, durable=durable) as new:
        new.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def flush(path: Path) -> None:
    """Flushes the bytes of a file, or the names in a folder, to the disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
