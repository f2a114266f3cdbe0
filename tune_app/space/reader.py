"""Collects what a file says wrongly, and what it says in a way that had to be read somehow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tune_app.errors import Problem

Path = tuple[str | int, ...]
Where = Callable[[Path], str]
"""Says where in the user's file a key path stands, e.g. `sweep.yaml:4:3 parameters.lr.min`."""


class Reader:
    """The mistakes and the readings of one file. Nothing is raised: all are told together.

    What has one sensible meaning is read so, with a warning that says how; what has two is a
    problem that names both and the mend for each.
    """

    def __init__(self, where: Where) -> None:
        self._where = where
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.notes: list[Problem] = []

    def problem(self, path: Path, what: str, expected: str = "", fix: str = "") -> None:
        """Something that cannot be read."""
        self.problems.append(Problem(what, self._where(path), expected, fix))

    def ambiguous(self, path: Path, what: str, readings: Mapping[str, str]) -> None:
        """Something with two meanings; `readings` has the mend for each."""
        mends = "; ".join(f"{meaning}: {mend}" for meaning, mend in readings.items())
        ways = "two" if len(readings) == 2 else str(len(readings))
        self.problem(path, f"{what} can be read in {ways} ways", fix=f"say which is meant: {mends}")

    def warn(self, path: Path, what: str, fix: str = "") -> None:
        """Something that is read in the one way that makes sense."""
        self.warnings.append(Problem(what, self._where(path), fix=fix))

    def note(self, path: Path, what: str) -> None:
        """Something that is as it should be, but means nothing here."""
        self.notes.append(Problem(what, self._where(path)))

    def word(self, path: Path, value: Any, known: Collection[str]) -> str | None:
        """One of the known words, also with other capitals and dashes; None if it is another."""
        if not isinstance(value, str):
            return None
        if value in known:
            return value
        plain = value.strip().lower().replace("-", "_").replace(" ", "_")
        if plain not in known:
            return None
        self.warn(path, f"{value!r} is read as {plain}", f"write {plain}")
        return plain

    def text(self, document: Mapping[str, Any], key: str) -> str | None:
        """A key's text, None where it is not given."""
        value = document.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self.warn((key,), f"{value!r} is read as the text '{value}'")
            return str(value)
        self.problem((key,), f"{value!r} is not text", expected="a string")
        return None
