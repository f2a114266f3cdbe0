"""Checks of a trainable's own fields: all mistakes at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tune_app.errors import Problem, UserError, nearest


def choice(name: str, value: str, known: Iterable[str]) -> list[Problem]:
    """The mistake of a value that is not among the known ones, if it is one."""
    names = list(known)
    if value in names:
        return []
    hint = nearest(str(value), names)
    close = hint if hint.startswith("did") else ""
    what = f"there is no {name} {value!r}"
    return [Problem(what, name, "one of " + ", ".join(names), close)]


def at_least(name: str, value: Any, low: int) -> list[Problem]:
    """The mistake of a number that is too small or no whole number, if it is one."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= low:
        return []
    return [Problem(f"{value!r} will not do", name, f"a whole number from {low:,} on")]


def share(name: str, value: Any) -> list[Problem]:
    """The mistake of a number outside [0, 1), if it is one."""
    if isinstance(value, int | float) and 0 <= value < 1:
        return []
    return [Problem(f"{value!r} will not do", name, "a number from 0 to below 1")]


def raise_all(problems: list[Problem]) -> None:
    """Raises UserError when there is any mistake."""
    if problems:
        raise UserError(problems)
