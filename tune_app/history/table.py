"""Finished runs as a table that a search can be replayed on.

All runs use one grid of shares of the budget. If runs report at different points, the grid is
evenly spaced, and a run's value at a point is that of its last report until there. Runs that ended
before the full budget without diverging are left out, as their further values are unknown. Of runs
with the same values only the first is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_app.errors import Problem, UserError
from tune_app.history.read import STEP, Run, Runs, read
from tune_app.history.sizes import Column, guess
from tune_app.space.cube import Array
from tune_app.space.domains import Space, identity

GRID = 60
"""Points of the evenly spaced grid; up to this many of the runs' own points are used directly."""
SAME = 1e-6
"""Tolerance for equal shares."""
FULL = 0.98
"""A run that reached this share of the longest one counts as complete."""
GAP = 1.5
"""If a run's end without values is longer than this many of its intervals, it diverged."""


@dataclass(frozen=True, slots=True)
class Table:
    """Runs on a grid."""

    name: str
    metric: str
    sign: int
    """1 if lower is better, -1 otherwise."""
    space: Space
    trials: list[Any]
    params: list[dict[str, Any]]
    """The values of each run, converted to the space."""
    shares: Array
    """(points,): shares of the whole budget, ascending, the last one 1."""
    values: Array
    """(runs, points); from where a run diverged, infinite in the worse direction."""
    left_out: int
    """Number of runs that ended early."""
    repeats: int
    """Number of runs with the values of an earlier one, which are left out too."""
    remarks: tuple[str, ...] = ()
    """Notes on columns with another possible reading."""

    @property
    def best_seen(self) -> Array:
        """(runs,): the best value of each run, times `sign`."""
        best: Array = (self.sign * self.values).min(axis=1)
        return best


def load(path: Path, metric: str | None = None, goal: str = "minimize") -> list[Table]:
    """The tables of a file, one for each usable size of the task.

    Raises:
        UserError: the file is not a table, or no two of its runs can be compared.
    """
    tables, problems = load_sizes(path, metric, goal)
    if not tables:
        raise UserError(problems)
    return tables


def load_sizes(
    path: Path, metric: str | None = None, goal: str = "minimize"
) -> tuple[list[Table], list[Problem]]:
    """The tables of a file, and why some of its sizes give no table.

    Raises:
        UserError: the file is not a table.
    """
    sign = 1 if goal == "minimize" else -1
    tables: list[Table] = []
    problems: list[Problem] = []
    for runs in read(path, metric):
        try:
            tables.append(_table(runs, sign, str(path)))
        except UserError as error:
            problems += error.problems
    return tables, problems


def _table(runs: Runs, sign: int, where: str) -> Table:
    lengths = _lengths(runs)
    longest = max(lengths)
    if longest <= 0:
        raise UserError(Problem(f"{runs.name}: no run has made any progress", where))
    curves = [(run, _curve(run, full)) for run, full in zip(runs.runs, lengths, strict=True)]
    whole = [(run, curve) for run, curve in curves if _is_whole(curve)]
    names = runs.runs[0].params
    columns = [guess(name, [run.params[name] for run, _ in whole]) for name in names if whole]
    distinct: dict[str, tuple[Run, list[tuple[float, float]]]] = {}
    for run, curve in whole:
        distinct.setdefault(identity(_params(run, columns)), (run, curve))
    kept = list(distinct.values())
    _check(runs, [curve for _, curve in kept], longest, where)
    shares = _shares([curve for _, curve in kept])
    values = np.array([_on_grid(curve, shares) for _, curve in kept])
    return Table(
        name=runs.name,
        metric=runs.metric,
        sign=sign,
        space={column.name: column.domain for column in columns},
        trials=[run.trial for run, _ in kept],
        params=[_params(run, columns) for run, _ in kept],
        shares=shares,
        values=np.where(np.isfinite(values), values, sign * np.inf),
        left_out=len(runs.runs) - len(whole),
        repeats=len(whole) - len(kept),
        remarks=tuple(filter(None, [runs.remark, *(column.remark for column in columns)])),
    )


def _lengths(runs: Runs) -> list[float]:
    """The full length of each run, in progress: that of the longest one.

    Steps differ in size if batches do. So if most runs have the same number of reports at different
    steps, a run's full length is extrapolated from its own steps to that number of reports.
    """
    last = [_end(run) for run in runs.runs]
    counts = [len(run.reports) for run in runs.runs]
    most = max(counts)
    ends = [end for end, count in zip(last, counts, strict=True) if count == most]
    differ = runs.progress == STEP and min(ends) < FULL * max(ends)
    if most > 1 and differ and len(ends) > len(last) / 2:
        return [end * most / max(n, 1) for end, n in zip(last, counts, strict=True)]
    return [_longest(runs.runs)] * len(last)


def _end(run: Run) -> float:
    """The progress at a run's end; if only some rows have values, that of the last value."""
    if not run.reports:
        return 0.0
    last = run.reports[-1][0]
    return _measured(run.reports)[-1] if _is_between(run.reports, last) else last


def _longest(runs: Sequence[Run]) -> float:
    """The progress of the longest run, to its last value if only some rows have values."""
    last = max(run.reports[-1][0] if run.reports else 0.0 for run in runs)
    sound = [_measured(run.reports)[-1] for run in runs if _is_between(run.reports, last)]
    return max(sound, default=last)


def _measured(reports: Sequence[tuple[float, float]]) -> list[float]:
    return [at for at, value in reports if math.isfinite(value)]


def _is_between(reports: Sequence[tuple[float, float]], end: float) -> bool:
    """Whether the rows from the last value to `end` are only between two measurements.

    If all rows before have values, or if the rows without one are many, the run diverged.
    """
    measured = _measured(reports)
    if not measured or measured[-1] >= end:
        return bool(measured)
    is_sparse = len(measured) < sum(at <= measured[-1] for at, _ in reports)
    steps = np.diff([0.0, *measured])
    return is_sparse and end - measured[-1] <= GAP * float(steps.max())


def _check(runs: Runs, curves: list[list[tuple[float, float]]], longest: float, where: str) -> None:
    """Raises UserError for a table without runs to compare."""
    count = len(runs.runs)
    if len(curves) < 2:
        what = f"{runs.name}: {len(curves)} of {count} runs came to the end, at {longest:g}"
        fix = "keep the rows up to a length that more runs came to"
        if all(run.params == runs.runs[0].params for run in runs.runs):
            what = f"{runs.name}: all runs ({count}) have the same hyper-parameters"
            fix = ""
        if count == 1:
            what = f"{runs.name}: there is one run only"
        raise UserError(Problem(what, where, "two whole runs with different values, or more", fix))
    if not any(math.isfinite(curve[-1][1]) for curve in curves):
        what = f"{runs.name}: no run has a finite {runs.metric} at its end"
        raise UserError(Problem(what, where, "a run that did not diverge"))


def _params(run: Run, columns: list[Column]) -> dict[str, Any]:
    values = zip(columns, run.params.values(), strict=True)
    return {column.name: column.convert(value) for column, value in values}


def _curve(run: Run, full: float) -> list[tuple[float, float]]:
    """(share, value) of the reports with a value; infinite to the end after a divergence."""
    reports = [(at / full, value) for at, value in run.reports if at > 0]
    finite = [(share, value) for share, value in reports if math.isfinite(value)]
    broken = [share for share, value in reports if math.isinf(value)]
    if broken:
        finite = [(share, value) for share, value in finite if share < broken[0]]
        return [*finite, (broken[0], math.inf), (1.0, math.inf)]
    if not reports:
        return []
    if _is_between(reports, reports[-1][0]):
        return finite
    last = finite[-1][0] if finite else 0.0
    first = next(share for share, _ in reports if share > last)
    return [*finite, (first, math.inf), (1.0, math.inf)]


def _is_whole(curve: list[tuple[float, float]]) -> bool:
    return bool(curve) and curve[-1][0] >= FULL


def _shares(curves: list[list[tuple[float, float]]]) -> Array:
    """The grid (points,): the runs' own points if they agree, else evenly spaced ones."""
    points = np.unique(np.concatenate([[share for share, _ in curve] for curve in curves]))
    points = points[np.concatenate([[True], np.diff(points) > SAME])]
    sound = [curve for curve in curves if math.isfinite(curve[-1][1])]
    if len(points) > GRID and any(len(curve) < len(points) for curve in sound):
        points = np.arange(1, GRID + 1) / GRID
    first = max(curve[0][0] for curve in sound)
    return np.append(points[(points >= first - SAME) & (points < points[-1])], 1.0)


def _on_grid(curve: list[tuple[float, float]], shares: Array) -> Array:
    """The value of the last report at or before each share."""
    at = np.array([share for share, _ in curve])
    values = np.array([value for _, value in curve])
    last = np.searchsorted(at, shares + SAME, side="right") - 1
    result: Array = values[np.maximum(last, 0)]
    return result
