"""Where trials will stand at the full budget, from what they have shown at their rungs.

From each rung to the next a straight line is fitted through the trials that have been at both,
drawn towards the line of no change at all while there are few. A chain of lines takes the last
value of a trial to the full budget; what the lines leave unexplained adds up to its variance. That
trials are promoted for their values biases no line: each predicts later values from earlier ones.
"""

from __future__ import annotations

import numpy as np

from tune_app.space.cube import Array

CAP = 0.75
"""Values worse than this share of those at the lowest rung are not told apart: how bad a bad
configuration is says nothing of where the good ones are."""
PRIOR_WEIGHT = 0.75
"""The weight of a slope of 1, in variances of the lowest rung."""
PRIOR_DOUBT = 0.3
"""Standard deviation of a step between rungs before any was seen, in that of the lowest rung."""
SLOPES = (0.0, 2.5)
"""A lower rung may say nothing of the next one, but never the opposite."""


def project(values: Array) -> tuple[Array, Array]:
    """Means and variances at the last rung, (trials,) each.

    Args:
        values: (trials, rungs), lower is better; NaN where a trial has not been, infinite where it
            diverged. Each trial has a value at the first rung, or is infinite at its end.
    """
    last = _last(values)
    cap = _cap(values)
    capped = np.minimum(values, cap)
    mean = capped[np.arange(len(values)), last]
    variance = np.zeros(len(values))
    spread = float(np.nanstd(capped[:, 0])) + 1e-12
    for rung in range(values.shape[1] - 1):
        both = ~np.isnan(capped[:, rung + 1]) & (capped[:, rung] < cap)
        middle, change, slope, doubt = _line(capped[both, rung], capped[both, rung + 1], spread)
        below = last <= rung
        moved = mean + change + (slope - 1) * (mean - middle)
        mean = np.where(below & (mean < cap), moved, mean)
        variance = np.where(below, variance * slope**2 + doubt, variance)
    return mean, variance


def _last(values: Array) -> Array:
    known = ~np.isnan(values)
    found: Array = values.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return found


def _cap(values: Array) -> float:
    lowest = values[:, 0]
    finite = lowest[np.isfinite(lowest)]
    return float(np.quantile(finite, CAP)) if finite.size else 0.0


def _line(now: Array, then: Array, spread: float) -> tuple[float, float, float, float]:
    """Middle of `now`, mean change, slope, and variance of what is left."""
    count = now.size
    prior = 2 * (PRIOR_DOUBT * spread) ** 2
    if count == 0:
        return 0.0, 0.0, 1.0, prior / 2
    middle, change = float(now.mean()), float((then - now).sum() / (count + 1))
    apart = now - middle
    weight = float((apart**2).sum()) + PRIOR_WEIGHT * spread**2
    slope = 1 + float((apart * (then - now - change)).sum()) / weight
    slope = min(max(slope, SLOPES[0]), SLOPES[1])
    left = then - now - change - (slope - 1) * apart
    return middle, change, slope, (float((left**2).sum()) + prior) / (count + 2)
