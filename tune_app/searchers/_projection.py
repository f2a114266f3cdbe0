"""Predicts the values of trials at the full budget from their values at the rungs.

From each rung to the next, a straight line is fitted to the trials that have reached both; with few
of them, it is shrunk towards the line of no change. A chain of lines extrapolates the last value of
a trial to the full budget; the residual variances add up. That trials are promoted by their values
does not bias the lines: each predicts later values from earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tune_app.space.cube import Array

CAP = 0.75
"""Values above this quantile at the lowest rung are clipped to it: how bad a bad configuration is
says nothing about where the good ones are. If values rise with the budget, so does the limit."""
LARGEST = 1e100
"""Squares of larger values would be infinite."""
PRIOR_WEIGHT = 0.75
"""The weight of the prior slope of 1, in variances of the lowest rung."""
PRIOR_STD = 0.3
"""Prior standard deviation of the change between rungs, in that of the lowest rung."""
SLOPES = (0.0, 2.5)
"""Bounds of a slope: values at a lower rung may be uninformative, but not anti-correlated."""


def project(values: Array) -> tuple[Array, Array]:
    """Means and variances at the last rung, (trials,) each.

    Args:
        values: (trials, rungs), lower is better; NaN at rungs that a trial has not reached,
            infinite where it diverged. Each trial has a value at the first rung, or has diverged.
    """
    values = np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), values)
    last = _last(values)
    cap = _cap(values[:, 0])
    now = np.minimum(values[:, 0], cap)
    spread = float(np.nanstd(now)) + 1e-12
    mean, variance = now, np.zeros(len(values))
    for rung in range(1, values.shape[1]):
        then = values[:, rung]
        reached = ~np.isnan(then)
        both = reached & (now < cap)
        highest = max(cap, _cap(then[reached]))
        line = _fit(now[both], np.minimum(then[both], highest), spread)
        # Values may rise with the budget: the limit rises with them.
        next_cap = max(highest, float(line(cap)))
        moved = np.where(mean < cap, line(mean), next_cap)
        now, cap = np.minimum(then, next_cap), next_cap
        mean = np.where(last < rung, moved, now)
        variance = np.where(last < rung, variance * line.slope**2 + line.variance, 0.0)
    return mean, variance


def _last(values: Array) -> Array:
    """The index of each trial's last rung: (trials,)."""
    reached = ~np.isnan(values)
    last: Array = values.shape[1] - 1 - np.argmax(reached[:, ::-1], axis=1)
    return last


def _cap(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, CAP)) if finite.size else 0.0


@dataclass(frozen=True, slots=True)
class _Line:
    """Predicts the values at a rung from those at the one before."""

    middle: float
    change: float
    slope: float
    variance: float
    """The residual variance."""

    def __call__(self, now: Array | float) -> Array | float:
        return now + self.change + (self.slope - 1) * (now - self.middle)


def _fit(now: Array, then: Array, spread: float) -> _Line:
    count = now.size
    prior = 2 * (PRIOR_STD * spread) ** 2
    if count == 0:
        return _Line(0.0, 0.0, 1.0, prior / 2)
    middle, total = float(now.mean()), float((then - now).sum())
    # Only a decrease is shrunk towards no change: an increase must not favour trials at low rungs.
    change = total / (count + 1 if total < 0 else count)
    apart = now - middle
    weight = float((apart**2).sum()) + PRIOR_WEIGHT * spread**2
    slope = 1 + float((apart * (then - now - change)).sum()) / weight
    slope = min(max(slope, SLOPES[0]), SLOPES[1])
    left = then - now - change - (slope - 1) * apart
    return _Line(middle, change, slope, (float((left**2).sum()) + prior) / (count + 2))
