"""Collects the problems, warnings and notes of reading one file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tune_app.errors import Problem

Path = tuple[str | int, ...]
Where = Callable[[Path], str]
"""Gives the position of a key path in the user's file: `sweep.yaml:4:3 parameters.lr.min`."""


class Reader:
    """Collects problems instead of raising, so that the user sees all of them together.

    Lenient parsing: a value with one sensible meaning is read in that way, with a warning; a value
    with two is a problem that names both and a fix for each.
    """

    def __init__(self, where: Where) -> None:
        self._where = where
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.notes: list[Problem] = []

    def problem(self, path: Path, what: str, expected: str = "", fix: str = "") -> None:
        """Adds a value that cannot be read."""
        self.problems.append(Problem(what, self._where(path), expected, fix))

    def ambiguous(self, path: Path, what: str, readings: Mapping[str, str]) -> None:
        """Adds a value with several meanings; `readings` has the fix for each."""
        mends = "; ".join(f"{meaning}: {mend}" for meaning, mend in readings.items())
        ways = "two" if len(readings) == 2 else str(len(readings))
        self.problem(path, f"{what} can be read in {ways} ways", fix=f"say which is meant: {mends}")

    def warn(self, path: Path, what: str, fix: str = "") -> None:
        """Adds a value that was read in the one way that makes sense."""
        self.warnings.append(Problem(what, self._where(path), fix=fix))

    def note(self, path: Path, what: str) -> None:
        """Adds a valid key or value that has no effect here."""
        self.notes.append(Problem(what, self._where(path)))

    def word(self, path: Path, value: Any, words: Collection[str]) -> str | None:
        """`value` as one of `words`, ignoring case, spaces and dashes; else None."""
        if not isinstance(value, str):
            return None
        if value in words:
            return value
        plain = value.strip().lower().replace("-", "_").replace(" ", "_")
        if plain not in words:
            return None
        self.warn(path, f"{value!r} is read as {plain}", f"write {plain}")
        return plain

    def text(self, document: Mapping[str, Any], key: str) -> str | None:
        """The text of a key, None if the key is missing."""
        value = document.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self.warn((key,), f"{value!r} is read as the text '{value}'")
            return str(value)
        self.problem((key,), f"{value!r} is not text", expected="a string")
        return None
