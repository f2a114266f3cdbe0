"""Reserves the terminal for the study: output of libraries goes to a log file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Outlet(io.TextIOWrapper):
    """A stream whose reader may close it, as in `... | head`; later output is dropped.

    `on_gone` is called once, at the first failed write.
    """

    def __init__(self, fd: int) -> None:
        raw = os.fdopen(fd, "wb", buffering=0)
        # Lone surrogates, as in file names that are not UTF-8, are shown as escapes.
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        self.on_gone: Callable[[], None] | None = None
        self._gone = False

    def write(self, text: str) -> int:
        """Writes text, or drops it once the reader has closed the stream; returns its length."""
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

    At the level of file descriptors, so that C++ libraries and child processes are redirected, too.
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
