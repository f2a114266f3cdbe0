"""Replays searches on tables of finished runs, to compare how fast they find good ones."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from tune_app.cli import _common, _searches
from tune_app.console import output
from tune_app.errors import Problem, UserError, once
from tune_app.storage.atomic import replacing

if TYPE_CHECKING:
    from tune_app.history.replay import Replayed, Setting
    from tune_app.history.table import Table
    from tune_app.history.trajectory import Incumbents

HELP = "replay searches on a table of finished runs"
TABLE = (
    "a .csv or .parquet file with a row for each report: trial, config.* for the hyper-parameters, "
    "tokens, step or epoch, and metrics; context.*, N and D tell apart sizes of one task"
)
GOALS = ("minimize", "maximize")
MORE_IS_BETTER = {
    "acc",
    "accuracy",
    "auc",
    "auroc",
    "bleu",
    "f1",
    "recall",
    "return",
    "reward",
    "score",
}
"""Words in the names of metrics for which larger values are usually better."""
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", nargs="+", type=Path, metavar="TABLE", help=TABLE)
    _searches.add_arguments(parser)
    parser.add_argument("--full-runs", type=float, default=25, help="the budget (default: 25)")
    parser.add_argument("--workers", type=int, default=1, help="simulated workers (default: 1)")
    parser.add_argument("--seeds", type=int, default=10, help="searches of each kind (default: 10)")
    parser.add_argument(
        "--metric", help="the column of the objective (default: eval_loss, final_eval_loss or loss)"
    )
    parser.add_argument("--goal", choices=GOALS, help="(default: minimize)")
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
    from tune_app.cli import _replays
    from tune_app.history import figures, trajectory

    tables, searches, left_out = _checked(args)
    try:
        runs = _replayed(tables, searches, args)
    except KeyboardInterrupt:
        return INTERRUPTED
    rows = [
        {"search": name, **figures.summary(table, seeds[name], args.full_runs, args.target)}
        for table, seeds in zip(tables, runs, strict=True)
        for name in searches
    ]
    overall = [
        {
            "search": name,
            **figures.overall([row for row in rows if row["search"] == name], args.full_runs),
        }
        for name in searches
    ]
    steps = [
        {name: [run.steps for run in seeds] for name, seeds in searched.items()}
        for searched in runs
    ]
    if args.trajectory is not None:
        trajectory.write(args.trajectory, tables, steps)
    _plot(args, tables, steps, rows)
    if args.json:
        remarks = [_left_out(size) for size in left_out]
        _common.print_json(_strict({"replays": rows, "overall": overall, "remarks": remarks}))
    else:
        _replays.show(output.stdout(), tables, rows, overall, args)
    return 0


def _checked(args: argparse.Namespace) -> tuple[list[Table], dict[str, Setting], list[Problem]]:
    """Tables, searches, and why sizes were left out.

    Raises:
        UserError: with all mistakes of the command line and the tables.
    """
    from tune_app.history.replay import problems as replay_problems
    from tune_app.history.table import load_sizes

    problems = _option_problems(args)
    tables: list[Table] = []
    left_out: list[Problem] = []
    for path in args.tables:
        try:
            sizes, remarks = load_sizes(path, args.metric, args.goal or GOALS[0])
        except UserError as error:
            sizes, remarks = [], list(error.problems)
        if not sizes:
            problems += remarks
        else:
            left_out += remarks
        tables += sizes
    problems += _goal_problems(args.goal, tables)
    searches, unknown = _searches.searches(args)
    problems += unknown
    if not problems:
        problems = [
            problem
            for setting in searches.values()
            for table in tables
            for problem in replay_problems(table, setting)
        ]
    if problems:
        raise UserError(once(problems))
    if not args.json:
        for size in left_out:
            print(_left_out(size), file=sys.stderr)
    return _named_apart(tables), searches, left_out


def _goal_problems(goal: str | None, tables: Sequence[Table]) -> list[Problem]:
    """Asks for `--goal` where it is missing and the metric's name suggests maximising."""
    metrics = dict.fromkeys(table.metric for table in tables if goal is None)
    return [
        Problem(
            f"is more {metric} better?", "--goal", fix=" or ".join(f"--goal {g}" for g in GOALS)
        )
        for metric in metrics
        if MORE_IS_BETTER & set(re.split(r"[^a-z0-9]+", metric.lower()))
    ]


def _left_out(size: Problem) -> str:
    return f"left out: {size.in_one_line()}"


def _named_apart(tables: Sequence[Table]) -> list[Table]:
    """Numbers tables of the same name, from files in different folders."""
    counts: Counter[str] = Counter()
    named = []
    for table in tables:
        counts[table.name] += 1
        again = counts[table.name]
        named.append(replace(table, name=f"{table.name} ({again})") if again > 1 else table)
    return named


def _option_problems(args: argparse.Namespace) -> list[Problem]:
    target = args.target
    rules = (
        ("--full-runs", args.full_runs, 0 < args.full_runs < float("inf"), "a number above 0"),
        ("--workers", args.workers, args.workers >= 1, "a whole number above 0"),
        ("--seeds", args.seeds, args.seeds >= 1, "a whole number above 0"),
        ("--target", target, target is None or math.isfinite(target), "a number"),
        ("--stragglers", args.stragglers, 0 <= args.stragglers <= 3, "a number from 0 to 3"),
        ("--failures", args.failures, 0 <= args.failures <= 0.5, "a number from 0 to 0.5"),
    )
    return [
        *(
            Problem(f"{str(value)!r} is not possible", option, expected)
            for option, value, holds, expected in rules
            if not holds
        ),
        *_file_problems("--trajectory", args.trajectory, ".parquet"),
        *_file_problems("--plot", args.plot, ".png"),
    ]


def _file_problems(option: str, path: Path | None, suffix: str) -> list[Problem]:
    if path is None:
        return []
    if not path.parent.is_dir():
        return [Problem(f"there is no folder {str(path.parent)!r}", option, fix="make it first")]
    is_writable = os.access(path if path.exists() else path.parent, os.W_OK)
    if path.suffix == suffix and not path.is_dir() and is_writable:
        return []
    what, expected = f"{str(path)!r} is not possible", f"a {suffix} file that can be written"
    return [Problem(what, option, expected)]


def _replayed(
    tables: Sequence[Table], searches: dict[str, Setting], args: argparse.Namespace
) -> list[dict[str, list[Replayed]]]:
    """For each table, by search, the replay of each seed; runs on all cores."""
    from tune_app.history.replay import replay

    names = list(searches)
    jobs = [
        (table, searches[name], seed)
        for table in tables
        for name in names
        for seed in range(args.seeds)
    ]
    # One thread per process: the matrices are too small for several threads.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    context = multiprocessing.get_context("spawn")
    count = min(os.cpu_count() or 1, len(jobs))
    with ProcessPoolExecutor(count, context, _leave_ctrl_c_to_the_parent) as pool:
        pending = [pool.submit(replay, *job) for job in jobs]
        try:
            with Progress(transient=True, disable=args.json) as progress:
                task = progress.add_task("replaying", total=len(jobs))
                done = []
                for future in pending:
                    done.append(future.result())
                    progress.advance(task)
        except UserError:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    results = iter(done)
    return [{name: [next(results) for _ in range(args.seeds)] for name in names} for _ in tables]


def _leave_ctrl_c_to_the_parent() -> None:
    """Ignores Ctrl-C in a worker process, so that it shows no traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _plot(
    args: argparse.Namespace,
    tables: Sequence[Table],
    runs: Sequence[Incumbents],
    rows: Sequence[dict[str, Any]],
) -> None:
    from tune_app.history import plot

    targets = {row["table"]: row["target"] for row in rows}
    ordered = [targets[table.name] for table in tables]
    with replacing(args.plot) as new:
        plot.figure(tables, runs, ordered, args.full_runs).savefig(new)


def _strict(value: Any) -> Any:
    """Replaces infinity (a target never reached) and NaN by null, which strict JSON needs."""
    match value:
        case dict():
            return {key: _strict(item) for key, item in value.items()}
        case list():
            return [_strict(item) for item in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
