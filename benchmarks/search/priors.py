"""What a prior gains when it is right, and costs when it is wrong.

    python benchmarks/search/priors.py --tables ../shared/history/*.parquet [--searcher auto]

A right prior lies at the values of the table's best run, a wrong one for each parameter at the end
of the range that is farther from it; their width is a tenth of the range. Prints full runs to the
median quality of 25 full runs at random, medians over seeds, and against the search without it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tune_app.core.definition import PlugIn
from tune_app.history import figures
from tune_app.history.replay import Setting, replay
from tune_app.history.table import Table, load
from tune_app.space.domains import Float, Int

WIDTH, FULL_RUNS = 0.1, 25.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", type=Path, required=True)
    parser.add_argument("--searcher", default="auto")
    parser.add_argument("--only", metavar="PARAMETER", help="believe something of it alone")
    parser.add_argument("--seeds", type=int, default=30)
    args = parser.parse_args()
    print("| table | prior | full runs to the target | without a prior, over this |")
    print("|---|---|--:|--:|")
    for table in [table for path in args.tables for table in load(path)]:
        plain = None
        for name, prior in priors(table, args.only).items():
            found = spent(table, args.searcher, prior, args.seeds)
            plain = plain or found["median"]
            span = f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
            print(f"| {table.name} | {name} | {span} | {plain / found['median']:.2f} |", flush=True)


def priors(table: Table, only: str | None) -> dict[str, Mapping[str, Any] | None]:
    """None, a right and a wrong one."""
    best = table.params[int(table.best_seen.argmin())]
    right, wrong = {}, {}
    for name, domain in table.space.items():
        if isinstance(domain, Float | Int) and only in (None, name):
            right[name], wrong[name] = beliefs(domain, best[name])
    return {"none": None, "right": right, "wrong": wrong}


def beliefs(domain: Float | Int, best: float) -> tuple[dict[str, float], dict[str, float]]:
    """Around the best value, and around the end of the range that is farther away."""
    low, high = domain.low, domain.high
    if domain.log:
        far = low if best / low > high / best else high
        width = {"octaves": WIDTH * math.log2(high / low)}
    else:
        far, width = (low if best - low > high - best else high), {"width": WIDTH * (high - low)}
    return {"value": best, **width}, {"value": far, **width}


def spent(
    table: Table, searcher: str, prior: Mapping[str, Any] | None, seeds: int
) -> dict[str, float]:
    """Full runs to the target."""
    setting = Setting(PlugIn(searcher), PlugIn("auto"), FULL_RUNS, prior=prior)
    target = figures.random_quality(table, round(FULL_RUNS))
    with ProcessPoolExecutor() as pool:
        found = pool.map(partial(replay, table, setting), range(seeds))
        runs = [search.steps for search in found]
    return figures.interval([figures.spent_to(run, target, table.sign, False) for run in runs])


if __name__ == "__main__":
    main()
