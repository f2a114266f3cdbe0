"""Checks the options of successive halving: the reduction factor and the rungs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tune_app.errors import Problem, UserError

MAX_ETA, MAX_RUNGS = 100, 10


def ladder(eta: float, rungs: int | list[float]) -> tuple[float, ...]:
    """The rungs as shares of the budget, ascending to 1: a list, or a number a factor `eta` apart.

    Raises:
        UserError: `eta` or `rungs` is out of range.
    """
    problems = []
    if not isinstance(eta, (int, float)) or not 1 < eta <= MAX_ETA:
        what, expected = (
            f"{eta!r} is not a reduction factor",
            f"a number above 1, at most {MAX_ETA}",
        )
        problems.append(Problem(what, "tune.scheduler.eta", expected))
    problems += rung_problems(rungs)
    if problems:
        raise UserError(problems)
    if isinstance(rungs, list):
        return tuple(float(rung) for rung in rungs)
    return tuple(eta ** (index - rungs + 1) for index in range(rungs))


def rung_problems(rungs: object) -> list[Problem]:
    """Why `rungs` is neither a valid number of rungs nor a valid list of them."""
    if _is_list(rungs) if isinstance(rungs, list) else _is_count(rungs):
        return []
    expected = f"a whole number from 1 to {MAX_RUNGS}, or shares such as [0.1, 0.3, 1]"
    return [
        Problem(f"{rungs!r} is not a number or list of rungs", "tune.scheduler.rungs", expected)
    ]


def _is_count(rungs: object) -> bool:
    return type(rungs) is int and 1 <= rungs <= MAX_RUNGS


def _is_list(rungs: Sequence[object]) -> bool:
    shares = [rung for rung in rungs if isinstance(rung, (int, float)) and 0 < rung <= 1]
    ascending = all(low < high for low, high in pairwise(shares))
    return len(shares) == len(rungs) <= MAX_RUNGS and ascending and shares[-1:] == [1]
