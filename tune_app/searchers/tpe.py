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
from typing import Any

import numpy as np

from tune_app.core.observations import ObservationReader, Observations
from tune_app.core.state import StudyState
from tune_app.errors import Problem, UserError
from tune_app.searchers._candidates import active, from_density, in_order
from tune_app.searchers._parzen import Parzen
from tune_app.searchers._priors import TRUST, log_densities, share
from tune_app.searchers._projection import project
from tune_app.searchers._seed import drawn_seed
from tune_app.searchers._tried import Seen, first_fresh, stream
from tune_app.searchers._warm_start import WarmStartPrior
from tune_app.searchers.quasirandom import QuasiRandom
from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import Space
from tune_app.space.nuisance import without_seed

GOOD, MOST_GOOD = 0.1, 25
"""The share of trials that count as good, and their maximum number; as in Optuna."""
MOST_BAD = 1000
"""At most this many of the other trials are used."""
WIDTH = 0.2
"""Kernel width for one good trial; for n it is multiplied by n^(-1/(axes + 4)), Scott's rule."""
CHANGE = 0.2
"""The probability that a draw changes an unordered value of the good trial it starts from."""
CANDIDATES = 64


class Tpe:
    """Proposes the candidate with the largest ratio of the good to the bad density."""

    learns_from_history = True

    def __init__(self, space: Space, seed: int, startup: int) -> None:
        self._space = space
        self._seed = seed
        self._startup = startup
        modelled = without_seed(space)
        self._cube = Cube(modelled)
        self._observations = ObservationReader(modelled, self._cube)
        self._seen = Seen(space)
        self._first = QuasiRandom(space, seed)
        self._earlier: WarmStartPrior | None = None

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        constraints = state.definition.constraints
        observations = self._observations.read(state, constraints)
        if self._earlier is None:
            self._earlier = WarmStartPrior(self._space, state.definition.earlier_runs)
        is_early = not observations.is_enough(self._startup) and not self._earlier
        if is_early or not self._cube.axes:
            return self._first.suggest(state, number)
        rng = np.random.default_rng(stream(self._seed, "tpe", number))
        drawn = drawn_seed(self._space, self._seed, number)
        constraints = constraints.beside(drawn)
        rows, merits = self._judged(observations, state, constraints, rng)
        proposed = (self._cube.from_unit(row) | drawn for row in in_order(rows, merits))
        params = first_fresh(proposed, self._space, self._seen(state), constraints)
        return self._first.suggest(state, number) if params is None else params

    def _judged(
        self,
        observations: Observations,
        state: StudyState,
        constraints: Constraints,
        rng: np.random.Generator,
    ) -> tuple[Array, Array]:
        """Candidates (n, axes), and the log ratio (n,) of the good to the bad density."""
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
        if self._earlier:
            merits = merits - trust * self._earlier.score(rows)
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
    if type(startup) is not int or startup < 1:
        what = f"{startup!r} startup trials"
        raise UserError(Problem(what, "tune.searcher.startup", "a whole number above 0"))
    return Tpe(space, seed, startup)
