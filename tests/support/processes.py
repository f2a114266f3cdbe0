"""Other processes, any of which may end while one looks at them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import psutil


def below(parent: int, word: str) -> list[psutil.Process]:
    """The processes that one has started, and they in turn, with a word in their command line."""
    return _with(word, psutil.Process(parent).children(recursive=True))


def of_all(word: str) -> list[psutil.Process]:
    """All processes of this machine with a word in their command line."""
    return _with(word, psutil.process_iter())


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
