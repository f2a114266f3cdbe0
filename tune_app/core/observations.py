"""A study's state as the observations of a model: points of trials, and their values at each rung.

A diverged trial counts as infinitely bad at every rung it did not reach, and a trial that ran out
of memory as infeasible. Failed, lost and cancelled trials are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tune_app.core.state import StudyState
from tune_app.core.trial import Outcome, Params, Status, TrialState
from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import Space, contains, searched

FEWEST = 2
"""A model needs at least this many observed trials."""
SILENT = frozenset({Outcome.FAILED, Outcome.LOST, Outcome.CANCELLED})


@dataclass(frozen=True, slots=True)
class Observations:
    """Trials as arrays, in the order of their numbers. Lower values are better."""

    points: Array
    """(trials, axes), in the unit cube."""
    values: Array
    """(trials, rungs); NaN at rungs not reached, infinite at those a diverged trial missed."""
    pending: Array
    """(pending, axes): trials without a value so far."""
    infeasible: Array
    """(infeasible, axes): trials that did not fit in memory."""

    def is_enough(self, startup: int) -> bool:
        """Whether there is enough data for a model.

        Args:
            startup: the number of ended or observed trials that the model waits for.
        """
        ended = len(self.points) + len(self.infeasible)
        return ended >= startup and len(self.points) >= min(startup, FEWEST)


class ObservationReader:
    """Converts states to observations; caches the point of each trial in the unit cube."""

    def __init__(self, space: Space, cube: Cube) -> None:
        self._space = space
        self._cube = cube
        self._points: dict[str, tuple[Params, Array | None]] = {}

    def read(self, state: StudyState, constraints: Constraints) -> Observations:
        """The observations of all trials; trials outside the space or constraints are left out."""
        observed: list[TrialState] = []
        points: list[Array] = []
        pending, infeasible = [], []
        for trial in state.trials.values():
            point = self._point(trial, constraints)
            if point is None or trial.outcome in SILENT:
                continue
            if trial.outcome is Outcome.OUT_OF_MEMORY:
                infeasible.append(point)
            elif trial.rung_values or trial.outcome is Outcome.DIVERGED:
                observed.append(trial)
                points.append(point)
            elif trial.status is not Status.ENDED:
                pending.append(point)
        return Observations(
            points=self._stack(points),
            values=values_by_rung(state, observed),
            pending=self._stack(pending),
            infeasible=self._stack(infeasible),
        )

    def _stack(self, rows: list[Array]) -> Array:
        return np.array(rows, dtype=float).reshape(len(rows), len(self._cube.axes))

    def _point(self, trial: TrialState, constraints: Constraints) -> Array | None:
        cached = self._points.get(trial.id)
        if cached is None or cached[0] is not trial.params:
            inside = _is_inside(trial.params, self._space, constraints)
            cached = trial.params, self._cube.to_unit(trial.params) if inside else None
            self._points[trial.id] = cached
        return cached[1]


def _is_inside(params: Params, space: Space, constraints: Constraints) -> bool:
    """Whether exactly the active parameters have a value, and each lies in its domain."""
    active = constraints.active({**constraints.constants, **params})
    return all(
        name in params and contains(domain, params[name])
        if constraints.is_active(name, active)
        else name not in params
        for name, domain in searched(space).items()
    )


def values_by_rung(state: StudyState, trials: Sequence[TrialState]) -> Array:
    """The objective of trials at each rung, of shape (trials, rungs); lower values are better.

    NaN where a trial has not been, infinite at all rungs that a diverged one has not reached.
    """
    rungs = state.full_rung + 1
    missing = [np.inf if trial.outcome is Outcome.DIVERGED else np.nan for trial in trials]
    rows = [
        [state.sign * trial.rung_values.get(rung, state.sign * beyond) for rung in range(rungs)]
        for trial, beyond in zip(trials, missing, strict=True)
    ]
    return np.array(rows, dtype=float).reshape(len(trials), rungs)
