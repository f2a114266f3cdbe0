"""How much of the order of trials goes with each hyper-parameter, and how sure that is.

A regression on ranks. Each parameter has columns of its own: a parabola along a range, one column
for each other choice. Its share is what they add to the explained variance of ranks, beside the
parameters that stand out themselves, less what columns of no meaning would add on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tune_app.space.cube import Array, Axis

LEVEL = 0.05
"""How often a parameter of no meaning may be told to matter."""
CONFIDENCE = 0.9
"""How often an interval is to hold the share that any number of such trials would show."""
TRIALS_PER_COLUMN = 4
"""With fewer trials for each column a regression explains whatever it is given."""
MOST_TRIALS = 1000
"""Of more trials so many tell enough."""
SHUFFLES = 199
RESAMPLES = 200
SAME = 1e-6
"""A column that differs from others by less of its variance tells nothing of its own."""
TINY = 1e-12
"""In place of no noise at all."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One parameter's share of the variance of ranks, 0 to 1, with its interval.

    `chance` is how often the parameter's own values, dealt out anew to the trials, do as well.
    """

    share: float
    low: float
    high: float
    chance: float


UNKNOWN = Effect(share=0.0, low=0.0, high=1.0, chance=1.0)


def effects(axes: Sequence[Axis], points: Array, scores: Array, seed: int = 0) -> list[Effect]:
    """The effect of each axis of the cube.

    Args:
        points: (trials, axes), in the unit cube; NaN where a parameter did not count.
        scores: (trials,), of which the order alone counts.
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
    out = _standing_out(ranks, blocks)
    return [
        _effect(ranks, block, [blocks[i] for i in out if i != index], np.sqrt(counts), rng)
        for index, block in enumerate(blocks)
    ]


def _ranks(scores: Array) -> Array:
    """(trials,): ranks less their mean; scores that are alike share the mean of theirs."""
    ordered = np.sort(scores)
    below, upto = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    found: Array = (below + upto - len(scores)) / 2
    return found


def _columns(axis: Axis, column: Array) -> Array:
    """(trials, columns): what the regression sees of a parameter."""
    known = ~np.isnan(column)
    if axis.ordered or axis.levels is None:
        filled = np.where(known, column, column[known].mean() if known.any() else 0.0)
        middle = filled - filled.mean()
        is_line = axis.levels is not None and axis.count == 2
        columns = [middle] if is_line else [middle, middle**2]
    else:
        columns = [np.where(known, column == level, 0.0) for level in axis.levels[1:]]
    if not known.all():
        columns.append(known.astype(float))
    return np.stack(columns, axis=1)


def _standing_out(ranks: Array, blocks: list[Array]) -> list[int]:
    """Parameters whose effect is there without doubt, the largest one first."""
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
    """Whether there are trials enough for all these columns."""
    columns = block.shape[1] + sum(other.shape[1] for other in beside)
    return bool(columns * TRIALS_PER_COLUMN <= len(block))


def _effect(
    ranks: Array, block: Array, beside: list[Array], weights: Array, rng: np.random.Generator
) -> Effect:
    if not _is_enough(block, []):
        return UNKNOWN
    fit = _Fits(ranks, block[None], beside)
    dealt = np.stack([rng.permutation(block) for _ in range(SHUFFLES)])
    as_good = int((_Fits(ranks, dealt, beside).strength >= fit.strength).sum())
    drawn = _Fits(ranks, block[None], beside, weights).share
    # Resamples are spread too little in a small sample, and explain too much: they say how far
    # a share may be off, not what it is.
    apart = (drawn - np.median(drawn)) * np.sqrt(len(ranks) / fit.freedom)
    ends = fit.share + np.quantile(apart, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    share, low, high = np.clip([*fit.share, *ends], 0.0, 1.0).tolist()
    return Effect(share, low, high, chance=(1 + as_good) / (1 + SHUFFLES))


class _Fits:
    """What a block of columns explains beside others, for many blocks or weights at once.

    Args:
        ranks: (trials,).
        blocks: (fits or 1, trials, columns).
        weights: (fits, trials), square roots of them.
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
        """Of the first fit, were ranks normal: near enough to choose by."""
        # Slow to import, and not needed where trials are few.
        from scipy.special import fdtrc

        return float(fdtrc(self.columns, self.freedom, self.strength)[0])


def _without(basis: Array, columns: Array) -> Array:
    found: Array = columns - basis @ (basis.swapaxes(1, 2) @ columns)
    return found


def _basis(columns: Array) -> Array:
    """Orthonormal columns of the same span; zeros in place of what is next to nothing."""
    lengths = np.sqrt((columns**2).sum(axis=1, keepdims=True))
    sized = columns * _inverse(lengths)
    values, vectors = np.linalg.eigh(sized.swapaxes(1, 2) @ sized)
    found: Array = sized @ (vectors * np.sqrt(_inverse(values))[:, None, :])
    return found


def _inverse(numbers: Array) -> Array:
    """Zero where there is next to nothing to divide by."""
    found: Array = np.where(numbers > SAME, 1 / np.maximum(numbers, SAME), 0.0)
    return found
