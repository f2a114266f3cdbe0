"""Prints the results of replays, in 80 columns."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from tune_app.analysis import format
from tune_app.history.figures import LEVEL, Figure, random_runs
from tune_app.history.table import Table

NEVER = "never"


def show(
    console: Console,
    tables: Sequence[Table],
    results: Sequence[dict[str, Any]],
    overall: Sequence[dict[str, Any]],
    args: argparse.Namespace,
) -> None:
    """Prints each table, all tables together, and the path of the plot.

    `results` has one row per table and search, `overall` one per search.
    """
    for table in tables:
        rows = [row for row in results if row["table"] == table.name]
        _head(console, table, rows[0], args)
        for row in rows:
            _search(console, table.metric, row, args.workers)
    if len(tables) > 1:
        _overall(console, len(tables), overall, args)
    seeds = f"the median of {args.seeds} seeds and its {100 * LEVEL:.0f} % interval"
    console.print(Text(f"Each figure is {seeds}." if args.seeds > 1 else "One seed: no intervals."))
    if args.trajectory is not None:
        console.print(Text(f"incumbents: {args.trajectory}"))
    console.print(Text(f"plot: {args.plot}"))


def _head(console: Console, table: Table, row: dict[str, Any], args: argparse.Namespace) -> None:
    count = len(table.shares)
    head = f"{table.name}: {len(table.trials)} runs, {count} report{'s' * (count > 1)} each"
    console.print(Text(head, "bold"))
    for number, why in (
        (table.left_out, "ended before the full length of the longest"),
        (table.repeats, "repeat the values of another one"),
    ):
        if number:
            console.print(Text(f"left out, runs that {why}: {number}"))
    for remark in table.remarks:
        console.print(Text(remark))
    if len(table.trials) < args.full_runs:
        console.print(Text(f"{len(table.trials)} full runs train all of them to the end"))
    best, target = format.loss(row["best"]), format.loss(row["target"])
    goal = "minimised" if table.sign > 0 else "maximised"
    at_random = f", the median best of {random_runs(args.full_runs)} of its runs at random"
    how = at_random if args.target is None else ""
    console.print(Text(f"best {table.metric}, {goal}: {best}"))
    console.print(Text(f"target: {target}{how}"))
    console.print()


def _search(console: Console, metric: str, row: dict[str, Any], workers: int) -> None:
    console.print(Text(row["search"], "bold"))
    grid = _grid("full runs", format.shorten(metric, 24), "regret", "better runs")
    for budget in row["budgets"]:
        value, regret, rank = (budget[key] for key in ("value", "regret", "rank"))
        grid.add_row(
            f"{budget['full_runs']:g}",
            _span(value, format.loss),
            _span(regret, _short),
            _span(rank, lambda number: f"{number:g}"),
        )
    console.print(grid)
    _to_target(console, "full runs to the target", row["spent_to_target"])
    _out_of_runs(console, row)
    if workers > 1:
        _to_target(console, "time to it, that of a full run being 1", row["time_to_target"])
    console.print()


def _out_of_runs(console: Console, row: dict[str, Any]) -> None:
    """Says if a search had used all runs of the table before its budget was spent."""
    seeds = len(row["by_seed"]["reported"])
    if over := row["out_of_runs"]["seeds"]:
        spent = _span(row["out_of_runs"]["spent"], lambda number: f"{number:.2f}")
        often = f", with {over} of {seeds} seeds" if over < seeds else ""
        console.print(Text(f"  ended after {spent} full runs: no run was left{often}"))


def _to_target(console: Console, what: str, figures: dict[str, Figure]) -> None:
    for kind, how in (("reported", what), ("completed", "by completed trials alone")):
        text = _span(figures[kind], lambda number: f"{number:.2f}", NEVER)
        console.print(Text(f"  {how}: {text}"))


def _overall(
    console: Console, count: int, overall: Sequence[dict[str, Any]], args: argparse.Namespace
) -> None:
    console.print(Text(f"All {count} tables", "bold"))
    console.print(Text("regret: 0 is the best run of a table, 1 its median run; means over tables"))
    console.print()
    for row in overall:
        console.print(Text(row["search"], "bold"))
        grid = _grid("full runs", "regret", "better runs")
        for budget in row["budgets"]:
            grid.add_row(
                f"{budget['full_runs']:g}",
                _span(budget["regret_share"], _short),
                _span(budget["rank_share"], _percent),
            )
        console.print(grid)
        for kind, how in (("reported", "the target"), ("completed", "by completed trials alone")):
            console.print(Text(f"  {how}: {_sooner(row['speed_up'][kind], args.full_runs)}"))
        console.print()


def _sooner(speed_up: Figure, full_runs: float) -> str:
    if speed_up["median"] == 0:
        return "not reached on every table"
    times = _span(speed_up, lambda number: f"{number:.1f}")
    return f"{times} times sooner than {full_runs:g} full runs"


def _grid(*names: str) -> Grid:
    grid = Grid(box=None, padding=(0, 1), header_style="bold")
    for name in names:
        grid.add_column(name, justify="right" if name == "full runs" else "left", no_wrap=True)
    return grid


def _span(figure: Figure, form: Any, infinite: str = "inf") -> str:
    """A median with its interval, for example `1.2 (1.0 to 1.5)`."""
    median, low, high = (_text(figure[key], form, infinite) for key in ("median", "low", "high"))
    return median if low == high else f"{median} ({low} to {high})"


def _text(number: float, form: Any, infinite: str) -> str:
    if math.isnan(number):
        return format.NOTHING
    return infinite if math.isinf(number) else str(form(number))


def _short(number: float) -> str:
    if number != 0 and not 1e-3 <= abs(number) < 1e4:
        return format.scientific(number, 2)
    return f"{number:.2g}" if abs(number) < 10 else f"{number:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
