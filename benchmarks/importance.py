"""How far the importance of hyper-parameters can be trusted, on tables of finished runs.

    python -m benchmarks.importance rows TABLE… [--draws 60]     # random runs, beside PED-ANOVA
    python -m benchmarks.importance search TABLE… [--draws 30]   # runs that a search leaves behind

The truth is the importance over all rows of a table at the full budget. Each draw has one column
more than the table: one of its own, shuffled. Printed for each table: how often intervals hold the
truth, of all columns and of the one that matters most; how often the shuffled column is said to
matter; how often the column that matters most comes first; the rank correlation of the order with
the true one; and of all columns that truly have 2 % or more, how many are said to matter. `usual`
are the runs with a learning rate of 1e-4 to 1e-2.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from scipy.stats import spearmanr

from tune_app.analysis.effects import LEVEL, effects
from tune_app.analysis.importance import comparisons_lost
from tune_app.core.definition import PlugIn
from tune_app.core.observations import ObservationReader
from tune_app.history.replay import Setting, search
from tune_app.history.table import Table, load
from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array, Axis, Cube
from tune_app.space.domains import Float

SIZES = (16, 25, 50, 100)
FULL_RUNS = (5.0, 10.0, 25.0)
USUAL = (1e-4, 1e-2)
REAL = 0.02
"""A true share that a study should find."""
FEW = 50
"""So many levels are told apart by PED-ANOVA."""
DERIVED = "lr_scheduler_kwargs.num_cycles"
"""Follows from another column and was not searched."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Trials in the cube, with scores of which the order counts."""

    axes: Sequence[Axis]
    points: Array
    scores: Array


@dataclass(frozen=True, slots=True)
class Draw:
    """What one draw said."""

    trials: int
    shares: Array
    holds: Array
    """(columns,): whether the interval has the truth in it."""
    matters: Array
    shuffled_matters: bool


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("how", choices=["rows", "search"])
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=30)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for table in _tables(args.tables):
        if args.how == "rows":
            _of_rows(table, args.draws)
        else:
            _of_searches(table, args.draws)


def _tables(paths: Sequence[Path]) -> Iterator[Table]:
    for path in paths:
        table = max(load(path), key=lambda table: len(table.shares))
        space = {name: domain for name, domain in table.space.items() if name != DERIVED}
        params = [{n: v for n, v in p.items() if n != DERIVED} for p in table.params]
        table = replace(table, name=table.name[:20], space=space, params=params)
        yield table
        if DERIVED not in space and path.name.startswith("lm_"):
            usual = [i for i, p in enumerate(params) if USUAL[0] <= p["learning_rate"] <= USUAL[1]]
            rate = space["learning_rate"]
            assert isinstance(rate, Float)
            domain = replace(rate, low=USUAL[0], high=USUAL[1])
            yield replace(
                table,
                name="usual",
                space={**space, "learning_rate": domain},
                params=[params[i] for i in usual],
                trials=[table.trials[i] for i in usual],
                values=table.values[usual],
            )


def _whole(table: Table) -> Rows:
    cube = Cube(table.space)
    points = np.array([cube.to_unit(params) for params in table.params])
    return Rows(list(cube.axes.values()), points, table.sign * table.values[:, -1])


def _of_rows(table: Table, draws: int) -> None:
    whole = _whole(table)
    truth = _truth(whole)
    for size in SIZES:
        rng = np.random.default_rng(size)
        chosen = [rng.choice(len(whole.scores), size, replace=False) for _ in range(draws)]
        parts = [Rows(whole.axes, whole.points[c], whole.scores[c]) for c in chosen]
        _show(f"{table.name} {size} rows", [_draw(part, truth, rng) for part in parts], truth)
        for quantile in (0.1, 0.25):
            _show_ped(whole, parts, quantile)


def _of_searches(table: Table, draws: int) -> None:
    truth = _truth(_whole(table))
    for searcher in ("random", "auto"):
        for full_runs in FULL_RUNS:
            rng = np.random.default_rng(0)
            setting = Setting(PlugIn(searcher), PlugIn("auto"), full_runs, workers=2)
            told = [_draw(_left_by(table, setting, seed), truth, rng) for seed in range(draws)]
            _show(f"{table.name} {searcher}, {full_runs:g} full runs", told, truth)


def _left_by(table: Table, setting: Setting, seed: int) -> Rows:
    cube = Cube(table.space)
    history = ObservationReader(table.space, cube).read(search(table, setting, seed), Constraints())
    return Rows(list(cube.axes.values()), history.points, comparisons_lost(history.values))


def _truth(rows: Rows) -> Array:
    return np.array([effect.share for effect in effects(rows.axes, rows.points, rows.scores)])


def _draw(rows: Rows, truth: Array, rng: np.random.Generator) -> Draw:
    source = int(rng.integers(len(rows.axes)))
    points = np.column_stack([rows.points, rng.permutation(rows.points[:, source])])
    *own, shuffled = effects([*rows.axes, rows.axes[source]], points, rows.scores)
    return Draw(
        trials=len(rows.scores),
        shares=np.array([effect.share for effect in own]),
        holds=np.array([e.low <= share <= e.high for e, share in zip(own, truth, strict=True)]),
        matters=np.array([effect.chance <= LEVEL for effect in own]),
        shuffled_matters=shuffled.chance <= LEVEL,
    )


def _show(name: str, draws: Sequence[Draw], truth: Array) -> None:
    first = int(truth.argmax())
    holds = np.array([draw.holds for draw in draws])
    found = np.array([draw.matters[truth >= REAL] for draw in draws])
    shuffled = _mean(draws, lambda draw: draw.shuffled_matters)
    print(
        f"{name}: {_mean(draws, lambda draw: draw.trials):.0f} trials,"
        f" holds {holds.mean():.0%} (first {holds[:, first].mean():.0%}),"
        f" shuffled matters {shuffled:.0%}, {_order([d.shares for d in draws], truth)},"
        f" found {found.mean():.0%} of {found.shape[1]}",
        flush=True,
    )


def _mean(draws: Sequence[Draw], value: Callable[[Draw], float]) -> float:
    return float(np.mean([value(draw) for draw in draws]))


def _order(shares: Sequence[Array], truth: Array) -> str:
    first = np.mean([found.argmax() == truth.argmax() for found in shares])
    found = [spearmanr(found, truth)[0] for found in shares]
    return (
        f"first is first {first:.0%}, order {np.mean([r for r in found if math.isfinite(r)]):.2f}"
    )


def _show_ped(whole: Rows, parts: Sequence[Rows], quantile: float) -> None:
    truth, found = _ped(whole, quantile), [_ped(part, quantile) for part in parts]
    print(f"    PED-ANOVA, best {quantile:.0%}: {_order(found, truth)}", flush=True)


def _ped(rows: Rows, quantile: float) -> Array:
    """Shares as PED-ANOVA of Optuna has them; diverged runs are the worst of all."""
    study = optuna.create_study()
    named = {f"p{index:03d}": axis for index, axis in enumerate(rows.axes)}
    distributions = {name: _distribution(axis) for name, axis in named.items()}
    worst = rows.scores[np.isfinite(rows.scores)].max() + 1
    for point, score in zip(rows.points, rows.scores, strict=True):
        values = {
            name: float(unit) if _is_line(axis) else int(np.abs(axis.levels - unit).argmin())
            for (name, axis), unit in zip(named.items(), point, strict=True)
        }
        value = float(min(score, worst))
        study.add_trial(
            optuna.create_trial(params=values, distributions=distributions, value=value)
        )
    found = PedAnovaImportanceEvaluator(target_quantile=quantile).evaluate(study)
    return np.array([found[name] for name in named])


def _is_line(axis: Axis) -> bool:
    return axis.levels is None or len(axis.levels) > FEW


def _distribution(axis: Axis) -> BaseDistribution:
    if _is_line(axis) or axis.levels is None:
        return FloatDistribution(0.0, 1.0)
    return CategoricalDistribution(list(range(len(axis.levels))))


if __name__ == "__main__":
    main()
