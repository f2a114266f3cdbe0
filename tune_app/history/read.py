"""Reads a table of finished runs from a file.

Long form, one row per report: `trial` names the run, `config.*` are its hyper-parameters, `tokens`,
`step` or `epoch` is its progress, and the other columns are metrics. Without a progress column each
row is a finished run. If there is a column `seed`, each seed of a trial is a separate run.

Columns called `context.*` distinguish sizes of one task, and so do N and D, the parameters and
tokens of scaling laws, if they have a few whole numbers as values; each size is a separate table.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from tune_app.errors import Problem, UserError, nearest

TRIAL, SEED, CONFIG, CONTEXT = "trial", "seed", "config.", "context."
STEP = "step"
PROGRESS = ("tokens", STEP, "epoch")
METRICS = ("eval_loss", "final_eval_loss", "loss")
"""The default objective: the first of these that the table has."""
SIZES = ("N", "D")
"""Columns of scaling laws: parameters and tokens."""
FEW = 20
"""A column of sizes has at most this many distinct values."""
SHOWN = 20
"""Columns that a message lists."""
NOTHING = ("None", "none")
"""Further texts that mean a missing value in a .csv file."""
SEPARATORS = (";", "\t")
"""Separators of files that are called .csv but have no commas."""

Columns = Mapping[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run: its values, and its reports in order as (progress, objective)."""

    trial: Any
    params: dict[str, Any]
    reports: list[tuple[float, float]]
    """The objective is NaN in a report that does not have it."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of one size of a task."""

    name: str
    metric: str
    progress: str | None
    """The name of the progress column, None without one."""
    runs: list[Run]
    remark: str
    """A note on columns that were taken for sizes without the prefix `context.`."""


def read(path: Path, metric: str | None = None) -> list[Runs]:
    """The runs of a file, one entry for each size of the task.

    Raises:
        UserError: the file cannot be read, or is not such a table.
    """
    table = _load(path)
    problems = _problems(table, metric, str(path))
    if problems:
        raise UserError(problems)
    names = table.column_names
    objective = metric or _default_metric(names)
    columns = _columns(table, objective)
    progress = next((name for name in PROGRESS if _has_values(columns.get(name, []))), None)
    if progress is not None and _is_size(columns, progress):
        progress = None
    context = _context(columns, objective, progress)
    guessed = [name for name in context if not name.startswith(CONTEXT)]
    remark = f"sizes told apart by {', '.join(guessed)}" if guessed else ""
    groups: dict[tuple[Any, ...], dict[Any, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, run in enumerate(_runs(columns)):
        groups[tuple(columns[name][row] for name in context)][run].append(row)
    for runs in groups.values():
        _check_steady(runs.values(), columns, str(path))
        if progress is None:
            _check_single(runs.values(), columns, str(path))
    return [
        Runs(
            _name(path, context, key),
            objective,
            progress,
            [_run(rows, columns, objective, progress) for rows in runs.values()],
            remark,
        )
        for key, runs in sorted(groups.items(), key=_order)
    ]


def _load(path: Path) -> pyarrow.Table:
    table = _parsed(path)
    try:
        _ = table.column_names
    except UnicodeDecodeError as error:
        what = f"the column names are not UTF-8: {error}"
        raise UserError(Problem(what, str(path), fix="save the table as UTF-8")) from error
    return table


def _parsed(path: Path) -> pyarrow.Table:
    if path.is_dir():
        raise UserError(Problem("this is a folder", str(path), "a .csv or .parquet file"))
    try:
        if path.suffix.lower() == ".csv":
            options = pyarrow.csv.ConvertOptions()
            options.null_values = [*options.null_values, *NOTHING]
            return pyarrow.csv.read_csv(path, convert_options=options)
        if path.suffix.lower() == ".parquet":
            return pyarrow.parquet.ParquetFile(path).read()
    except FileNotFoundError as error:
        raise UserError(Problem("no such table", str(path))) from error
    except (OSError, pyarrow.ArrowException) as error:
        what = f"cannot read the table: {error}"
        raise UserError(Problem(what, str(path), "a .csv or .parquet file")) from error
    what = f"a table cannot end with {path.suffix!r}" if path.suffix else "a table needs a suffix"
    raise UserError(Problem(what, str(path), "a .csv or .parquet file"))


def _problems(table: pyarrow.Table, metric: str | None, where: str) -> list[Problem]:
    names = table.column_names
    if len(names) == 1 and any(mark in names[0] for mark in SEPARATORS):
        return [Problem(f"one column, {names[0]!r}", where, "commas between the columns")]
    problems = [
        Problem(f"{names.count(name)} columns are called {name!r}", where)
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if not any(name.startswith(CONFIG) for name in names):
        fix = f"put config. before the names of the hyper-parameters; there are {_listed(names)}"
        problems.append(Problem("no hyper-parameters", where, "columns called config.*", fix))
    if TRIAL not in names and any(name in names for name in PROGRESS):
        like = [name for name in names if TRIAL in name.lower() and not name.startswith(CONFIG)]
        fix = f"rename {like[0]!r} to {TRIAL!r}" if like else ""
        expected = "one that names the run of each report"
        problems.append(Problem(f"no column {TRIAL!r}", where, expected, fix))
    taken = (TRIAL, *PROGRESS)
    others = [n for n in names if not n.startswith((CONFIG, CONTEXT)) and n not in taken]
    if metric is not None and metric not in others:
        problems.append(Problem(f"no metric {metric!r}", where, fix=nearest(metric, others)))
    if metric is None and _default_metric(names) is None:
        expected = f"one of the columns {', '.join(METRICS)}"
        fix = f"name the study's metric, or --metric: {_listed(others)}" if others else ""
        problems.append(Problem("no objective", where, expected, fix))
    if not table.num_rows:
        problems.append(Problem("the table has no rows", where))
    return problems or _not_numbers(table, metric or _default_metric(names), where)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))


def _not_numbers(table: pyarrow.Table, metric: str, where: str) -> list[Problem]:
    problems = []
    for name in (metric, *PROGRESS):
        if name in table.column_names:
            try:
                _numbers(table[name])
            except pyarrow.ArrowException:
                first = next((v for v in table[name].to_pylist() if not _is_number(v)), None)
                what = f"the column {name!r} holds {first!r}"
                problems.append(Problem(what, where, "numbers, and nothing where there is none"))
    return problems


def _numbers(column: pyarrow.ChunkedArray) -> list[float | None]:
    numbers: list[float | None] = column.cast(pyarrow.float64(), safe=False).to_pylist()
    return numbers


def _is_number(value: Any) -> bool:
    try:
        float(value or 0)
    except (TypeError, ValueError):
        return False
    return True


def _default_metric(names: Iterable[str]) -> Any:
    return next((name for name in METRICS if name in names), None)


def _columns(table: pyarrow.Table, metric: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {TRIAL: list(range(table.num_rows))}
    for name in table.column_names:
        if name in (metric, *PROGRESS):
            columns[name] = _numbers(table[name])
        else:
            columns[name] = [_plain(value) for value in table[name].to_pylist()]
    return columns


def _runs(columns: Columns) -> list[Any]:
    """A key of the run, for each row."""
    trials = [str(trial) for trial in columns[TRIAL]]
    return list(zip(trials, map(str, columns[SEED]), strict=True)) if SEED in columns else trials


def _is_size(columns: Columns, progress: str) -> bool:
    """Whether the progress column has a few lengths of runs without curves, as a size."""
    runs, lengths = _runs(columns), columns[progress]
    return len(set(runs)) == len(runs) and len(set(lengths)) > 1 and _are_sizes(lengths, runs)


def _has_values(column: list[float | None]) -> bool:
    return any(map(_is_finite, column))


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _context(columns: Columns, metric: str, progress: str | None) -> list[str]:
    """The columns that distinguish sizes."""
    runs = _runs(columns)
    sizes = {*SIZES, *(PROGRESS if progress is None else ())} - {metric}
    return [
        name
        for name, values in columns.items()
        if len(set(map(str, values))) > 1
        and (name.startswith(CONTEXT) or (name in sizes and _are_sizes(values, runs)))
    ]


def _are_sizes(values: list[Any], runs: list[Any]) -> bool:
    """Whether a column has a few whole numbers that are constant within each run."""
    count = len(set(runs))
    is_steady = len(set(zip(runs, map(str, values), strict=True))) == count
    return is_steady and len(set(values)) <= min(FEW, count // 2) and all(map(_is_whole, values))


def _is_whole(value: Any) -> bool:
    return type(value) in (int, float) and float(value).is_integer()


def _check_steady(runs: Iterable[list[int]], columns: Columns, where: str) -> None:
    """Raises UserError for a hyper-parameter with several values within one run."""
    for rows in runs:
        for name, values in columns.items():
            present = [values[row] for row in rows if values[row] is not None]
            if name.startswith(CONFIG) and any(value != present[0] for value in present):
                what = f"trial {columns[TRIAL][rows[0]]!r} has several values of {name}"
                expected = "one value for all reports of a run"
                fix = f"give each run a name of its own in {TRIAL!r}, or put sizes in context.*"
                raise UserError(Problem(what, where, expected, fix))


def _check_single(runs: Iterable[list[int]], columns: Columns, where: str) -> None:
    """Raises UserError for several rows of one run without a progress column."""
    for rows in runs:
        if len(rows) > 1:
            what = f"trial {columns[TRIAL][rows[0]]!r} has {len(rows)} rows"
            expected = f"one row for each run, or a column {', '.join(PROGRESS)}"
            fix = (
                f"rename the column with the progress; or distinguish repeats by a column {SEED!r}"
            )
            raise UserError(Problem(what, where, expected, fix))


def _order(item: tuple[tuple[Any, ...], Any]) -> list[tuple[float, str]]:
    """Sizes by number, then by text."""
    return [(v, "") if isinstance(v, (int, float)) else (math.inf, str(v)) for v in item[0]]


def _name(path: Path, context: list[str], key: tuple[Any, ...]) -> str:
    sizes = [
        f"{name.removeprefix(CONTEXT)}={f'{value:g}' if isinstance(value, float) else value}"
        for name, value in zip(context, key, strict=True)
    ]
    return path.stem + (f" [{', '.join(sizes)}]" if sizes else "")


def _run(rows: list[int], columns: Columns, metric: str, progress: str | None) -> Run:
    params = {
        name.removeprefix(CONFIG): next((values[r] for r in rows if values[r] is not None), None)
        for name, values in columns.items()
        if name.startswith(CONFIG)
    }
    reports: dict[float, float] = {}
    for row in rows:
        at, value = columns[progress][row] if progress else 1.0, columns[metric][row]
        if at is not None and math.isfinite(at):
            # Of several reports at one point, the last one with a value counts.
            earlier = reports.get(at, math.nan)
            reports[at] = earlier if value is None or math.isnan(value) else value
    return Run(columns[TRIAL][rows[0]], params, sorted(reports.items()))


def _plain(value: Any) -> Any:
    """A value as plain JSON; some writers store missing numbers as NaN."""
    match value:
        case float() if not math.isfinite(value):
            return None if math.isnan(value) else str(value)
        case Decimal():
            return _plain(float(value))
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)
