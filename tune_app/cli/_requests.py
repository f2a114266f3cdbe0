"""How a running study is asked to stop by another process: by a file in its folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STOP = "stop.request"
POLL_S = 1.0


def ask_to_stop(folder: Path) -> None:
    (folder / STOP).touch()


@contextmanager
def listening(folder: Path, stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` when somebody asks for it; what was asked of an earlier driver is forgotten."""
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
