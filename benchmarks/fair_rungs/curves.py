"""Tables of learning curves, and how orders of their configurations are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TABLE = Path(__file__).parents[1] / "history" / "lm_pretraining_ru.parquet"
AGAIN = TABLE.with_stem("lm_pretraining_ru_again")
LARGER = TABLE.with_stem("lm_pretraining_ru_micro")
LIGHTER = 7
"""By this factor a step of the small model is cheaper: weights with the output embedding."""
HORIZON = "context.horizon_tokens"
SCHEDULER = "lr_scheduler_type"
SHARES = {"B/27": 1 / 27, "B/9": 1 / 9, "B/3": 1 / 3}
USUAL = (1e-4, 1e-2)
"""Learning rates that a person would search: two decades around the best."""
USUAL_TITLE = "Learning rates from {:g} to {:g} only".format(*USUAL)
FOLDS = 10
DRAWS = 4000
Array = NDArray[np.float64]
Scores = Mapping[str, pd.Series]
"""By rung: one number a configuration, infinite where the run had diverged."""


@dataclass(frozen=True, slots=True)
class Curves:
    """The runs of a table; everything is indexed by trial."""

    config: pd.DataFrame
    final: pd.Series
    """Of the longest runs."""
    rungs: Scores
    """Losses of the longest runs on their way."""
    decayed: Scores
    """Final losses of the shorter runs."""
    points: dict[int, tuple[Array, Array]]
    """Share of the horizon and loss at every evaluation of the longest run."""


def read(path: Path) -> Curves:
    """The curves of a table."""
    table = pd.read_parquet(path)
    budget = table[HORIZON].max()
    longest = table[table[HORIZON] == budget]
    own = longest.drop_duplicates("trial").set_index("trial").filter(like="config.")

    def loss(horizon: float, tokens: float) -> pd.Series:
        rows = table[(table[HORIZON] == round(horizon)) & (table.tokens == round(tokens))]
        found = rows.set_index("trial").eval_loss.reindex(own.index)
        return found.fillna(np.inf)

    points = {
        int(str(trial)): (rows.tokens.to_numpy() / budget, rows.eval_loss.to_numpy())
        for trial, rows in longest.groupby("trial")
    }
    ends = {
        name: share
        for name, share in SHARES.items()
        if round(budget * share) in set(table[HORIZON])
    }
    return Curves(
        config=own.rename(columns=lambda name: name.removeprefix("config.")),
        final=loss(budget, budget),
        rungs={name: loss(budget, budget * share) for name, share in SHARES.items()},
        decayed={name: loss(budget * share, budget * share) for name, share in ends.items()},
        points=points,
    )


def part(curves: Curves, trials: pd.Index) -> Curves:
    """Only these trials."""
    return Curves(
        config=curves.config.loc[trials],
        final=curves.final[trials],
        rungs={rung: scores[trials] for rung, scores in curves.rungs.items()},
        decayed={rung: scores[trials] for rung, scores in curves.decayed.items()},
        points={trial: curves.points[trial] for trial in trials},
    )


def spearman(a: pd.Series, b: pd.Series) -> float:
    """Of two series with the same index; equal values share their rank."""
    return float(np.corrcoef(a.rank().to_numpy(), b.rank().to_numpy())[0, 1])


def interval(scores: pd.Series, final: pd.Series, trials: pd.Index) -> str:
    a, b = scores[trials].to_numpy(), final[trials].to_numpy()
    many = [spearman_of(a[draw], b[draw]) for draw in bootstrap(len(a))]
    low, high = np.quantile(many, [0.05, 0.95])
    return f"{spearman_of(a, b):.2f} ({low:.2f} to {high:.2f})"


def difference(scores: pd.Series, other: pd.Series, final: pd.Series) -> str:
    a, b, c = (values.to_numpy() for values in (scores, other, final))
    draws = bootstrap(len(a))
    many = [spearman_of(a[d], c[d]) - spearman_of(b[d], c[d]) for d in draws]
    low, high = np.quantile(many, [0.05, 0.95])
    return f"{spearman_of(a, c) - spearman_of(b, c):+.3f} ({low:+.3f} to {high:+.3f})"


def bootstrap(count: int, repeats: int = 200) -> list[NDArray[np.int64]]:
    generator = np.random.default_rng(3)
    return [generator.integers(0, count, count) for _ in range(repeats)]


def spearman_of(a: Array, b: Array) -> float:
    return spearman(pd.Series(a), pd.Series(b))


def top(final: pd.Series) -> pd.Index:
    return final.nsmallest(round(len(final) / 10)).index


def recall(scores: pd.Series, wanted: pd.Index, part: float) -> str:
    first = scores.nsmallest(round(len(scores) * part)).index
    return f"{len(wanted.intersection(first)) / len(wanted):.0%}"


def mean(values: pd.Series, of_all: pd.Series) -> str:
    if len(values) < 5:
        return ""
    return f"{values.mean() - of_all.mean():+.1f} ± {values.std() / np.sqrt(len(values)):.1f}"


def named(prefix: str, scores: Scores) -> dict[str, pd.Series]:
    return {f"{prefix} {rung}": values for rung, values in scores.items()}


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    print(f"{title}\n\n| | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    print()
