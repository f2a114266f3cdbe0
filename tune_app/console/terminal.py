"""Keeps the terminal for the study: whatever libraries print goes to a log file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Outlet(io.TextIOWrapper):
    """A stream whose reader may go away, as in `... | head`: what comes later is dropped.

    `on_gone` is called once, when that is noticed.
    """

    def __init__(self, fd: int) -> None:
        raw = os.fdopen(fd, "wb", buffering=0)
        # Half characters, as in names of files that are not UTF-8, are shown as escapes.
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        self.on_gone: Callable[[], None] | None = None
        self._gone = False

    def write(self, text: str) -> int:
        if not self._gone:
            try:
                return super().write(text)
            except OSError:
                self._gone = True
                if self.on_gone is not None:
                    self.on_gone()
        return len(text)


@contextmanager
def reserved(log: Path) -> Iterator[tuple[Outlet, Outlet]]:
    """Points file descriptors 1 and 2 at `log`; yields the real stdout and stderr.

    Below Python's own streams, so that output of C++ libraries and child processes goes there too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    streams = [Outlet(os.dup(fd)) for fd in saved]
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield streams[0], streams[1]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for fd, number in zip(saved, (1, 2), strict=True):
            os.dup2(fd, number)
            os.close(fd)
        for stream in streams:
            stream.close()
        os.close(target)
