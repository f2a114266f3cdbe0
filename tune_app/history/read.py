"""Reads a table of finished runs from a file.

Long form, one row per report: `trial` names the run, `config.*` are its hyper-parameters, `tokens`,
`step` or `epoch` says how far it was, and the other columns are metrics. Without such a column each
row is a finished run. Columns called `context.*`, and others with one of a few values throughout
each run, tell apart sizes of one task; each size is a table of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from tune_app.errors import Problem, UserError, nearest

TRIAL, CONFIG, CONTEXT = "trial", "config.", "context."
PROGRESS = ("tokens", "step", "epoch")
METRICS = ("eval_loss", "final_eval_loss", "loss")
"""The objective, where no other is asked for: the first of these that the table has."""
FEW = 20
"""A column with no more different values can be one of context."""


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run: its values, and its reports in order as (progress, objective)."""

    trial: Any
    params: dict[str, Any]
    reports: list[tuple[float, float]]
    """The objective is NaN where it was not measured."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of one size of a task."""

    name: str
    metric: str
    runs: list[Run]


def read(path: Path, metric: str | None = None) -> list[Runs]:
    """The runs of a file, one entry for each size of the task.

    Raises:
        UserError: the file cannot be read, or is no such table.
    """
    table = _load(path)
    names = table.column_names
    problems = _problems(table, metric, str(path))
    if problems:
        raise UserError(problems)
    objective = metric or _default_metric(names)
    columns = {name: table[name].to_pylist() for name in names}
    columns.setdefault(TRIAL, list(range(table.num_rows)))
    progress = next((name for name in PROGRESS if name in names), None)
    context = _context(columns, objective, progress)
    groups: dict[tuple[Any, ...], dict[Any, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in range(table.num_rows):
        key = tuple(columns[name][row] for name in context)
        groups[key][columns[TRIAL][row]].append(row)
    return [
        Runs(
            _name(path, context, key),
            objective,
            [_run(trial, rows, columns, objective, progress) for trial, rows in runs.items()],
        )
        for key, runs in sorted(groups.items(), key=lambda item: str(item[0]))
    ]


def _load(path: Path) -> pyarrow.Table:
    try:
        if path.suffix == ".csv":
            return pyarrow.csv.read_csv(path)
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path)
    except FileNotFoundError as error:
        raise UserError(Problem("no such table", str(path))) from error
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(Problem(f"cannot read the table: {error}", str(path))) from error
    what = f"a table cannot end with {path.suffix!r}" if path.suffix else "no kind of table"
    raise UserError(Problem(what, str(path), "a .csv or .parquet file"))


def _problems(table: pyarrow.Table, metric: str | None, where: str) -> list[Problem]:
    names = table.column_names
    found = []
    if not any(name.startswith(CONFIG) for name in names):
        fix = "put config. before the names of the hyper-parameters"
        found.append(Problem("no hyper-parameters", where, "columns called config.*", fix))
    if TRIAL not in names and any(name in names for name in PROGRESS):
        found.append(Problem("no column 'trial'", where, "one that names the run of each report"))
    others = [name for name in names if not name.startswith((CONFIG, CONTEXT)) and name != TRIAL]
    if metric is not None and metric not in others:
        found.append(Problem(f"no metric {metric!r}", where, fix=nearest(metric, others)))
    if metric is None and _default_metric(names) is None:
        expected = f"one of the columns {', '.join(METRICS)}"
        found.append(Problem("no objective", where, expected, "or name one with --metric"))
    if not table.num_rows:
        found.append(Problem("the table has no rows", where))
    return found + _not_numbers(table, metric or _default_metric(names), where)


def _not_numbers(table: pyarrow.Table, metric: str | None, where: str) -> list[Problem]:
    wanted = [name for name in (metric, *PROGRESS) if name in table.column_names]
    types = pyarrow.types
    return [
        Problem(f"the column {name!r} holds {table[name].type}", where, "numbers")
        for name in wanted
        if not (types.is_floating(table[name].type) or types.is_integer(table[name].type))
    ]


def _default_metric(names: Iterable[str]) -> Any:
    return next((name for name in METRICS if name in names), None)


def _context(columns: Mapping[str, list[Any]], metric: str, progress: str | None) -> list[str]:
    """Columns that are the same throughout each run and have few values in all."""
    found = []
    for name, values in columns.items():
        if name.startswith(CONTEXT):
            found.append(name)
        elif not name.startswith(CONFIG) and name not in (TRIAL, metric, progress):
            pairs = set(zip(columns[TRIAL], values, strict=True))
            steady = len(pairs) == len(set(columns[TRIAL]))
            if steady and len(set(values)) <= min(FEW, len(pairs) // 2) and name not in PROGRESS:
                found.append(name)
    return found


def _name(path: Path, context: list[str], key: tuple[Any, ...]) -> str:
    told = [f"{n.removeprefix(CONTEXT)}={v}" for n, v in zip(context, key, strict=True)]
    return path.stem + (f" [{', '.join(told)}]" if told else "")


def _run(
    trial: Any, rows: list[int], columns: Mapping[str, list[Any]], metric: str, progress: str | None
) -> Run:
    params = {
        name.removeprefix(CONFIG): _plain(values[rows[0]])
        for name, values in columns.items()
        if name.startswith(CONFIG)
    }
    reports = []
    for row in rows:
        at, value = columns[progress][row] if progress else 1.0, columns[metric][row]
        if at is not None:
            reports.append((float(at), math.nan if value is None else float(value)))
    return Run(trial, params, sorted(reports, key=lambda report: report[0]))


def _plain(value: Any) -> Any:
    """Missing values of a number's column arrive as NaN from some writers."""
    return None if isinstance(value, float) and math.isnan(value) else value
