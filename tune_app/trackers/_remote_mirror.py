"""The process that mirrors a study to a service: it follows the journal until the study is over.

`mirrored.jsonl` lists the written runs, which are not written again. When the service is
unavailable the mirror waits, then starts again at the beginning of the journal. It ends when the
journal has been read to its end and either the study has ended or was interrupted, or standard
input was closed: the driver has ended or closed the tracker. An unavailable service is then retried
for `PATIENCE_S` more. Exit codes: 0 all runs are written, 1 some could not be written, 3 the
service's client is not installed.
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

from tune_app.trackers._remote_pass import Mirror, R, Service, ServiceUnavailable
from tune_app.trackers._remote_process import FOR_A_PERSON

NICENESS = 10
"""Trials share the processors with the mirror and have priority."""

PATIENCE_S = 600.0
"""How long an unavailable service is retried after the study's driver has ended."""

WAITS_S = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Waits between tries while the service is unavailable; the last one is repeated."""


class Busy(Exception):
    """Another process is mirroring this study."""


class Patience:
    """Waits between tries; for at most `patience_s` once `should_end()` is true."""

    def __init__(
        self, should_end: Callable[[], bool], patience_s: float, waits_s: Sequence[float]
    ) -> None:
        self._should_end = should_end
        self._patience_s = patience_s
        self._waits_s = waits_s
        self._end: float | None = None
        self._tries = 0

    def is_over(self) -> bool:
        """Waits for the next try; True if there shall be none."""
        wait_s = self._waits_s[min(self._tries, len(self._waits_s) - 1)]
        self._tries += 1
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            if self._end is None and self._should_end():
                self._end = time.monotonic() + self._patience_s
            if self._end is not None and time.monotonic() > self._end:
                return True
            time.sleep(min(0.2, wait_s))
        return False


def keep_up(
    service: Service[R],
    folder: Path,
    should_end: Callable[[], bool],
    patience_s: float,
    waits_s: Sequence[float] = WAITS_S,
) -> bool:
    """Mirrors the study in `folder` with retries; returns whether all runs are written."""
    patience = Patience(should_end, patience_s, waits_s)
    name, completing = service.remote.service, service.remote.completing(folder)
    deferred: frozenset[str] = frozenset()
    while True:
        mirror = Mirror(service, folder, deferred=deferred)
        try:
            mirror.run(should_end)
            return True
        except ServiceUnavailable as error:
            if not deferred:
                print(error, file=sys.stderr, flush=True)
                _tell(f"{name} mirror waits: {error.reason}; later: {completing}")
            deferred |= {error.trial}
        finally:
            mirror.close()
        if patience.is_over():
            _tell(f"{name} is still unavailable; `{completing}` writes the missing runs")
            return False


@contextmanager
def locked(home: Path, wait: bool) -> Iterator[None]:
    """Allows one mirror of a study at a time; `home` is the mirror's folder in the study's.

    Raises:
        Busy: there is another one, and `wait` is False.
    """
    home.mkdir(exist_ok=True)
    with open(home / "mirror.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy from error
        yield


def main(service: Service[R], folder: Path) -> int:
    """Mirrors the study in `folder` after any earlier mirror of it; returns the exit code."""
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
    """Writes one line to the log (our standard error); the driver shows it to the user."""
    print(f"{FOR_A_PERSON}{line}", file=sys.stderr, flush=True)
