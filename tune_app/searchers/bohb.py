"""The model of BOHB: kernel densities of good and bad trials at the highest rung with enough.

Falkner, Klein & Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", ICML
2018, section 3.2 and algorithm 2 (https://arxiv.org/abs/1807.01774). With scheduler `hyperband` it
is the whole method. A third of all suggestions is random, so that exploration never stops.

Trials that did not fit into memory count among the bad ones. Scores of earlier runs (`warm_start`)
influence the choice less the more trials there are, as in `tpe`.
"""

from __future__ import annotations

import numpy as np

from tune_app.core.observations import Observations
from tune_app.core.state import StudyState
from tune_app.searchers._candidates import active, from_density
from tune_app.searchers._model_searcher import ModelSearcher
from tune_app.searchers._parzen import Parzen
from tune_app.searchers._priors import TRUST
from tune_app.searchers.random import Random
from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array
from tune_app.space.domains import Space

GOOD = 0.15
"""q in the paper."""
RANDOM = 1 / 3
"""ρ: the share of suggestions without the model."""
CANDIDATES = 64
"""N_s."""
WIDENING = 3.0
"""b_w: draws come from kernels that are this many times as wide as those of the density."""
NARROWEST = 1e-3


class Bohb(ModelSearcher):
    """Proposes the candidate with the largest ratio of the good to the bad density."""

    name = "bohb"

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed, Random(space, seed))

    def _judged(
        self,
        state: StudyState,
        observations: Observations,
        constraints: Constraints,
        rng: np.random.Generator,
    ) -> tuple[Array, Array] | None:
        """Candidates and the logarithm of good over bad, less what earlier runs say against it."""
        densities = self._densities(observations)
        earlier = self._prior_of_earlier_runs(state)
        if (densities is None and not earlier) or rng.random() < RANDOM:
            return None
        rows, merits = self._drawn(densities, constraints, rng)
        if earlier:
            trust = TRUST / max(len(observations.points), 1)
            merits = merits - trust * earlier.score(rows)
        return rows, merits

    def _drawn(
        self,
        densities: tuple[Parzen, Parzen] | None,
        constraints: Constraints,
        rng: np.random.Generator,
    ) -> tuple[Array, Array]:
        """Candidates (n, axes), and the log ratio (n,) of the good to the bad density."""
        if densities is None:
            rows = active(self._cube, self._cube.draw(rng, CANDIDATES), constraints)
            return rows, np.zeros(len(rows))
        good, bad = densities
        drawn = good.draw(rng, CANDIDATES, WIDENING)
        rows = from_density(self._cube, drawn, good.points, rng, constraints)
        return rows, good.log_density(rows) - bad.log_density(rows)

    def _densities(self, observations: Observations) -> tuple[Parzen, Parzen] | None:
        """The densities of good and bad trials; None if no rung has enough of both."""
        least = len(self._cube.axes) + 1
        for rung in reversed(range(observations.values.shape[1])):
            values = observations.values[:, rung]
            known = np.flatnonzero(~np.isnan(values))
            if len(known) < least + 2 or least == 1:
                continue
            order = known[np.argsort(values[known], kind="stable")]
            count = max(least, int(GOOD * len(order)))
            rest = max(least, int((1 - GOOD) * len(order)))
            bad = order[count : count + rest]
            if len(bad):
                worse = np.concatenate([observations.points[bad], observations.infeasible])
                return self._parzen(observations.points[order[:count]]), self._parzen(worse)
        return None

    def _parzen(self, points: Array) -> Parzen:
        """Widths by the normal reference rule; unordered values enter it by their indexes."""
        axes = self._cube.axes.values()
        scale = [1.0 if axis.ordered else axis.count for axis in axes]
        spread = np.nan_to_num(np.nanstd(np.where(np.isnan(points), 0.5, points), axis=0)) * scale
        widths = 1.06 * spread * len(points) ** (-1 / (4 + len(axes)))
        most = [np.inf if axis.ordered else 1 - 1 / axis.count for axis in axes]
        widths = np.clip(widths, NARROWEST, most)
        return Parzen(self._cube, points, widths, truncated=False, uniform=False)


def create(space: Space, seed: int) -> Bohb:
    """The searcher; it has no options."""
    return Bohb(space, seed)
