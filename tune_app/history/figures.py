"""Statistics of replays: incumbents over spent budget, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tune_app.history.replay import Replayed, Step
from tune_app.history.table import Table
from tune_app.space.cube import Array

RESAMPLES = 1000
"""Bootstrap resamples for the intervals."""
LEVEL = 0.95
Figure = dict[str, float]
"""A median, and the `low` and `high` ends of its interval."""
BUDGETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Budgets in full runs at which the incumbent is reported."""


def random_runs(full_runs: float) -> int:
    """The number of complete trials that random search affords."""
    return max(round(full_runs), 1)


def random_quality(table: Table, count: int) -> float:
    """The median best value of `count` runs drawn from the table without replacement."""
    ordered = np.sort(table.best_seen)
    total, count = len(ordered), max(count, 1)
    survive = 1.0
    for index in range(total):
        # The probability that none of the runs up to this one was drawn.
        survive *= max(total - count - index, 0) / (total - index)
        if survive <= 0.5:
            return float(table.sign * ordered[index])
    return float(table.sign * ordered[-1])


def spent_to(steps: Sequence[Step], target: float, sign: int, completed: bool) -> float:
    """Full runs until the incumbent was as good as `target`; infinite if it never was."""
    step = _first_as_good(steps, target, sign, completed)
    return math.inf if step is None else step.spent


def time_to(steps: Sequence[Step], target: float, sign: int, completed: bool) -> float:
    """The time until the incumbent was as good as `target`, in durations of a full run."""
    step = _first_as_good(steps, target, sign, completed)
    return math.inf if step is None else step.time


def _first_as_good(steps: Sequence[Step], target: float, sign: int, completed: bool) -> Step | None:
    for step in steps:
        value = step.completed_value if completed else step.value
        if sign * value <= sign * target:
            return step
    return None


def incumbent(steps: Sequence[Step], spent: float) -> float:
    """The best reported value after `spent` full runs; NaN before the first report."""
    before = [step.value for step in steps if step.spent <= spent + 1e-9]
    return before[-1] if before else math.nan


def rank(table: Table, value: float) -> float:
    """How many runs of the table reached a better value; 0 for the table's best."""
    if math.isnan(value):
        return math.nan
    return int((table.best_seen < table.sign * value).sum())


def interval(values: Sequence[float]) -> Figure:
    """The median and its bootstrap interval; NaN counts as larger than all numbers."""
    data = np.array(values, dtype=float)
    low, high = _ends(_resampled(data))
    return {"median": float(_medians(data)), "low": low, "high": high}


def _medians(data: Array) -> Array:
    """Medians along the last axis (…, seeds); infinite if one of the two middle values is."""
    count = data.shape[-1]
    ordered = np.sort(data, axis=-1)
    middle: Array = (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2
    return middle


def _resampled(data: Array) -> Array:
    rng = np.random.default_rng(0)
    return _medians(rng.choice(data, (RESAMPLES, len(data))))


def _ends(resampled: Array) -> tuple[float, float]:
    """The ends of the interval, without interpolation, which is undefined for infinities."""
    cut = round((1 - LEVEL) / 2 * (len(resampled) - 1))
    ordered = np.sort(resampled)
    return float(ordered[cut]), float(ordered[-1 - cut])


def mean_of_medians(
    tables: Sequence[Sequence[float]], scale: Callable[[Array], Array] = np.asarray
) -> Figure:
    """The mean over tables of the medians over seeds, after applying `scale` to the medians."""
    data = [np.array(seeds, dtype=float) for seeds in tables]
    low, high = _ends(np.mean([scale(_resampled(seeds)) for seeds in data], axis=0))
    middle = float(np.mean([scale(_medians(seeds)) for seeds in data]))
    return {"median": middle, "low": low, "high": high}


def speed_up(spent: Sequence[Sequence[float]], full_runs: float) -> Figure:
    """The speed-up over `full_runs`: the geometric mean over tables of the medians over seeds.

    Args:
        spent: for each table, the full runs to its target by seed.
    """
    logs = mean_of_medians(spent, np.log)
    # A larger cost is a smaller speed-up; a target that was never reached gives 0.
    return {
        key: full_runs * math.exp(-logs[other])
        for key, other in (("median", "median"), ("low", "high"), ("high", "low"))
    }


def summary(
    table: Table, searches: Sequence[Replayed], full_runs: float, target: float | None
) -> dict[str, Any]:
    """The results of one search on one table, over seeds, as plain data."""
    runs = [search.steps for search in searches]
    early = [search.spent for search in searches if search.is_over]
    quality = random_quality(table, random_runs(full_runs)) if target is None else target
    spent, times = (
        {
            name: [measure(steps, quality, table.sign, completed) for steps in runs]
            for name, completed in (("reported", False), ("completed", True))
        }
        for measure in (spent_to, time_to)
    )
    budgets = [budget for budget in BUDGETS if budget < full_runs] + [full_runs]
    return {
        "table": table.name,
        "goal": "minimize" if table.sign > 0 else "maximize",
        "runs": len(table.trials),
        "left_out": table.left_out,
        "repeats": table.repeats,
        "remarks": list(table.remarks),
        "best": float(table.sign * table.best_seen.min()),
        "target": quality,
        "out_of_runs": {"seeds": len(early), "spent": interval(early) if early else None},
        "spent_to_target": {name: interval(values) for name, values in spent.items()},
        "time_to_target": {name: interval(values) for name, values in times.items()},
        "by_seed": spent,
        "budgets": [
            _at_budget(table, budget, [incumbent(steps, budget) for steps in runs])
            for budget in budgets
        ],
    }


def _at_budget(table: Table, budget: float, values: Sequence[float]) -> dict[str, Any]:
    """Statistics of the incumbents of all seeds at one budget."""
    sign, best = table.sign, float(table.best_seen.min())
    regrets = [sign * value - best for value in values]
    ranks = [rank(table, value) for value in values]
    signed = interval([sign * value for value in values])
    low, high = ("low", "high") if sign > 0 else ("high", "low")
    gap = _median_run(table) - best
    return {
        "full_runs": budget,
        "value": {
            "median": sign * signed["median"],
            "low": sign * signed[low],
            "high": sign * signed[high],
        },
        "regret": interval(regrets),
        "rank": interval(ranks),
        "by_seed": {
            "value": list(values),
            "regret_share": [regret / gap if regret and gap else regret for regret in regrets],
            "rank_share": [place / len(table.trials) for place in ranks],
        },
    }


def _median_run(table: Table) -> float:
    """The table's median best value; over the runs with a finite one, if most have none."""
    middle = float(_medians(table.best_seen))
    has_value = np.isfinite(table.best_seen)
    return middle if math.isfinite(middle) else float(_medians(table.best_seen[has_value]))


def overall(summaries: Sequence[dict[str, Any]], full_runs: float) -> dict[str, Any]:
    """The results of one search over all tables, as plain data."""
    rows = zip(*(summary["budgets"] for summary in summaries), strict=True)
    return {
        "speed_up": {
            kind: speed_up([summary["by_seed"][kind] for summary in summaries], full_runs)
            for kind in ("reported", "completed")
        },
        "budgets": [
            {
                "full_runs": row[0]["full_runs"],
                **{
                    share: mean_of_medians([budget["by_seed"][share] for budget in row])
                    for share in ("regret_share", "rank_share")
                },
            }
            for row in rows
        ],
    }
