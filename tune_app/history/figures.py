"""What replays say: what was reached for what, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tune_app.history.replay import Step
from tune_app.history.table import Table
from tune_app.space.cube import Array

RESAMPLES = 1000
"""Of the bootstrap, for the intervals."""
LEVEL = 0.95
BUDGETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Full runs after which the incumbent is told."""


def random_quality(table: Table, count: int) -> float:
    """The median of the best of `count` runs drawn from the table without repeats."""
    ordered = np.sort(table.best_seen)
    total = len(ordered)
    survive = 1.0
    for index in range(total):
        # The chance that none of the runs up to this one was drawn.
        survive *= max(total - count - index, 0) / (total - index)
        if survive <= 0.5:
            return float(table.sign * ordered[index])
    return float(table.sign * ordered[-1])


def spent_to(steps: Sequence[Step], target: float, sign: int, completed: bool) -> float:
    """Full runs until the incumbent was as good as `target`; infinite where it never was."""
    for step in steps:
        value = step.completed_value if completed else step.value
        if sign * value <= sign * target:
            return step.spent
    return math.inf


def incumbent(steps: Sequence[Step], spent: float) -> float:
    """The best reported value after so many full runs; NaN before the first."""
    before = [step.value for step in steps if step.spent <= spent + 1e-9]
    return before[-1] if before else math.nan


def rank(table: Table, value: float) -> float:
    """How many runs of the table came to something better; 0 is the table's best."""
    if math.isnan(value):
        return math.nan
    return int((table.best_seen < table.sign * value).sum())


def interval(values: Sequence[float]) -> dict[str, float]:
    """The median and the ends of its bootstrap interval."""
    data = np.array(values, dtype=float)
    medians = _resampled(data)
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return {"median": _median(data), "low": float(low), "high": float(high)}


def _median(data: Array) -> float:
    """The lower one of two middle values: half of infinity is no number."""
    return float(np.sort(data)[(len(data) - 1) // 2])


def _resampled(data: Array) -> Array:
    rng = np.random.default_rng(0)
    picked = rng.choice(data, (RESAMPLES, len(data)))
    found: Array = np.sort(picked, axis=1)[:, (len(data) - 1) // 2]
    return found


def speed_up(spent: Sequence[Sequence[float]], full_runs: float) -> dict[str, float]:
    """How many times sooner than `full_runs`: the geometric mean over tables of medians.

    Args:
        spent: for each table, full runs to its target by seed.
    """
    data = [np.array(seeds, dtype=float) for seeds in spent]
    medians = np.array([_median(seeds) for seeds in data])
    resampled = np.array([_resampled(seeds) for seeds in data])
    low, high = np.quantile(
        np.log(resampled).mean(axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest"
    )
    middle = np.log(medians).mean()
    # The more was spent, the less sooner it was; where a target was never reached it is 0 times.
    return {
        key: float(full_runs * np.exp(-log))
        for key, log in (("median", middle), ("low", high), ("high", low))
    }


def summary(
    table: Table, runs: Sequence[Sequence[Step]], full_runs: float, target: float | None
) -> dict[str, Any]:
    """One search on one table, as plain data."""
    quality = random_quality(table, round(full_runs)) if target is None else target
    spent = {
        name: [spent_to(steps, quality, table.sign, completed) for steps in runs]
        for name, completed in (("reported", False), ("completed", True))
    }
    budgets = [budget for budget in BUDGETS if budget < full_runs] + [full_runs]
    best = float(table.sign * table.best_seen.min())
    found = [[incumbent(steps, budget) for steps in runs] for budget in budgets]
    return {
        "table": table.name,
        "runs": len(table.trials),
        "left_out": table.left_out,
        "best": best,
        "target": quality,
        "spent_to_target": {name: interval(values) for name, values in spent.items()},
        "by_seed": spent,
        "budgets": [
            {
                "full_runs": budget,
                "value": interval(values),
                "regret": interval([table.sign * (value - best) for value in values]),
                "rank": interval([rank(table, value) for value in values]),
            }
            for budget, values in zip(budgets, found, strict=True)
        ],
    }
