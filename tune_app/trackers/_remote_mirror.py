"""The process that mirrors a study to a service: it follows the journal until the study is over.

`mirrored.jsonl` lists what is written; it is not written again. When the service is away the mirror
waits, and begins again at the journal's start. It ends when the journal has been read to its end
and either the study has ended or was interrupted, or standard input has been closed: the driver is
gone or wants no more. The service then has `PATIENCE_S` more to come back. Exit codes: 0 all is
written, 1 some runs could not be written, 3 the service's client is not installed.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tune_app.trackers._remote_pass import Away, Mirror, R, Service
from tune_app.trackers._remote_process import FOR_A_PERSON

NICENESS = 10
"""Trials share the processors with the mirror and go first."""

PATIENCE_S = 600.0
"""So long the service may still come back after the study's driver has left."""

WAITS_S = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Between tries while the service is away; the last one again and again."""


class Busy(Exception):
    """Another process mirrors this study now."""


class Patience:
    """Waits between tries; once it is told to end, only so long in all."""

    def __init__(
        self, is_told_to_end: Callable[[], bool], patience_s: float, waits_s: Sequence[float]
    ) -> None:
        self._is_told = is_told_to_end
        self._patience_s = patience_s
        self._waits_s = waits_s
        self._end: float | None = None
        self._tries = 0

    def is_over(self) -> bool:
        """Waits for the next try; True when there is none."""
        wait_s = self._waits_s[min(self._tries, len(self._waits_s) - 1)]
        self._tries += 1
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            if self._end is None and self._is_told():
                self._end = time.monotonic() + self._patience_s
            if self._end is not None and time.monotonic() > self._end:
                return True
            time.sleep(min(0.2, wait_s))
        return False


def keep_up(
    service: Service[R],
    folder: Path,
    is_told_to_end: Callable[[], bool],
    patience_s: float,
    waits_s: Sequence[float] = WAITS_S,
) -> bool:
    """Mirrors the study in `folder`, however often the service is away; whether all is written."""
    patience = Patience(is_told_to_end, patience_s, waits_s)
    name, completing = service.remote.service, service.remote.completing(folder)
    put_off: frozenset[str] = frozenset()
    while True:
        mirror = Mirror(service, folder, put_off=put_off)
        try:
            mirror.run(is_told_to_end)
            return True
        except Away as error:
            if not put_off:
                print(error, file=sys.stderr, flush=True)
                _tell(f"{name} mirror waits: {error.reason}; later: {completing}")
            put_off |= {error.trial}
        finally:
            mirror.close()
        if patience.is_over():
            _tell(f"{name} is still away; `{completing}` completes what is missing")
            return False


@contextmanager
def locked(home: Path, wait: bool) -> Iterator[None]:
    """One mirror of a study at a time; `home` is the mirror's folder in the study's.

    Raises:
        Busy: there is another, and it is not waited for.
    """
    home.mkdir(exist_ok=True)
    with open(home / "mirror.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy from error
        yield


def main(service: Service[R], folder: Path) -> int:
    """Mirrors the study in `folder`; waits first for an earlier mirror of it to end."""
    os.nice(NICENESS)
    with locked(service.remote.home(folder), wait=True):
        try:
            return 0 if keep_up(service, folder, _is_stdin_closed, PATIENCE_S) else 1
        except ImportError as error:
            _tell(f"no runs are mirrored: {error}")
            return 3


def _is_stdin_closed() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and os.read(sys.stdin.fileno(), 4096) == b""


def _tell(line: str) -> None:
    """One line for the log, to which the driver ties standard error, and for the terminal."""
    print(f"{FOR_A_PERSON}{line}", file=sys.stderr, flush=True)
