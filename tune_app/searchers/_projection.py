"""Where trials will stand at the full budget, from what they have shown at their rungs.

From each rung to the next a straight line is fitted through the trials that have been at both,
drawn towards the line of no gain at all while there are few. A chain of lines takes the last
value of a trial to the full budget; what the lines leave unexplained adds up to its variance. That
trials are promoted for their values biases no line: each predicts later values from earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tune_app.space.cube import Array

CAP = 0.75
"""Values worse than this share of those at the lowest rung are not told apart: how bad a bad
configuration is says nothing of where the good ones are. Where values rise, this one does."""
LARGEST = 1e100
"""Squares of larger values would be infinite."""
PRIOR_WEIGHT = 0.75
"""The weight of a slope of 1, in variances of the lowest rung."""
PRIOR_STD = 0.3
"""Standard deviation of a step between rungs before any was seen, in that of the lowest rung."""
SLOPES = (0.0, 2.5)
"""A lower rung may say nothing of the next one, but never the opposite."""


def project(values: Array) -> tuple[Array, Array]:
    """Means and variances at the last rung, (trials,) each.

    Args:
        values: (trials, rungs), lower is better; NaN where a trial has not been, infinite where it
            diverged. Each trial has a value at the first rung, or is infinite at its end.
    """
    values = np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), values)
    last = _last(values)
    cap = _cap(values[:, 0])
    now = np.minimum(values[:, 0], cap)
    spread = float(np.nanstd(now)) + 1e-12
    mean, variance = now, np.zeros(len(values))
    for rung in range(1, values.shape[1]):
        then = values[:, rung]
        known = ~np.isnan(then)
        both = known & (now < cap)
        highest = max(cap, _cap(then[known]))
        line = _fit(now[both], np.minimum(then[both], highest), spread)
        # Values may rise with the budget: what is too bad to be told apart rises with them.
        next_cap = max(highest, float(line(cap)))
        moved = np.where(mean < cap, line(mean), next_cap)
        now, cap = np.minimum(then, next_cap), next_cap
        mean = np.where(last < rung, moved, now)
        variance = np.where(last < rung, variance * line.slope**2 + line.variance, 0.0)
    return mean, variance


def _last(values: Array) -> Array:
    known = ~np.isnan(values)
    found: Array = values.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return found


def _cap(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, CAP)) if finite.size else 0.0


@dataclass(frozen=True, slots=True)
class _Line:
    """From the values at one rung to those at the next."""

    middle: float
    change: float
    slope: float
    variance: float
    """The variance of what it leaves unexplained."""

    def __call__(self, now: Array | float) -> Array | float:
        return now + self.change + (self.slope - 1) * (now - self.middle)


def _fit(now: Array, then: Array, spread: float) -> _Line:
    count = now.size
    prior = 2 * (PRIOR_STD * spread) ** 2
    if count == 0:
        return _Line(0.0, 0.0, 1.0, prior / 2)
    middle, total = float(now.mean()), float((then - now).sum())
    # A gain is drawn to none, a loss is not: those that went on are not thought worse for it.
    change = total / (count + 1 if total < 0 else count)
    apart = now - middle
    weight = float((apart**2).sum()) + PRIOR_WEIGHT * spread**2
    slope = 1 + float((apart * (then - now - change)).sum()) / weight
    slope = min(max(slope, SLOPES[0]), SLOPES[1])
    left = then - now - change - (slope - 1) * apart
    return _Line(middle, change, slope, (float((left**2).sum()) + prior) / (count + 2))
