"""Writes a file as a whole or not at all: a reader sees the old one or the new one.

A writer that is killed leaves the old file, and beside it a hidden one that nobody reads. With
`durable`, which is the rule, the same holds for a machine that loses its power: the new file is
flushed to the disk before it takes the old one's name, and the name before the call returns. It is
left out only where many files are written at once that can be made again from the journal.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a new path in the same folder; what is written there takes the place of `path`.

    The new name is of this call alone, so that two writers do not meet: the last one to end wins.
    It has the ending of `path`, for writers that choose a format by it, and nothing else of it, for
    readers that choose files by a part of their names. An exception removes the new file.
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
    """Writes text, as UTF-8, or bytes. The folder must be there.

    Raises:
        OSError: the file cannot be written; the old one, if any, is as it was.
    """
    with replacing(path, durable=durable) as new:
        new.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def flush(path: Path) -> None:
    """Brings the bytes of a file, or the names in a folder, to the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
