"""Names the plug-in that raised an exception, and the line of it."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tune_app.errors import Problem, UserError


class PlugInFailed(UserError):
    """A plug-in, which may be the user's own, raised an exception."""


@contextmanager
def blamed(kind: str) -> Iterator[None]:
    """Wraps a call of a plug-in: an exception becomes an error that names the plug-in and the line.

    Args:
        kind: what the plug-in is, for example "searcher".

    Raises:
        PlugInFailed: the plug-in raised an exception other than a `UserError`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        fix = "--debug shows the whole traceback"
        raise PlugInFailed(replace(problem_of(kind, error), fix=fix)) from error


def problem_of(kind: str, error: Exception) -> Problem:
    """Describes what a plug-in raised and where.

    Call it from the context manager in which the plug-in ran: its frame is skipped.
    """
    return Problem(f"the {kind} raised {_in_words(error)}", _place(error))


def _in_words(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        # The exception is a class of the plug-in, and its `__str__` raises as well.
        return type(error).__name__


def _place(error: Exception) -> str:
    """The last line outside libraries; the last line of all if every line is in a library."""
    # The first frame is the `yield` of the context manager.
    frames = traceback.extract_tb(error.__traceback__)[1:]
    libraries = (sysconfig.get_path("stdlib"), "<")
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and not frame.filename.startswith(libraries)
    ]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"
