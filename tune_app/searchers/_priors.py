"""How often suggestions follow a study's prior, and the prior's density in the unit cube."""

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
"""Lower bound for the log density of a belief."""
TRUST = 4
"""The prior's log density is multiplied by this number / number of observed trials."""
SHARE = 0.05
"""The share of suggestions that follow the prior before its agreement with trials is known."""
FADING = 32
"""After this many observed trials, the share of suggestions that follow the prior is halved."""
WITNESSES = 50
"""The agreement of the prior is measured on this many of the first observed trials."""
FEWEST = 4
"""With fewer observed trials, the agreement counts as 0."""


def share(state: StudyState, space: Space, beliefs: Mapping[str, Belief]) -> float:
    """The probability that the next suggestion follows the prior; 1 for the first searched trial.

    The other suggestions are as without a prior, so that a wrong one costs only its own trials. The
    probability falls with the number of observed trials. It is larger if their results agree with
    the prior, down to 0 if they contradict it.
    """
    if all(trial.kind is Kind.BASELINE for trial in state.trials.values()):
        return 1.0
    observed = [trial for trial in state.trials.values() if _rank(trial, state) is not None]
    credit = 1 + 2 * _agreement(observed[:WITNESSES], state, space, beliefs)
    return max(SHARE * credit, 0.0) * FADING / (FADING + len(observed))


def _agreement(
    observed: list[TrialState], state: StudyState, space: Space, beliefs: Mapping[str, Belief]
) -> float:
    """Kendall's tau between the prior's density and results: 1 for agreement, -1 for opposition."""
    if len(observed) < FEWEST:
        return 0.0
    likely = _likely(space, beliefs, [trial.params for trial in observed])
    ranks = [_rank(trial, state) for trial in observed]
    agreement = -kendalltau(likely, np.array(ranks)).statistic
    return 0.0 if math.isnan(agreement) else float(agreement)


def _rank(trial: TrialState, state: StudyState) -> float | None:
    """The value at the first rung, lower is better; infinite if diverged, None without a value."""
    if trial.rung_values:
        return state.sign * trial.rung_values[min(trial.rung_values)]
    return math.inf if trial.outcome is Outcome.DIVERGED else None


def _likely(
    space: Space, beliefs: Mapping[str, Belief], params: Sequence[Mapping[str, object]]
) -> Array:
    """The prior's log density for each of `params`: (n,).

    An inactive parameter contributes the mean of its log density over the others of `params`.
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
    """The prior's log density (rows,) of rows (rows, axes), up to a constant.

    Each belief contributes at least `LEAST`: far from a narrow belief all values are equally
    likely, so that trials can outweigh a wrong one.
    """
    return _likely(space, beliefs, [cube.from_unit(row) for row in rows])
