"""How much each searched parameter matters for a study's metric, with the doubt there is.

Pure: reads the state of a study. Trials are put in one order by comparing each two at the highest
rung that both have been at, so that no two budgets are mixed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from tune_app.analysis.effects import LEVEL, Effect, effects
from tune_app.core.observations import ObservationReader
from tune_app.core.state import StudyState
from tune_app.space.cube import Array, Cube
from tune_app.space.nuisance import without_seed

MIN_TRIALS = 8
"""With fewer trials nothing at all can be told apart from chance."""


@dataclass(frozen=True, slots=True)
class Importance:
    """One parameter's effect; `matters` where values dealt out by chance rarely do as well."""

    parameter: str
    share: float
    low: float
    high: float
    chance: float
    matters: bool


def importance(state: StudyState) -> tuple[int, list[Importance]]:
    """The number of trials that tell something, and what they tell: what matters most first.

    The seed is not ranked: what it changes is noise. Diverged trials are the worst of all; those
    that ran out of memory, failed, were lost or cancelled tell nothing, nor do those that changed
    their values on the way, or have values outside of the space, as untuned defaults may.
    """
    study = state.definition
    space, constraints = without_seed(study.space), study.constraints
    cube = Cube(space)
    steady = {name: trial for name, trial in state.trials.items() if not trial.takeovers}
    observations = ObservationReader(space, cube).read(replace(state, trials=steady), constraints)
    count = len(observations.points)
    if count < MIN_TRIALS:
        return count, []
    found = effects(
        list(cube.axes.values()), observations.points, comparisons_lost(observations.values)
    )
    told = [_told(name, effect) for name, effect in zip(cube.axes, found, strict=True)]
    return count, sorted(told, key=lambda item: (not item.matters, -item.share, -item.high))


def _told(name: str, effect: Effect) -> Importance:
    return Importance(name, **asdict(effect), matters=effect.chance <= LEVEL)


def comparisons_lost(values: Array) -> Array:
    """(trials,): how many others each trial is worse than, ties as half.

    Args:
        values: (trials, rungs), lower is better; NaN where a trial has not been, infinite from
            where it diverged.
    """
    told = values.copy()
    told[np.isinf(values).any(axis=1)] = np.inf
    rungs = np.arange(told.shape[1])
    top = np.where(np.isnan(told), -1, rungs).max(axis=1)
    lost = np.zeros(len(told))
    for rung in rungs:
        column = told[:, rung]
        ending, beyond = top == rung, (top > rung) & ~np.isnan(column)
        lost[ending] += _worse_than(column[ending], column[ending | beyond])
        lost[beyond] += _worse_than(column[beyond], column[ending])
    return lost


def _worse_than(values: Array, others: Array) -> Array:
    ordered = np.sort(others)
    left, right = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    found: Array = (left + right) / 2
    return found
