"""Our searches beside the peers', on the same tables and the same clock.

    python benchmarks/search/compare.py --tables ../shared/history/*.parquet [--seeds 30]

Prints for each table how many times sooner than in 25 full runs the median quality of 25 full runs
is reached (the better of W&B's bayes and random search), with 95 % intervals: by any report, and by
trials that ran to the end alone; and the rank of the best such trial at 25 full runs (0 is the
table's best). Ours are replayed now, the peers' trajectories were recorded by `peers/run.py`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import pandas as pd

from tune_app.core.definition import PlugIn
from tune_app.history import figures
from tune_app.history.replay import Setting, Step, replay
from tune_app.history.table import Table, load

FULL_RUNS = 25.0
TARGETS = {
    "patch128_lstm128_bs64": 0.4807,
    "patch32_gru64_avg_bs128": 0.5386,
    "patch32_vrnn64_relu_avg_bs128": 0.5616,
}
OURS = (
    ("auto", "auto"),
    ("tpe", "auto"),
    ("gp", "auto"),
    ("bohb", "hyperband"),
    ("random", "auto"),
    ("random", "fifo"),
)
PEERS = Path(__file__).parent / "peers" / "trajectories.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=30)
    args = parser.parse_args()
    spent: dict[str, list[list[float]]] = {}
    for table in (table for path in args.tables for table in load(path)):
        name = table.name.removeprefix("taskset_")
        target = TARGETS.get(name, figures.random_quality(table, round(FULL_RUNS)))
        print(f"\n{name}, target {target:.4f}\n")
        print("| search | seeds | speed-up | by completed trials | rank |\n|---|--:|--:|--:|--:|")
        for search, runs in searches(table, name, args.seeds):
            reported = to_target(runs, target, completed=False)
            spent.setdefault(search, []).append(reported)
            print(f"| {search} | {len(runs)} | {told(reported)} |", end=" ")
            print(f"{told(to_target(runs, target, completed=True))} | {rank(table, runs):g} |")
    print("\n| search | speed-up, geometric mean over tables |\n|---|--:|")
    for search, tables in spent.items():
        found = figures.speed_up(tables, FULL_RUNS)
        middle, low, high = (times(found[key]) for key in ("median", "low", "high"))
        print(f"| {search} | {middle} ({low} to {high}) |")


def searches(table: Table, name: str, seeds: int) -> Iterator[tuple[str, list[list[Step]]]]:
    """Ours, replayed on all cores, then the peers'."""
    with ProcessPoolExecutor() as pool:
        for searcher, scheduler in OURS:
            setting = Setting(PlugIn(searcher), PlugIn(scheduler), FULL_RUNS)
            found = pool.map(partial(replay, table, setting), range(seeds))
            runs = [search.steps for search in found]
            yield f"ours: {searcher} + {scheduler}", runs
    recorded = pd.read_parquet(PEERS)
    for peer, rows in recorded[recorded.table == name].groupby("peer"):
        version = rows.version.iloc[0]
        yield f"{peer} {version}", [steps(of_seed) for _, of_seed in rows.groupby("seed")]


def steps(rows: pd.DataFrame) -> list[Step]:
    """A recorded trajectory."""
    return [
        Step(row.spent, row.spent, row.value, row.trial, row.completed_value)
        for row in rows.itertuples()
    ]


def to_target(runs: Sequence[Sequence[Step]], target: float, completed: bool) -> list[float]:
    """Full runs by seed; infinite where it was not reached."""
    return [figures.spent_to(run, target, 1, completed) for run in runs]


def told(spent: Sequence[float]) -> str:
    """The speed-up with its interval."""
    found = figures.interval(spent)
    middle, low, high = (times(FULL_RUNS / found[key]) for key in ("median", "high", "low"))
    return f"{middle} ({low} to {high})"


def times(speed_up: float) -> str:
    """Below 1 the target was not reached within the budget."""
    return f"{speed_up:.1f}" if speed_up >= 1 else "<1"


def rank(table: Table, runs: Sequence[Sequence[Step]]) -> float:
    """The median rank of the best completed trial."""
    last = [run[-1].completed_value for run in runs]
    ranks = [figures.rank(table, value) for value in last if not math.isnan(value)]
    return median(ranks) if ranks else math.nan


if __name__ == "__main__":
    main()
