"""The importance of each searched parameter for a study's metric, with confidence intervals.

Trials are ranked by comparing each pair at the highest rung that both have reached, so that values
at different budgets are never compared.
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
"""With fewer trials no effect can be distinguished from chance."""


@dataclass(frozen=True, slots=True)
class Importance:
    """One parameter's effect; `matters` if it is significant."""

    parameter: str
    share: float
    low: float
    high: float
    chance: float
    matters: bool


def importance(state: StudyState) -> tuple[int, list[Importance]]:
    """The number of trials in the analysis, and the importance of each parameter, highest first.

    The seed is left out: its effect is noise. Diverged trials rank last. The analysis leaves out
    trials that ran out of memory, failed, were lost or cancelled, that changed their values during
    training, or that have values outside of the space, as untuned defaults may.
    """
    study = state.definition
    space, constraints = without_seed(study.space), study.constraints
    cube = Cube(space)
    steady = {name: trial for name, trial in state.trials.items() if not trial.takeovers}
    observations = ObservationReader(space, cube).read(replace(state, trials=steady), constraints)
    count = len(observations.points)
    if count < MIN_TRIALS:
        return count, []
    measured = effects(
        list(cube.axes.values()), observations.points, comparisons_lost(observations.values)
    )
    items = [_importance(name, effect) for name, effect in zip(cube.axes, measured, strict=True)]
    return count, sorted(items, key=lambda item: (not item.matters, -item.share, -item.high))


def _importance(name: str, effect: Effect) -> Importance:
    return Importance(name, **asdict(effect), matters=effect.chance <= LEVEL)


def comparisons_lost(values: Array) -> Array:
    """How many other trials each trial is worse than (trials,); a tie counts as half.

    Args:
        values: (trials, rungs), lower is better; NaN at rungs that a trial has not reached,
            infinite from the rung at which it diverged.
    """
    marked = values.copy()
    marked[np.isinf(values).any(axis=1)] = np.inf
    rungs = np.arange(marked.shape[1])
    top = np.where(np.isnan(marked), -1, rungs).max(axis=1)
    lost = np.zeros(len(marked))
    for rung in rungs:
        column = marked[:, rung]
        ending, beyond = top == rung, (top > rung) & ~np.isnan(column)
        lost[ending] += _worse_than(column[ending], column[ending | beyond])
        lost[beyond] += _worse_than(column[beyond], column[ending])
    return lost


def _worse_than(values: Array, others: Array) -> Array:
    ordered = np.sort(others)
    left, right = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    counts: Array = (left + right) / 2
    return counts
