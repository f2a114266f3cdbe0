"""What all adapters share: learning-curve tables, the space offered, the clock, the trajectory.

Needs numpy, pandas and pyarrow alone, so that it runs in the environment of every peer. There is
one worker, and time is training: a trial that goes from one fidelity to the next costs their
difference as a part of a full run. README.md beside this file says what is counted and how.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

FIDELITIES = ("tokens", "step", "epoch")
FEW_VALUES = 10
"""A column with at most so many distinct values is a choice, not a range."""

Value = float | int | str | bool
Point = dict[str, Value]
"""A proposal: the name of each parameter, its value."""


class OutOfBudget(Exception):
    """The simulated clock has reached the budget: the search is over."""


@dataclass(frozen=True)
class Param:
    """One column as it is offered to a peer: a range, linear or logarithmic, or a choice.

    For a column whose values lie evenly in log(1 - x), what is offered is 1 - x in a log scale.
    """

    name: str
    column: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    mirrored: bool = False
    choices: tuple[Value, ...] = ()

    def units(self, offered: np.ndarray) -> np.ndarray:
        """Offered values of a range, put to 0..1."""
        scale = np.log if self.log else np.asarray
        low, high = scale(self.low), scale(self.high)
        units: np.ndarray = (scale(np.clip(offered, self.low, self.high)) - low) / (high - low)
        return units


@dataclass(frozen=True)
class Table:
    """Learning curves of a finite set of trials, `curves[row, level]`; level 0 is free of cost."""

    name: str
    params: tuple[Param, ...]
    points: tuple[Point, ...]
    trials: np.ndarray
    fidelities: np.ndarray
    curves: np.ndarray

    @property
    def top(self) -> int:
        """The last level, where a run is full; peers count resources in levels from 1 to here."""
        return len(self.fidelities) - 1

    def coordinates(self, points: list[Point] | tuple[Point, ...]) -> np.ndarray:
        """Points in the unit cube; a choice has one axis a value, so that two differ by 1."""
        axes: list[list[float] | np.ndarray] = []
        for param in self.params:
            values = [point[param.name] for point in points]
            if param.choices:
                axes += [[(v == c) / math.sqrt(2) for v in values] for c in param.choices]
            else:
                axes.append(param.units(np.asarray(values, dtype=float)))
        return np.asarray(axes, dtype=float).T


def _unevenness(values: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of values to even ones between their ends."""
    ordered = np.sort(values)
    even = (ordered - ordered[0]) / (ordered[-1] - ordered[0])
    count = len(even)
    above, below = np.arange(1, count + 1) / count - even, even - np.arange(count) / count
    return float(max(above.max(), below.max()))


def offered(column: str, values: pd.Series) -> tuple[Param, list[Value]]:
    """How a column is offered, and its values as offered."""
    name = column.removeprefix("config.")
    distinct = values.unique()
    if len(distinct) <= FEW_VALUES or not pd.api.types.is_numeric_dtype(values):
        kept = values.tolist()
        return Param(name, column, choices=tuple(dict.fromkeys(kept))), kept
    x = values.to_numpy(dtype=float)
    scales = {"linear": _unevenness(x)}
    if x.min() > 0:
        scales["log"] = _unevenness(np.log(x))
    if x.max() < 1:
        scales["log of 1-x"] = _unevenness(np.log1p(-x))
    best = min(scales, key=scales.__getitem__)
    mirrored = best == "log of 1-x"
    if mirrored:
        name, x = f"one_minus_{name}", 1 - x
    low, high = float(x.min()), float(x.max())
    return Param(name, column, low, high, best != "linear", mirrored), x.tolist()


def load(path: Path) -> Table:
    """Reads a long table; what it has no loss for counts as diverged."""
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    fidelity = next(name for name in FIDELITIES if name in frame)
    wide = frame.pivot(index="trial", columns=fidelity, values="eval_loss").sort_index()
    if wide.columns[0] > 0:
        wide.insert(0, 0, np.nan)
    columns = [name for name in frame if name.startswith("config.")]
    configs = frame.groupby("trial")[columns].first().loc[wide.index]
    params, values = [], []
    for column in columns:
        if configs[column].nunique() > 1:
            param, kept = offered(column, configs[column])
            params.append(param)
            values.append(kept)
    names = [param.name for param in params]
    points = tuple(dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))
    losses = wide.to_numpy(dtype=float)
    return Table(
        name=path.stem.removeprefix("taskset_"),
        params=tuple(params),
        points=points,
        trials=wide.index.to_numpy(),
        fidelities=wide.columns.to_numpy(dtype=float),
        curves=np.where(np.isfinite(losses), losses, np.nan),
    )


@dataclass
class Run:
    """A started trial: its row of the table, and how far it has come."""

    row: int
    level: int = 0
    failed: bool = False


@dataclass
class Session:
    """One search on a table: charges training to the clock and keeps the incumbents."""

    table: Table
    budget: float
    spent: float = 0.0
    value: float = math.inf
    completed_value: float = math.inf
    improvements: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._grid = self.table.coordinates(self.table.points)
        self._free = np.ones(len(self._grid), dtype=bool)

    def start(self, point: Point) -> Run:
        """Starts the trial nearest to a proposal among those not started yet."""
        if not self._free.any():
            raise OutOfBudget
        distance = ((self._grid - self.table.coordinates([point])) ** 2).sum(axis=1)
        run = Run(int(np.argmin(np.where(self._free, distance, np.inf))))
        self._free[run.row] = False
        self._observe(run)
        return run

    def point(self, run: Run) -> Point:
        """What the started trial really is, in offered values."""
        return self.table.points[run.row]

    def advance(self, run: Run) -> float:
        """Trains to the next level and gives its loss; a loss that is no number ends the run."""
        assert not run.failed
        assert run.level < self.table.top
        fidelities = self.table.fidelities
        run.level += 1
        self.spent += (fidelities[run.level] - fidelities[run.level - 1]) / fidelities[-1]
        loss = float(self.table.curves[run.row, run.level])
        run.failed = not math.isfinite(loss)
        self._observe(run)
        if self.spent >= self.budget - 1e-9:
            raise OutOfBudget
        return loss

    def restart(self, run: Run) -> None:
        """Puts a run back to its start, as without a checkpoint: what it did is paid again."""
        run.level = 0

    def train(self, run: Run, level: int) -> float:
        """Trains on to a level and gives the loss there, or NaN where it failed on the way."""
        while run.level < level and not run.failed:
            self.advance(run)
        return math.nan if run.failed else float(self.table.curves[run.row, level])

    def _observe(self, run: Run) -> None:
        curve = self.table.curves[run.row, : run.level + 1]
        better = float(curve[-1]) < self.value
        if better:
            self.value = float(curve[-1])
        if run.level == self.table.top and not run.failed:
            best = float(np.nanmin(curve))
            if best < self.completed_value:
                self.completed_value, better = best, True
        if better:
            self.improvements.append(
                {
                    "spent": self.spent,
                    "value": self.value,
                    "completed_value": self.completed_value,
                    "trial": int(self.table.trials[run.row]),
                }
            )


Engine = Callable[[Session, int], None]
"""Searches with a seed until the session says that the budget is spent."""


def search(table: Table, engine: Engine, budget: float, seed: int) -> pd.DataFrame:
    """The improvements of one search, oldest first."""
    session = Session(table, budget)
    random.seed(seed)
    np.random.seed(seed)
    try:
        engine(session, seed)
    except OutOfBudget:
        pass
    else:
        print(f"  ended by itself after {session.spent:.2f} full runs", file=sys.stderr)
    frame = pd.DataFrame(session.improvements).assign(table=table.name, seed=seed)
    return frame.replace({"completed_value": {math.inf: math.nan}})


def main(package: str, engines: dict[str, Engine]) -> None:
    """The command line of an adapter: each engine on each table with each seed, a file an engine.

    What its file already holds is not searched again.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="+", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--budget", type=float, default=25.0, help="in full runs")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no search later")
    parser.add_argument("--only", choices=engines, help="one engine of this file alone")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    tables = [load(path) for path in args.tables]
    ends = time.monotonic() + 60 * args.minutes
    for seed in range(args.seeds):
        for peer, table in itertools.product([args.only] if args.only else engines, tables):
            path = args.out / f"{peer}.parquet"
            found = [pd.read_parquet(path)] if path.exists() else []
            if found and ((found[0].table == table.name) & (found[0].seed == seed)).any():
                continue
            if time.monotonic() > ends:
                return
            begun = time.monotonic()
            new = search(table, engines[peer], args.budget, seed)
            new = new.assign(peer=peer, version=version(package))
            pd.concat([*found, new]).to_parquet(path, index=False)
            took = time.monotonic() - begun
            print(f"{peer} {table.name} {seed}: {took:.1f} s", file=sys.stderr, flush=True)
