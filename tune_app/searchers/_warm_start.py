"""Earlier runs as a first opinion of the space, which the study's own trials soon outweigh.

The earlier runs' scores are fitted by a process of their own. Its mean is the prior mean of the
study's model, stretched and shifted to the study's losses: Golovin et al., "Google Vizier", KDD
2017, section 3.3. Where the study's trials find that the earlier order does not hold here, the
stretch goes to zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from tune_app.core.definition import EarlierRun
from tune_app.searchers import _gaussian_process
from tune_app.searchers._gaussian_process import Kernel, NoisyValues, Process
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import Space, contains
from tune_app.space.nuisance import without_seed

SCORE_STD = 0.3
"""Standard deviation of an earlier run's score."""
SLOPE_PRIOR_TRIALS = 3.0
"""As many trials weigh as much as the belief that the earlier order holds here."""


class WarmStartPrior:
    """What earlier runs say of any point; false where there are none."""

    def __init__(self, space: Space, earlier: Sequence[EarlierRun]) -> None:
        self._cube = Cube(without_seed(space))
        # Choices that cannot run here have left the space since the runs were read.
        self._told = [
            (params, score)
            for params, score in earlier
            if all(contains(space[name], value) for name, value in params.items())
        ]

    def __bool__(self) -> bool:
        return bool(self._told)

    @cached_property
    def runs(self) -> NoisyValues:
        """Scores of the earlier runs; lower is better."""
        points = np.array([self._cube.to_unit(params) for params, _ in self._told])
        scores = np.array([score for _, score in self._told])
        return NoisyValues(points, scores, np.full(len(scores), SCORE_STD**2))

    @cached_property
    def kernel(self) -> Kernel:
        """Fitted to the earlier runs."""
        return _gaussian_process.fit(
            self._cube, self.runs.points, self.runs.values, self.runs.variances
        )

    def score(self, points: Array) -> Array:
        """What a run at each of the points (n, axes) would have scored."""
        return self._process.predict(points)[0]

    @cached_property
    def _process(self) -> Process:
        runs = self.runs
        return Process(self._cube, self.kernel, runs.points, runs.values, runs.variances)

    def scaled_to(self, points: Array, values: Array) -> Callable[[Array], Array]:
        """The scores, stretched and shifted to the study's values (n,) at its points (n, axes)."""
        shift, slope = stretch(self.score(points), values)
        return lambda rows: shift + slope * self.score(rows)


def stretch(scores: Array, values: Array) -> tuple[float, float]:
    """Shift and stretch that turn scores into values, both (n,).

    Drawn to what would give both the same spread; never negative.
    """
    spread = float(values.std()) / (float(scores.std()) or 1.0)
    apart = scores - scores.mean()
    weight = float(apart @ apart) + SLOPE_PRIOR_TRIALS
    slope = max(
        (float(apart @ (values - values.mean())) + SLOPE_PRIOR_TRIALS * spread) / weight, 0.0
    )
    return float(values.mean() - slope * scores.mean()), slope
