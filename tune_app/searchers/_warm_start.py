"""The warm-start prior: a model of earlier runs, which the study's own trials soon outweigh.

A Gaussian process is fitted to the scores of the earlier runs. Its mean, scaled and shifted to the
study's losses, is the prior mean of the study's model: Golovin et al., "Google Vizier", KDD 2017,
section 3.3. If the ranking of the study's trials contradicts the earlier one, the scale goes to 0.
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
"""The prior that the earlier ranking holds in this study weighs as much as this many trials."""


class WarmStartPrior:
    """Predicts the score of any point from earlier runs; false without earlier runs."""

    def __init__(self, space: Space, earlier: Sequence[EarlierRun]) -> None:
        self._cube = Cube(without_seed(space))
        # Preflight may have dropped values from the space since the runs were read.
        self._earlier = [
            (params, score)
            for params, score in earlier
            if all(contains(space[name], value) for name, value in params.items())
        ]

    def __bool__(self) -> bool:
        return bool(self._earlier)

    @cached_property
    def runs(self) -> NoisyValues:
        """The scores of the earlier runs; lower is better."""
        points = np.array([self._cube.to_unit(params) for params, _ in self._earlier])
        scores = np.array([score for _, score in self._earlier])
        return NoisyValues(points, scores, np.full(len(scores), SCORE_STD**2))

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel fitted to the earlier runs."""
        return _gaussian_process.fit(
            self._cube, self.runs.points, self.runs.values, self.runs.variances
        )

    def score(self, points: Array) -> Array:
        """The predicted scores (n,) of runs at points (n, axes)."""
        return self._process.predict(points)[0]

    @cached_property
    def _process(self) -> Process:
        runs = self.runs
        return Process(self._cube, self.kernel, runs.points, runs.values, runs.variances)

    def scaled_to(self, points: Array, values: Array) -> Callable[[Array], Array]:
        """Predicts scores scaled and shifted to the study's values (n,) at its points (n, axes)."""
        shift, slope = stretch(self.score(points), values)
        return lambda rows: shift + slope * self.score(rows)


def stretch(scores: Array, values: Array) -> tuple[float, float]:
    """Shift and scale of a linear fit from scores to values, both (n,).

    The scale is shrunk towards the ratio of their standard deviations; it is never negative.
    """
    spread = float(values.std()) / (float(scores.std()) or 1.0)
    apart = scores - scores.mean()
    weight = float(apart @ apart) + SLOPE_PRIOR_TRIALS
    slope = max(
        (float(apart @ (values - values.mean())) + SLOPE_PRIOR_TRIALS * spread) / weight, 0.0
    )
    return float(values.mean() - slope * scores.mean()), slope
