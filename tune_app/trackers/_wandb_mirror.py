"""Writes a study's trials as W&B runs: one process for the whole study.

    python -m tune_app.trackers._wandb_mirror FOLDER

Follows the journal in FOLDER. Online a run appears when its trial begins, and its rows as they are
reported; it is closed while the trial waits and gone on with when the trial does, so that no more
runs are open than trials run. Offline a run is written in one go when its trial has ended.

`wandb/mirrored.jsonl` lists what is written; it is not written again. When W&B is away the mirror
waits, and begins again at the journal's start. It ends when the journal has been read to its end
and either the study has ended or was interrupted, or standard input has been closed: the driver is
gone or wants no more. W&B then has `PATIENCE_S` more to come back. Exit codes: 0 all is written, 1
some runs could not be written, 3 no wandb.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_app.trackers._wandb_pass import Away, Mirror
from tune_app.trackers.wandb import SAYS

NICENESS = 10
"""Trials share the processors with the mirror and go first."""

PATIENCE_S = 600.0
"""So long W&B may still come back after the study's driver has left."""

WAITS_S = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Between tries while W&B is away; the last one again and again."""


class Busy(Exception):
    """Another process mirrors this study now."""


class Patience:
    """Waits between tries; after the word to end, only so long in all."""

    def __init__(self, is_told_to_end: Callable[[], bool], patience_s: float) -> None:
        self._is_told = is_told_to_end
        self._patience_s = patience_s
        self._end: float | None = None
        self._tries = 0

    def is_over(self) -> bool:
        """Waits for the next try; True when there is none."""
        wait_s = WAITS_S[min(self._tries, len(WAITS_S) - 1)]
        self._tries += 1
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            if self._end is None and self._is_told():
                self._end = time.monotonic() + self._patience_s
            if self._end is not None and time.monotonic() > self._end:
                return True
            time.sleep(0.2)
        return False


def keep_up(folder: Path, is_told_to_end: Callable[[], bool], patience_s: float) -> bool:
    """Mirrors the study in `folder`, however often W&B is away; whether all is written."""
    patience = Patience(is_told_to_end, patience_s)
    put_off: frozenset[str] = frozenset()
    while True:
        mirror = Mirror(folder, put_off=put_off)
        try:
            mirror.run(is_told_to_end)
            return True
        except Away as error:
            if not put_off:
                print(error, file=sys.stderr, flush=True)
                later = f"python -m tune_app mirror {folder.name}"
                _say(f"W&B mirror waits: {error.reason}; later: {later}")
            put_off |= {error.trial}
        finally:
            mirror.close()
        if patience.is_over():
            _say("W&B is still away; `python -m tune_app mirror` completes what is missing")
            return False


@contextmanager
def locked(folder: Path, wait: bool) -> Iterator[None]:
    """One mirror a study at a time.

    Raises:
        Busy: there is another, and it is not waited for.
    """
    (folder / "wandb").mkdir(exist_ok=True)
    with open(folder / "wandb" / "mirror.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy from error
        yield


def main(folder: Path) -> int:
    """Mirrors the study in `folder`; waits first for an earlier mirror of it to end."""
    os.nice(NICENESS)
    with locked(folder, wait=True):
        try:
            return 0 if keep_up(folder, _is_stdin_closed, PATIENCE_S) else 1
        except ImportError as error:
            _say(f"no runs are mirrored: {error}")
            return 3


def _is_stdin_closed() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and os.read(sys.stdin.fileno(), 4096) == b""


def _say(line: str) -> None:
    """One line for the log, to which the driver ties standard error, and for the terminal."""
    print(f"{SAYS}{line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
