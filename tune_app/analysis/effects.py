"""Estimates the share of the variance of ranks that each hyper-parameter explains, with intervals.

A regression on ranks. Each parameter has its own columns: a parabola for a range, indicators for
the values of a choice. Its share is the explained variance that they add to the columns of the
significant parameters, less what random columns would add on average (as in adjusted R²).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tune_app.space.cube import Array, Axis

LEVEL = 0.05
"""Significance level: how often a parameter without effect may be reported to matter."""
CONFIDENCE = 0.9
"""Confidence level of an interval for the share in the limit of infinitely many such trials."""
TRIALS_PER_COLUMN = 4
"""With fewer trials for each column, a regression overfits."""
MOST_TRIALS = 1000
"""Of more trials, a random sample of this size is used."""
SHUFFLES = 199
RESAMPLES = 200
SAME = 1e-6
"""Tolerance for collinear columns, as a share of a column's variance."""
TINY = 1e-12
"""Replaces a variance of zero."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One parameter's share of the variance of ranks, 0 to 1, with its interval.

    `chance` is the p-value of a permutation test of the parameter's values.
    """

    share: float
    low: float
    high: float
    chance: float


UNKNOWN = Effect(share=0.0, low=0.0, high=1.0, chance=1.0)


def effects(axes: Sequence[Axis], points: Array, scores: Array, seed: int = 0) -> list[Effect]:
    """The effect of each axis of the cube.

    Args:
        points: (trials, axes), in the unit cube; NaN where a parameter is inactive.
        scores: (trials,); only their ranking is used.
    """
    rng = np.random.default_rng(seed)
    if len(scores) > MOST_TRIALS:
        kept = rng.choice(len(scores), MOST_TRIALS, replace=False)
        points, scores = points[kept], scores[kept]
    ranks = _ranks(scores)
    if not ranks.any():
        return [UNKNOWN] * len(axes)
    blocks = [_columns(axis, column) for axis, column in zip(axes, points.T, strict=True)]
    counts = rng.multinomial(len(ranks), np.full(len(ranks), 1 / len(ranks)), size=RESAMPLES)
    out = _significant(ranks, blocks)
    return [
        _effect(ranks, block, [blocks[i] for i in out if i != index], np.sqrt(counts), rng)
        for index, block in enumerate(blocks)
    ]


def _ranks(scores: Array) -> Array:
    """Centred ranks (trials,); ties get their mean rank."""
    ordered = np.sort(scores)
    below, upto = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    ranks: Array = (below + upto - len(scores)) / 2
    return ranks


def _columns(axis: Axis, column: Array) -> Array:
    """The regression columns (trials, columns) of a parameter with coordinates (trials,)."""
    present = ~np.isnan(column)
    if axis.ordered or axis.levels is None:
        filled = np.where(present, column, column[present].mean() if present.any() else 0.0)
        middle = filled - filled.mean()
        is_line = axis.levels is not None and axis.count == 2
        columns = [middle] if is_line else [middle, middle**2]
    else:
        columns = [np.where(present, column == level, 0.0) for level in axis.levels[1:]]
    if not present.all():
        columns.append(present.astype(float))
    return np.stack(columns, axis=1)


def _significant(ranks: Array, blocks: list[Array]) -> list[int]:
    """The significant parameters by forward selection, the strongest first."""
    chosen: list[int] = []
    while True:
        beside = [blocks[index] for index in chosen]
        left = [i for i in range(len(blocks)) if i not in chosen and _is_enough(blocks[i], beside)]
        chances = {index: _Fits(ranks, blocks[index][None], beside).chance for index in left}
        best = min(left, key=lambda index: chances[index], default=None)
        if best is None or chances[best] > LEVEL:
            return chosen
        chosen.append(best)


def _is_enough(block: Array, beside: list[Array]) -> bool:
    """Whether there are enough trials for all these columns."""
    columns = block.shape[1] + sum(other.shape[1] for other in beside)
    return bool(columns * TRIALS_PER_COLUMN <= len(block))


def _effect(
    ranks: Array, block: Array, beside: list[Array], weights: Array, rng: np.random.Generator
) -> Effect:
    if not _is_enough(block, []):
        return UNKNOWN
    fit = _Fits(ranks, block[None], beside)
    permuted = np.stack([rng.permutation(block) for _ in range(SHUFFLES)])
    as_good = int((_Fits(ranks, permuted, beside).strength >= fit.strength).sum())
    drawn = _Fits(ranks, block[None], beside, weights).share
    # In a small sample, bootstrap resamples vary too little and overfit: they give the width of
    # the interval, corrected for the degrees of freedom, but not the share itself.
    apart = (drawn - np.median(drawn)) * np.sqrt(len(ranks) / fit.freedom)
    ends = fit.share + np.quantile(apart, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    share, low, high = np.clip([*fit.share, *ends], 0.0, 1.0).tolist()
    return Effect(share, low, high, chance=(1 + as_good) / (1 + SHUFFLES))


class _Fits:
    """The variance that a block of columns adds to others, for many blocks or weights at once.

    Args:
        ranks: (trials,).
        blocks: (fits or 1, trials, columns).
        weights: (fits, trials), the square roots of the weights of trials.
    """

    def __init__(
        self, ranks: Array, blocks: Array, beside: list[Array], weights: Array | None = None
    ) -> None:
        weight = np.ones((1, len(ranks), 1)) if weights is None else weights[..., None]
        one = weight / np.sqrt((weight**2).sum(axis=1, keepdims=True))
        target = _without(one, ranks[:, None] * weight)
        others = _basis(_without(one, np.hstack([blocks[0, :, :0], *beside]) * weight))
        own = _basis(_without(others, _without(one, blocks * weight)))
        left = _without(others, target)
        gain = ((own.swapaxes(1, 2) @ left) ** 2).sum(axis=(1, 2))
        columns = own.any(axis=1).sum(axis=1)
        self.freedom = np.maximum(len(ranks) - 1 - others.any(axis=1).sum(axis=1) - columns, 1)
        noise = np.maximum((left**2).sum(axis=(1, 2)) - gain, TINY) / self.freedom
        total = np.maximum((target**2).sum(axis=(1, 2)), TINY)
        self.columns = np.maximum(columns, 1)
        self.share: Array = (gain - columns * noise) / total
        self.strength: Array = gain / self.columns / noise
        """The F statistic."""

    @property
    def chance(self) -> float:
        """The p-value of the first fit by the F test, which assumes normal ranks: approximate."""
        # Slow to import, and not needed with few trials.
        from scipy.special import fdtrc

        return float(fdtrc(self.columns, self.freedom, self.strength)[0])


def _without(basis: Array, columns: Array) -> Array:
    residuals: Array = columns - basis @ (basis.swapaxes(1, 2) @ columns)
    return residuals


def _basis(columns: Array) -> Array:
    """Orthonormal columns with the same span; zeros in place of collinear ones."""
    lengths = np.sqrt((columns**2).sum(axis=1, keepdims=True))
    sized = columns * _inverse(lengths)
    values, vectors = np.linalg.eigh(sized.swapaxes(1, 2) @ sized)
    basis: Array = sized @ (vectors * np.sqrt(_inverse(values))[:, None, :])
    return basis


def _inverse(numbers: Array) -> Array:
    """1 / number, or zero for numbers up to `SAME`."""
    inverse: Array = np.where(numbers > SAME, 1 / np.maximum(numbers, SAME), 0.0)
    return inverse
