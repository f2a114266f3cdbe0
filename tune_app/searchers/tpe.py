"""TPE, the tree-structured Parzen estimator, over every trial's projected final value.

Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011, in its multivariate
form (Falkner et al., "BOHB", ICML 2018); Watanabe, "Tree-Structured Parzen Estimator", 2023
(https://arxiv.org/abs/2304.11127) compares its design choices. Trials are split into the best tenth
and the others; a suggestion has a high density among the former and a low one among the latter. All
rungs count: `_projection` extrapolates each trial to the full budget.

Trials without a value yet count as bad (the constant liar), and so do diverged ones and those that
did not fit into memory. A prior enters as a factor, its density to a power that falls with the
number of observed trials, and so do the scores of earlier runs (`warm_start`).
"""

from __future__ import annotations

import math

import numpy as np

from tune_app.core.observations import Observations
from tune_app.core.state import StudyState
from tune_app.searchers._candidates import active, from_density
from tune_app.searchers._model_searcher import ModelSearcher, checked_startup
from tune_app.searchers._parzen import Parzen
from tune_app.searchers._priors import TRUST, log_densities, share
from tune_app.searchers._projection import project
from tune_app.searchers.quasirandom import QuasiRandom
from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array
from tune_app.space.domains import Space

GOOD, MOST_GOOD = 0.1, 25
"""The share of trials that count as good, and their maximum number; as in Optuna."""
MOST_BAD = 1000
"""At most this many of the other trials are used."""
WIDTH = 0.2
"""Kernel width for one good trial; for n it is multiplied by n^(-1/(axes + 4)), Scott's rule."""
CHANGE = 0.2
"""The probability that a draw changes an unordered value of the good trial it starts from."""
CANDIDATES = 64


class Tpe(ModelSearcher):
    """Proposes the candidate with the largest ratio of the good to the bad density."""

    name = "tpe"

    def __init__(self, space: Space, seed: int, startup: int) -> None:
        super().__init__(space, seed, QuasiRandom(space, seed))
        self._startup = startup

    def _judged(
        self,
        state: StudyState,
        observations: Observations,
        constraints: Constraints,
        rng: np.random.Generator,
    ) -> tuple[Array, Array] | None:
        """Candidates (n, axes), and the log ratio (n,) of the good to the bad density."""
        earlier = self._prior_of_earlier_runs(state)
        if not observations.is_enough(self._startup) and not earlier:
            return None
        if not observations.is_enough(self._startup):
            rows = active(self._cube, self._cube.draw(rng, CANDIDATES), constraints)
            merits = np.zeros(len(rows))
        else:
            good, bad = self._split(observations, rng)
            drawn = good.draw(rng, CANDIDATES)
            rows = from_density(self._cube, drawn, good.points, rng, constraints)
            merits = good.log_density(rows) - bad.log_density(rows)
        trust = TRUST / max(len(observations.points), 1)
        beliefs = state.definition.prior
        if beliefs and rng.random() < share(state, self._space, beliefs):
            likely = log_densities(self._cube, self._space, rows, beliefs)
            merits = merits + trust * likely
        if earlier:
            merits = merits - trust * earlier.score(rows)
        return rows, merits

    def _split(self, observations: Observations, rng: np.random.Generator) -> tuple[Parzen, Parzen]:
        means, _ = project(observations.values)
        order = np.argsort(means, kind="stable")
        count = min(math.ceil(GOOD * len(order)), MOST_GOOD)
        others = order[count:]
        if len(others) > MOST_BAD:
            others = rng.choice(others, MOST_BAD, replace=False)
        bad = [observations.points[others], observations.pending, observations.infeasible]
        return self._parzen(observations.points[order[:count]]), self._parzen(np.concatenate(bad))

    def _parzen(self, points: Array) -> Parzen:
        axes = self._cube.axes.values()
        width = WIDTH * max(len(points), 1) ** (-1 / (len(axes) + 4))
        widths = np.array([width if axis.ordered else CHANGE for axis in axes])
        return Parzen(self._cube, points, widths, truncated=True, uniform=True)


def create(space: Space, seed: int, *, startup: int = 10) -> Tpe:
    """The searcher.

    Args:
        space: all parameters.
        seed: of the study.
        startup: quasi-random trials before the model is used.

    Raises:
        UserError: `startup` is not a whole number above 0.
    """
    return Tpe(space, seed, checked_startup(startup))
