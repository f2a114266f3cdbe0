"""Stop requests to a running study from another process: a file in the study's folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STOP = "stop.request"
POLL_S = 1.0


def ask_to_stop(folder: Path) -> None:
    """Asks the driver of the study in `folder` to stop.

    Raises:
        OSError: the file cannot be written.
    """
    (folder / STOP).touch()


@contextmanager
def listening(folder: Path, stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop`, in a thread, on each request; requests to an earlier driver are removed."""
    request = folder / STOP
    request.unlink(missing_ok=True)
    ended = threading.Event()

    def listen() -> None:
        while not ended.wait(POLL_S):
            if request.exists():
                request.unlink(missing_ok=True)
                stop()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        request.unlink(missing_ok=True)
