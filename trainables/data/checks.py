"""Checks of a trainable's own fields; all problems are reported at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tune_app.errors import Problem, UserError, nearest


def choice(name: str, value: str, choices: Iterable[str]) -> list[Problem]:
    """A problem if `value` is not among the choices."""
    names = list(choices)
    if value in names:
        return []
    hint = nearest(str(value), names)
    close = hint if hint.startswith("did") else ""
    what = f"there is no {name} {value!r}"
    return [Problem(what, name, "one of " + ", ".join(names), close)]


def at_least(name: str, value: Any, low: int) -> list[Problem]:
    """A problem if `value` is not a whole number of at least `low`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= low:
        return []
    return [Problem(f"{value!r} is not allowed", name, f"a whole number from {low:,} on")]


def share(name: str, value: Any) -> list[Problem]:
    """A problem if `value` is not a number in [0, 1)."""
    if isinstance(value, int | float) and 0 <= value < 1:
        return []
    return [Problem(f"{value!r} is not allowed", name, "a number from 0 to below 1")]


def raise_all(problems: list[Problem]) -> None:
    """Reports all problems together.

    Raises:
        UserError: there is at least one.
    """
    if problems:
        raise UserError(problems)
