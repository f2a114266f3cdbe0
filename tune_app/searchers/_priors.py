"""How far a study's prior is followed, and its density on rows of the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import kendalltau

from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Outcome, TrialState
from tune_app.space import prior
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import Space
from tune_app.space.prior import Belief

LEAST = -4.0
TRUST = 4
"""As many trials with a value weigh as much as the prior's density does."""
SHARE = 0.05
"""Of the suggestions that follow the prior before anything is known of it."""
FADING = 32
"""With so many trials told of, half as many suggestions follow it."""
WITNESSES = 50
"""So many first trials say whether the prior is right."""
FEWEST = 4
"""With fewer of them nothing is said."""


def share(state: StudyState, space: Space, beliefs: Mapping[str, Belief]) -> float:
    """The probability that the next draw follows the prior; for the first searched trial it is 1.

    The others are as without a prior, so that a wrong one costs no more than its own trials. Their
    share falls with the trials told of, and grows or vanishes as what the prior likes turns out
    better or worse than what it does not.
    """
    if all(trial.kind is Kind.BASELINE for trial in state.trials.values()):
        return 1.0
    told = [trial for trial in state.trials.values() if _rank(trial, state) is not None]
    credit = 1 + 2 * _agreement(told[:WITNESSES], state, space, beliefs)
    return max(SHARE * credit, 0.0) * FADING / (FADING + len(told))


def _agreement(
    told: list[TrialState], state: StudyState, space: Space, beliefs: Mapping[str, Belief]
) -> float:
    """1 if the trials rank as the prior would have them, -1 if the other way round (Kendall)."""
    if len(told) < FEWEST:
        return 0.0
    likely = _likely(space, beliefs, [trial.params for trial in told])
    ranks = [_rank(trial, state) for trial in told]
    agreement = -kendalltau(likely, np.array(ranks)).statistic
    return 0.0 if math.isnan(agreement) else float(agreement)


def _rank(trial: TrialState, state: StudyState) -> float | None:
    """The value at the first rung, lower is better, infinite if diverged, None if not known."""
    if trial.rung_values:
        return state.sign * trial.rung_values[min(trial.rung_values)]
    return math.inf if trial.outcome is Outcome.DIVERGED else None


def _likely(
    space: Space, beliefs: Mapping[str, Belief], params: Sequence[Mapping[str, object]]
) -> Array:
    """The logarithm of the density at each of some values (n,).

    A parameter that does not count somewhere is as likely there as on average where it does.
    """
    total = np.zeros(len(params))
    for name, belief in beliefs.items():
        counts = np.array([name in values for values in params])
        logs = [
            max(prior.log_density(space[name], belief, values[name]), LEAST)
            for values in params
            if name in values
        ]
        if logs:
            total[counts] += logs
            total[~counts] += np.mean(logs)
    return total


def log_densities(
    cube: Cube,
    space: Space,
    rows: Array,
    beliefs: Mapping[str, Belief],
) -> Array:
    """How likely a prior makes each row (rows,), as a logarithm, up to a constant.

    No single belief counts for less than `LEAST`: far from a narrow one all values are alike, and a
    wrong one is outgrown.
    """
    return _likely(space, beliefs, [cube.from_unit(row) for row in rows])
