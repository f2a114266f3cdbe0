"""Mistakes of the user, reported completely and without a traceback."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

INTERRUPTED = 130
"""The exit code of what a person stopped, as of any command after Ctrl-C."""

PLACE = re.compile(r"(?P<file>.*?):(?P<line>\d+):(?P<column>\d+) ?(?P<key>.*)", re.DOTALL)
"""A place in a file, as in `sweep.yaml:4:3 parameters.lr.min`."""


def shown(text: str) -> str:
    """Text that is safe for a terminal: characters that are not printable are escaped."""
    escaped = (
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode()
        for character in text
    )
    return "".join(escaped)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: what it is, where it is, what was expected, what to do."""

    what: str
    where: str = ""
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.fix:
            lines.append(f"  to do: {self.fix}")
        return shown("\n".join(lines))

    def in_one_line(self) -> str:
        """The problem and its fix in one line, for a list of warnings."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return shown(f"{head} ({self.fix})" if self.fix else head)


class UserError(Exception):
    """Mistakes of the user, or obstacles that the user can remove: all of them, not only the first.

    The command line prints the problems and exits with code 2.
    """

    exit_code = 2

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles with the problems, so that it can be sent between processes."""
        return type(self), (self.problems,)


def once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Removes duplicates: a problem at a YAML anchor is kept for the first use only."""
    kept: dict[tuple[str, ...], Problem] = {}
    for problem in problems:
        place = PLACE.fullmatch(problem.where)
        last = problem.where.rpartition(".")[2]
        at = (place["file"], place["line"], place["column"], last) if place else (problem.where,)
        kept.setdefault((*at, problem.what, problem.expected, problem.fix), problem)
    return tuple(kept.values())


def nearest(name: str, choices: Iterable[str]) -> str:
    """A "did you mean" clause for a mistyped name, or the list of what exists."""
    names = sorted(choices)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(names)
