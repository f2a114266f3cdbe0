"""Replays searches on tables of finished runs: what would have found the best run sooner?"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rich.progress import track
from rich.table import Table as Grid
from rich.text import Text

from tune_app import plugins
from tune_app.analysis import format
from tune_app.cli import _folders
from tune_app.console import output
from tune_app.errors import Problem, UserError
from tune_app.history import figures, trajectory
from tune_app.history.replay import Setting, Step, replay
from tune_app.history.table import Table, load

HELP = "replay searches on a table of finished runs"
AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", nargs="+", type=Path, metavar="TABLE", help=".csv or .parquet")
    for kind in ("searcher", "scheduler"):
        parser.add_argument(
            f"--{kind}",
            action="append",
            metavar="NAME",
            help=f"a {kind}; repeat it to compare several (default: {AUTO})",
        )
    parser.add_argument("--full-runs", type=float, default=25, help="the budget (default: 25)")
    parser.add_argument("--workers", type=int, default=1, help="simulated workers (default: 1)")
    parser.add_argument("--seeds", type=int, default=10, help="searches of each kind (default: 10)")
    parser.add_argument("--metric", help="the column of the objective (default: eval_loss)")
    parser.add_argument("--goal", choices=("minimize", "maximize"), default="minimize")
    parser.add_argument("--target", type=float, help="a value to reach")
    parser.add_argument(
        "--stragglers",
        type=float,
        default=0.0,
        metavar="SD",
        help="standard deviation of the logarithm of a worker's speed (default: 0)",
    )
    parser.add_argument(
        "--failures",
        type=float,
        default=0.0,
        metavar="P",
        help="chance that a worker dies before its next report (default: 0)",
    )
    parser.add_argument("--trajectory", type=Path, metavar="OUT.parquet", help="write incumbents")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", default=Path("replay.png"))
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def execute(args: argparse.Namespace) -> int:
    searches = _searches(args)
    _check(args)
    tables = [table for path in args.tables for table in load(path, args.metric, args.goal)]
    runs = _replayed(tables, searches, args)
    told = [
        {"search": name, **figures.summary(table, seeds[name], args.full_runs, args.target)}
        for table, seeds in zip(tables, runs, strict=True)
        for name in searches
    ]
    if args.trajectory is not None:
        trajectory.write(args.trajectory, tables, runs)
    _plot(args, tables, runs, told)
    if args.json:
        _folders.print_json(told)
    else:
        _show(args, tables, list(searches), told)
    return 0


def _searches(args: argparse.Namespace) -> dict[str, Setting]:
    """Every searcher with every scheduler, by what it is called."""
    found = {}
    pairs = itertools.product(args.searcher or [AUTO], args.scheduler or [AUTO])
    for searcher, scheduler in pairs:
        plugins.load("searcher", searcher, "--searcher")
        plugins.load("scheduler", scheduler, "--scheduler")
        found[f"{searcher} + {scheduler}"] = Setting(
            searcher={"name": searcher},
            scheduler={"name": scheduler},
            full_runs=args.full_runs,
            workers=args.workers,
            stragglers=args.stragglers,
            failures=args.failures,
        )
    return found


def _check(args: argparse.Namespace) -> None:
    rules = (
        ("--full-runs", args.full_runs, 0 < args.full_runs < float("inf"), "a number above 0"),
        ("--workers", args.workers, args.workers >= 1, "a whole number above 0"),
        ("--seeds", args.seeds, args.seeds >= 1, "a whole number above 0"),
        ("--stragglers", args.stragglers, 0 <= args.stragglers <= 3, "a number from 0 to 3"),
        ("--failures", args.failures, 0 <= args.failures <= 0.5, "a number from 0 to 0.5"),
        ("--trajectory", args.trajectory, _is_file(args.trajectory, ".parquet"), "a .parquet file"),
        ("--plot", args.plot, _is_file(args.plot, ".png"), "a .png file in a folder that exists"),
    )
    wrong = [
        Problem(f"{str(value)!r} is not possible", option, expected)
        for option, value, holds, expected in rules
        if not holds
    ]
    if wrong:
        raise UserError(wrong)


def _is_file(path: Path | None, suffix: str) -> bool:
    return path is None or (path.suffix == suffix and path.parent.is_dir())


def _replayed(
    tables: Sequence[Table], searches: dict[str, Setting], args: argparse.Namespace
) -> list[dict[str, list[list[Step]]]]:
    """For each table, by search, the incumbents of each seed; on all cores."""
    names = list(searches)
    jobs = [
        (table, searches[name], seed)
        for table in tables
        for name in names
        for seed in range(args.seeds)
    ]
    # One thread for each process: the matrices are too small to be shared out.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(jobs)), mp_context=context) as pool:
        pending = [pool.submit(replay, *job) for job in jobs]
        shown = track(pending, "replaying", disable=args.json, transient=True)
        done = iter([future.result() for future in shown])
    return [{name: [next(done) for _ in range(args.seeds)] for name in names} for _ in tables]


def _plot(
    args: argparse.Namespace,
    tables: Sequence[Table],
    runs: Sequence[dict[str, list[list[Step]]]],
    told: Sequence[dict[str, Any]],
) -> None:
    from tune_app.history import plot

    targets = {row["table"]: row["target"] for row in told}
    wanted = [targets[table.name] for table in tables]
    plot.figure(tables, runs, wanted, args.full_runs).savefig(args.plot)


def _show(
    args: argparse.Namespace,
    tables: Sequence[Table],
    names: Sequence[str],
    told: Sequence[dict[str, Any]],
) -> None:
    console = output.stdout()
    for table in tables:
        rows = [row for row in told if row["table"] == table.name]
        _show_table(console, table, rows, args)
    if len(tables) > 1:
        for name in names:
            rows = [row for row in told if row["search"] == name]
            speeds = {
                kind: figures.speed_up([row["by_seed"][kind] for row in rows], args.full_runs)
                for kind in ("reported", "completed")
            }
            text = f"{name}, over all tables: the target {_times(speeds['reported'])}"
            text += f"; by completed trials alone {_times(speeds['completed'])}"
            console.print(Text(text))
    console.print(Text(f"plot: {args.plot}"))


def _show_table(
    console: Any, table: Table, rows: Sequence[dict[str, Any]], args: argparse.Namespace
) -> None:
    head = f"{table.name}: {len(table.trials)} runs, {len(table.shares)} reports each"
    if table.left_out:
        head += f" ({table.left_out} that were ended early are left out)"
    console.print(Text(head, "bold"))
    target = "target" if args.target is not None else f"median best of {args.full_runs:g} at random"
    best, aim = format.loss(rows[0]["best"]), format.loss(rows[0]["target"])
    console.print(Text(f"{table.metric}: best {best}, {target} {aim}"))
    grid = Grid(box=None, padding=(0, 1), header_style="bold")
    grid.add_column("rank after full runs")
    for budget in rows[0]["budgets"]:
        grid.add_column(f"{budget['full_runs']:g}", justify="right", no_wrap=True)
    grid.add_column("full runs to the target", no_wrap=True)
    grid.add_column("by completed trials", no_wrap=True)
    for row in rows:
        grid.add_row(
            row["search"],
            *(_span(budget["rank"], "{:.0f}") for budget in row["budgets"]),
            *(_span(row["spent_to_target"][kind], "{:.2f}") for kind in ("reported", "completed")),
        )
    console.print(grid)
    console.print()


def _span(figure: dict[str, float], form: str) -> str:
    middle, low, high = (
        "never" if figure[key] == float("inf") else form.format(figure[key])
        for key in ("median", "low", "high")
    )
    return middle if low == high else f"{middle} ({low} to {high})"


def _times(figure: dict[str, float]) -> str:
    return f"{figure['median']:.1f} times sooner ({figure['low']:.1f} to {figure['high']:.1f})"
