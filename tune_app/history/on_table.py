"""A searcher on a table: each suggestion is replaced by the nearest run without a trial."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_app.core.ports import Searcher, learns_from_history
from tune_app.core.state import StudyState
from tune_app.errors import Problem, UserError
from tune_app.history.table import Table
from tune_app.searchers._tried import stream
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import identity, searched

SAME = 1e-12
"""Tolerance for equal squared distances."""


class OnTable:
    """A searcher whose suggestions are replaced by the nearest runs of a table."""

    def __init__(self, table: Table, inner: Searcher, name: str, seed: int) -> None:
        self._table = table
        self._inner = inner
        self._seed = seed
        self._where = f"--searcher {name} on {table.name}"
        self._cube = Cube(table.space)
        self._points = np.array([self._cube.to_unit(params) for params in table.params])
        self._rows = rows_of(table)
        self._taken: dict[str, int] = {}

    @property
    def learns_from_history(self) -> bool:
        return learns_from_history(self._inner)

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        place = self._proposed(state, number)
        free = self._free(state)
        if place is None or not free.size:
            return None
        axes = self._cube.gaps(place[None, :], self._points[free])
        gaps = sum(axes, np.zeros((1, free.size)))[0]
        # A random one of the equally near runs: the rows may be sorted by their values.
        nearest = np.flatnonzero(gaps <= gaps.min() + SAME)
        rng = random.Random(stream(self._seed, "table", number))
        return varying_of(self._table, int(free[rng.choice(nearest)]))

    def _proposed(self, state: StudyState, number: int) -> Array | None:
        """The suggestion as a point in the unit cube: (axes,).

        Raises:
            UserError: the searcher, which may be the user's own, fails.
        """
        try:
            proposed = self._inner.suggest(state, number)
            if proposed is None:
                return None
            _check_names(proposed, self._table, self._where)
            return self._cube.to_unit(proposed)
        except UserError:
            raise
        except Exception as error:
            raise UserError(raised(error, self._where)) from error

    def _free(self, state: StudyState) -> NDArray[np.int_]:
        """The runs without a trial."""
        for trial in state.trials.values():
            if trial.id not in self._taken:
                self._taken[trial.id] = self._rows[key(trial.params)]
        free = np.ones(len(self._points), dtype=bool)
        free[list(self._taken.values())] = False
        return np.flatnonzero(free)


def _check_names(proposed: Mapping[str, Any], table: Table, where: str) -> None:
    """Refuses values for other parameters than the table's."""
    needed = searched(table.space)
    strange = [repr(name) for name in proposed if name not in table.space]
    missing = [repr(name) for name in needed if name not in proposed]
    words = ("values for unknown parameters", strange), ("no values for", missing)
    problems = [
        Problem(f"it proposes {what} {', '.join(names)}", where, f"values for {', '.join(needed)}")
        for what, names in words
        if names
    ]
    if problems:
        raise UserError(problems)


def raised(error: Exception, where: str) -> Problem:
    """The problem for an exception of a plug-in, which may be the user's own."""
    return Problem(f"{type(error).__name__}: {error}", where, fix="--debug shows where")


def rows_of(table: Table) -> dict[str, int]:
    """The row of each run, by the key of its searched values."""
    return {key(varying_of(table, row)): row for row in range(len(table.params))}


def varying_of(table: Table, row: int) -> dict[str, Any]:
    """The searched values of a run."""
    varying = searched(table.space)
    return {name: value for name, value in table.params[row].items() if name in varying}


def key(params: Mapping[str, Any]) -> str:
    """A key that is equal for equal values."""
    return identity(dict(sorted(params.items())))
