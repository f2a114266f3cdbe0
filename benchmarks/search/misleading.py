"""Searches where early stopping is misled: runs that begin well do not end well.

    python benchmarks/search/misleading.py [--seeds 16] [--full-runs 25]

Two made-up tables. In one, higher learning rates learn faster and end worse; in the other, stronger
regularisation slows training down and ends better. Printed is the regret after so many full runs
as a share: 0 is the best run of a table, 1 its median run.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tune_app.core.definition import PlugIn
from tune_app.history import figures
from tune_app.history.replay import Setting, replay
from tune_app.history.table import Table, load

FULL_RUNS = 25.0
REPORTS = 40
SEARCHES = [
    *(("auto", scheduler) for scheduler in ("auto", "asha_stopping", "hyperband", "fifo")),
    *(("random", scheduler) for scheduler in ("auto", "fifo")),
]
Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--full-runs", type=float, default=FULL_RUNS)
    args = parser.parse_args()
    print(f"| table | search | regret after {args.full_runs:g} full runs |\n|---|---|--:|")
    for table in tables():
        for searcher, scheduler in SEARCHES:
            setting = Setting(PlugIn(searcher), PlugIn(scheduler), args.full_runs)
            with ProcessPoolExecutor() as pool:
                runs = list(pool.map(partial(replay, table, setting), range(args.seeds)))
            last = figures.summary(table, runs, args.full_runs, None)["budgets"][-1]
            found = figures.interval(last["by_seed"]["regret_share"])
            middle, low, high = (f"{found[key]:.2f}" for key in ("median", "low", "high"))
            name = f"{searcher} + {scheduler}"
            print(f"| {table.name} | {name} | {middle} ({low} to {high}) |", flush=True)


def tables() -> Iterator[Table]:
    rng = np.random.default_rng(0)
    for name, (params, losses) in {
        "fast_and_worse": fast_and_worse(rng),
        "slow_and_better": slow_and_better(rng),
    }.items():
        rows = [
            {"trial": trial, "step": step, "eval_loss": loss, **values}
            for trial, (values, curve) in enumerate(zip(params, losses, strict=True))
            for step, loss in enumerate(curve, start=1)
        ]
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.parquet"
            pd.DataFrame(rows).to_parquet(path)
            yield from load(path)


def fast_and_worse(rng: np.random.Generator) -> tuple[list[dict[str, Any]], Array]:
    """A grid of 768 runs. The effective learning rate sets the pace; the best is in between."""
    grid: dict[str, Sequence[float]] = {
        "config.batch_size": [16, 64, 256],
        "config.learning_rate": [1e-4, 1e-3, 1e-2, 1e-1],
        "config.momentum": [0.1, 0.5, 0.9, 0.99],
        "config.layers": [1, 2, 3, 5],
        "config.dropout": [0.0, 0.25, 0.5, 0.75],
    }
    params = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    batch, rate, momentum, layers, dropout = (column(params, name) for name in grid)
    excess = np.log10(rate / (1 - momentum)) - 0.5 * np.log10(batch / 64) + 1.2
    final = 0.22 + 0.05 * abs(excess) ** 1.6 + 0.04 * (dropout - 0.1 * layers) ** 2
    final += 0.004 * (layers - 3) ** 2 + rng.normal(0, 0.006, len(params))
    pace = 3 * np.exp(np.clip(0.8 * excess, -2, 2))
    return params, curves(rng, np.minimum(final, 0.9), 0.9, pace, 0.005)


def slow_and_better(rng: np.random.Generator) -> tuple[list[dict[str, Any]], Array]:
    """800 random runs. Three kinds of regularisation add up."""
    drawn = rng.uniform(size=(800, 4))
    names = ("learning_rate", "weight_decay", "dropout", "augment")
    params = [{f"config.{n}": v for n, v in zip(names, row, strict=True)} for row in drawn.tolist()]
    regularised = drawn[:, 1:].sum(axis=1)
    final = 1 + 0.45 * abs(regularised - 2) ** 1.5 + 1.2 * (drawn[:, 0] - 0.5) ** 2
    pace = 3 * np.exp(-1.3 * (regularised - 1.5) - 4 * (drawn[:, 0] - 0.6) ** 2)
    return params, curves(rng, final, 4.0, pace, 0.01)


def curves(rng: np.random.Generator, final: Array, start: float, pace: Array, sd: float) -> Array:
    """(runs, REPORTS): from `start` towards `final`, the quicker the higher the pace."""
    share = np.arange(1, REPORTS + 1) / REPORTS
    left = np.exp(-pace[:, None] * share)
    noise: Array = rng.normal(0, sd, (len(final), REPORTS))
    return final[:, None] + (start - final[:, None]) * left + noise


def column(params: list[dict[str, Any]], name: str) -> Array:
    return np.array([values[name] for values in params], dtype=float)


if __name__ == "__main__":
    main()
