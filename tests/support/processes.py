"""Other processes, any of which may end while one looks at them."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress

import psutil

MARK = "STARTED_BY_TESTS"
"""A variable of the environment, by its value each test process knows what it has started."""

KEEP_ENVIRONMENT = {"SPT_NOENV": "1"}
"""Without it the names that Ray gives its processes are written over their environment."""

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Of a Ray that was killed, they end by themselves after some 75 s: they first try to tell it."""


def mark() -> None:
    """From now on what this process starts is known as its own, to the last descendant."""
    os.environ |= {MARK: uuid.uuid4().hex, **KEEP_ENVIRONMENT}


def started(word: str = "") -> list[psutil.Process]:
    """What these tests have started and still runs, with a word in its command line.

    It need not be a child any more. What else runs on this machine, other tests too, is left out.
    """
    return _with(word, (process for process in psutil.process_iter() if _is_marked(process)))


def left_behind(known: Collection[psutil.Process], patience_s: float) -> list[str]:
    """Command lines of what was started besides `known` and has not ended in that time."""
    deadline = time.monotonic() + patience_s
    while True:
        new = [process for process in started() if process not in known]
        lines = [line for line in map(command_line, new) if line and line.strip() not in AGENTS]
        if not lines or time.monotonic() > deadline:
            return lines
        time.sleep(0.5)


def below(parent: int, word: str) -> list[psutil.Process]:
    """The processes that one has started, and they in turn, with a word in their command line."""
    return _with(word, psutil.Process(parent).children(recursive=True))


def end(processes: Iterable[psutil.Process]) -> None:
    """Kills those that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def command_line(process: psutil.Process) -> str:
    """Empty for one that has ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _with(word: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if word in command_line(process)]


def _is_marked(process: psutil.Process) -> bool:
    # Of other people's processes the environment cannot be read; a zombie has none.
    with suppress(psutil.Error, OSError):
        return bool(process.environ().get(MARK) == os.environ[MARK])
    return False
