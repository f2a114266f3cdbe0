"""What a study's state tells a model: where trials lie, and how they stand at each rung.

Outcomes are told truthfully: a diverged trial is as bad as any at every rung, one out of memory is
infeasible, and failed, lost and cancelled ones say nothing.
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
"""With fewer values there is nothing to compare."""
SILENT = frozenset({Outcome.FAILED, Outcome.LOST, Outcome.CANCELLED})


@dataclass(frozen=True, slots=True)
class Observations:
    """Trials as arrays, in the order of their numbers. Lower values are better."""

    points: Array
    """(trials, axes), in the unit cube."""
    values: Array
    """(trials, rungs); NaN where a trial has not been, infinite from where it diverged."""
    pending: Array
    """(pending, axes): trials that say nothing yet."""
    infeasible: Array
    """(infeasible, axes): trials that did not fit in memory."""

    def is_enough(self, startup: int) -> bool:
        """Whether a model that waits for so many trials has something to learn from."""
        ended = len(self.points) + len(self.infeasible)
        return ended >= startup and len(self.points) >= min(startup, FEWEST)


class ObservationReader:
    """Reads histories. What depends on a trial's values alone is worked out once per trial."""

    def __init__(self, space: Space, cube: Cube) -> None:
        self._space = space
        self._cube = cube
        self._places: dict[str, tuple[Params, Array | None]] = {}

    def read(self, state: StudyState, constraints: Constraints) -> Observations:
        """The state as a model sees it."""
        observed: list[TrialState] = []
        points: list[Array] = []
        pending, infeasible = [], []
        for trial in state.trials.values():
            place = self._place(trial, constraints)
            if place is None or trial.outcome in SILENT:
                continue
            if trial.outcome is Outcome.OUT_OF_MEMORY:
                infeasible.append(place)
            elif trial.rung_values or trial.outcome is Outcome.DIVERGED:
                observed.append(trial)
                points.append(place)
            elif trial.status is not Status.ENDED:
                pending.append(place)
        return Observations(
            points=self._stack(points),
            values=values_by_rung(state, observed),
            pending=self._stack(pending),
            infeasible=self._stack(infeasible),
        )

    def _stack(self, rows: list[Array]) -> Array:
        return np.array(rows, dtype=float).reshape(len(rows), len(self._cube.axes))

    def _place(self, trial: TrialState, constraints: Constraints) -> Array | None:
        known = self._places.get(trial.id)
        if known is None or known[0] is not trial.params:
            inside = _is_inside(trial.params, self._space, constraints)
            known = trial.params, self._cube.to_unit(trial.params) if inside else None
            self._places[trial.id] = known
        return known[1]


def _is_inside(params: Params, space: Space, constraints: Constraints) -> bool:
    """Whether there is a value for all that counts beside the others, and for nothing else."""
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
