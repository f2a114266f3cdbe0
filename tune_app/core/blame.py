"""Tells a person which plug-in raised something, and where in it."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tune_app.errors import Problem, UserError


class PlugInFailed(UserError):
    """A plug-in, which may be the user's own, raised something."""


@contextmanager
def blamed(kind: str) -> Iterator[None]:
    """Calls a plug-in and says where in it something was raised.

    Raises:
        PlugInFailed: it raised something else than a `UserError`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        fix = "--debug shows the whole traceback"
        raise PlugInFailed(replace(problem_of(kind, error), fix=fix)) from error


def problem_of(kind: str, error: Exception) -> Problem:
    """What a plug-in raised, and where; called from the function that yielded to it."""
    return Problem(f"the {kind} raised {_in_words(error)}", _place(error))


def _in_words(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        # A class of the plug-in's own, whose text raises as well.
        return type(error).__name__


def _place(error: Exception) -> str:
    """The last line that is not of a library, where there is one."""
    # The first one is the line above that yields.
    frames = traceback.extract_tb(error.__traceback__)[1:]
    libraries = (sysconfig.get_path("stdlib"), "<")
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and not frame.filename.startswith(libraries)
    ]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"
