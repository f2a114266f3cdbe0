"""What several workers at once gain over one, and what is the most they could.

    python benchmarks/search/workers.py --tables ../shared/history/*.parquet [--workers 16]

For each table the time until the quality of 100 random runs, in full runs of one worker (median
over seeds), by any report and by trials that ran to the end, and the speed-up for each worker: 1
would be perfect. The most is an oracle's, whose first trial is the table's quickest to that.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from tune_app.core.definition import PlugIn
from tune_app.history import figures
from tune_app.history.replay import Setting, Step, replay
from tune_app.history.table import Table, load

FULL_RUNS = 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=30)
    args = parser.parse_args()
    print(f"| table | by | 1 worker | {args.workers} workers | speed-up a worker | at most |")
    print("|---|---|--:|--:|--:|--:|")
    for table in [table for path in args.tables for table in load(path)]:
        target = table.sign * figures.random_quality(table, round(FULL_RUNS))
        alone, together = (searches(table, count, args.seeds) for count in (1, args.workers))
        for by, completed, soonest in (
            ("any report", False, quickest(table, target)),
            ("completed trials", True, 1.0),
        ):
            one, many = (
                median(time_to(run, target, table.sign, completed) for run in runs)
                for runs in (alone, together)
            )
            each, most = one / many / args.workers, one / soonest / args.workers
            times = f"{one:.2f} | {many:.2f} | {each:.2f} | {min(1.0, most):.2f}"
            print(f"| {table.name} | {by} | {times} |", flush=True)


def time_to(steps: Sequence[Step], target: float, sign: int, completed: bool) -> float:
    """Until the incumbent, lower being better, was at `target`; infinite where it never was."""
    values = (step.completed_value if completed else step.value for step in steps)
    found = (step.time for step, value in zip(steps, values, strict=True) if sign * value <= target)
    return next(found, math.inf)


def searches(table: Table, workers: int, seeds: int) -> list[list[Step]]:
    """The default search, once for each seed."""
    setting = Setting(PlugIn("auto"), PlugIn("auto"), FULL_RUNS, workers=workers)
    with ProcessPoolExecutor() as pool:
        found = pool.map(partial(replay, table, setting), range(seeds))
        return [search.steps for search in found]


def quickest(table: Table, target: float) -> float:
    """The least share of a full run after which any run of the table is at `target` or below."""
    values = table.sign * np.array(table.values, dtype=float)
    reached = np.flatnonzero((values <= target).any(axis=0))
    return float(table.shares[reached[0]])


if __name__ == "__main__":
    main()
