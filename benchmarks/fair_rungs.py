"""How fair it is to compare unfinished trials, from a table of learning curves.

    python benchmarks/fair_rungs.py

Prints, for the rungs of the longest runs and for the shorter runs whose schedule was over there:
how well their losses order the configurations as the final losses of the longest runs do, which
kinds of configurations are ranked too low, and whether a grace period, a regression on what is
known of the schedule, or an extrapolation of the curve mends it; then the same for usual learning
rates only. Less than half a minute on one core.

A diverged run ranks below all others. Lower scores are better everywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TABLE = Path(__file__).parent / "history" / "lm_pretraining_ru.parquet"
AGAIN = TABLE.with_stem("lm_pretraining_ru_again")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("table", type=Path, nargs="?", default=TABLE)
    parser.add_argument("again", type=Path, nargs="?", default=AGAIN, help="with another seed")
    args = parser.parse_args()
    whole, again = read(args.table), read(args.again)
    rate = whole.config.learning_rate
    usual = whole.final.index[(rate >= USUAL[0]) & (rate <= USUAL[1])]
    for title, curves in (("All configurations", whole), (USUAL_TITLE, part(whole, usual))):
        print(f"# {title}\n")
        describe(curves)
        noise(curves, again)
        correlations(curves)
        standing(curves)
        offsets(curves)
        corrections(curves)
        few_finished(curves)
        searches(curves)


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


def describe(curves: Curves) -> None:
    """Says how many runs there are and how they ended."""
    finite = curves.final[np.isfinite(curves.final)]
    best = curves.final.idxmin()
    quartiles = ", ".join(f"{value:.3f}" for value in finite.quantile([0.25, 0.5, 0.75]))
    print(f"{len(curves.final)} configurations, {len(curves.final) - len(finite)} diverged.")
    print(f"Final losses: best {finite.min():.3f}, quartiles {quartiles}.")
    print(f"The best, trial {best}: {curves.config.loc[best].dropna().to_dict()}\n")


def noise(curves: Curves, again: Curves) -> None:
    """How far the order is luck: the longest runs of some trials with another seed."""
    common = curves.final.index.intersection(again.final.index)
    rows = []
    for name, one, other in (
        *((f"rung {rung}", curves.rungs[rung], again.rungs[rung]) for rung in SHARES),
        ("final", curves.final, again.final),
    ):
        both = pd.DataFrame({"one": one[common], "other": other[common]})
        apart = (both.one - both.other)[np.isfinite(both).all(axis=1)]
        distances = [f"{apart.abs().quantile(part):.3f}" for part in (0.5, 0.9)]
        rows.append([name, f"{spearman(both.one, both.other):.2f}", *distances])
    title = f"Two seeds of {len(common)} trials"
    _print(title, ["Spearman", "median distance", "nine of ten below"], rows)


def correlations(curves: Curves) -> None:
    """How the order on the way is like the order at the end."""
    columns = _named("rung", curves.rungs) | _named("own end", curves.decayed)
    groups = {"all": curves.final.index}
    groups |= {"the better half": curves.final.nsmallest(len(curves.final) // 2).index}
    groups |= {str(kind): rows.index for kind, rows in curves.config.groupby(SCHEDULER)}
    rows = [
        [
            f"{name} ({len(trials)})",
            *(_interval(scores, curves.final, trials) for scores in columns.values()),
        ]
        for name, trials in groups.items()
    ]
    _print("Spearman rank correlation with the final loss (90 % interval)", list(columns), rows)


def standing(curves: Curves) -> None:
    """Where the best configurations stand on the way."""
    columns = _named("rung", curves.rungs) | _named("own end", curves.decayed)
    best = curves.final.idxmin()
    top = _top(curves.final)
    rows = [
        ["rank of the best", *(f"{scores.rank()[best]:.0f}" for scores in columns.values())],
        [
            "best 10 %: also among the best 10 %",
            *(_share(scores, top, 0.1) for scores in columns.values()),
        ],
        [
            "best 10 %: among the best third",
            *(_share(scores, top, 1 / 3) for scores in columns.values()),
        ],
        [
            "final loss of the first, above the best",
            *(
                f"{curves.final[scores.idxmin()] - curves.final.min():.3f}"
                for scores in columns.values()
            ),
        ],
    ]
    _print("Where the best stand", list(columns), rows)


def offsets(curves: Curves) -> None:
    """By how many ranks kinds of configurations stand too low (positive) or too high."""
    columns = _named("rung", curves.rungs) | _named("own end", curves.decayed)
    final = curves.final.rank(pct=True)
    off = {name: 100 * (scores.rank(pct=True) - final) for name, scores in columns.items()}
    ended = np.isfinite(curves.final)
    rows = []
    for name, mask in _kinds(curves.config).items():
        cells = [_mean(values[mask & ended], values[ended]) for values in off.values()]
        rows.append([f"{name} ({(mask & ended).sum()})", *cells])
    title = (
        "Ranks (in % of all) that a kind stands too low, against the mean; without diverged ones"
    )
    _print(title, list(columns), rows)


def _kinds(config: pd.DataFrame) -> dict[str, pd.Series]:
    warmup, rate = config.warmup_steps, config.learning_rate
    low, high = np.exp(np.quantile(np.log(rate), [1 / 3, 2 / 3]))
    kinds = {
        "warm-up up to 10 %": warmup <= 0.1,
        "warm-up 10 to 20 %": (warmup > 0.1) & (warmup <= 0.2),
        "warm-up over 20 %": warmup > 0.2,
        f"learning rate below {low:.2g}": rate < low,
        "learning rate between": (rate >= low) & (rate <= high),
        f"learning rate above {high:.2g}": rate > high,
    }
    for kind in sorted(config[SCHEDULER].unique()):
        here = config[SCHEDULER] == kind
        kinds[kind] = here
        kinds[f"{kind}, warm-up up to 10 %"] = here & (warmup <= 0.1)
        kinds[f"{kind}, warm-up over 20 %"] = here & (warmup > 0.2)
    return kinds


def corrections(curves: Curves) -> None:
    """Whether a corrected score orders better than the loss itself."""
    scores: dict[str, Scores] = {
        "the loss itself": curves.rungs,
        "power law with a floor": {r: extrapolated(curves, r, power_law) for r in SHARES},
        "straight line in log-log": {r: extrapolated(curves, r, log_log) for r in SHARES},
    }
    for name, wanted in REGRESSIONS.items():
        scores[name] = {rung: regressed(curves, rung, wanted) for rung in SHARES}
    blind = {rung: regressed(curves, rung, EVERYTHING, with_loss=False) for rung in SHARES}
    scores["the configuration without the loss"] = blind
    top = _top(curves.final)
    rows, gains = [], []
    for name, at in scores.items():
        order = [f"{spearman(at[rung], curves.final):.2f}" for rung in SHARES]
        rows.append([name, *order, *(_share(at[rung], top, 0.1) for rung in SHARES)])
        better = [_difference(at[rung], curves.rungs[rung], curves.final) for rung in SHARES]
        gains.append([name, *better])
    columns = [f"{what} {rung}" for what in ("Spearman", "recall") for rung in SHARES]
    _print("Corrected scores: order, and best 10 % among the first 10 %", columns, rows)
    _print("Gain in Spearman over the loss itself (90 % interval)", list(SHARES), gains[1:])
    _after_warm_up(curves)


def _after_warm_up(curves: Curves) -> None:
    rows = []
    for rung, share in SHARES.items():
        over = curves.config.warmup_steps <= share
        cells = []
        for trials in (curves.final.index[over], curves.final.index[~over]):
            scores, final = curves.rungs[rung][trials], curves.final[trials]
            enough = len(trials) >= 10
            cells.append(f"{spearman(scores, final):.2f} ({len(trials)})" if enough else "")
        rows.append([rung, *cells])
    _print("Spearman among those whose warm-up was over at the rung, or not", ["over", "not"], rows)


SCHEDULE = (SCHEDULER, "warmup", "left")
EVERYTHING = (*SCHEDULE, "rate", "batch", "optim", "bf16", "weight_decay")
REGRESSIONS = {
    "regression on schedule and warm-up": SCHEDULE,
    "regression on these and learning rate": (*SCHEDULE, "rate"),
    "regression on all of the configuration": EVERYTHING,
}
HALVINGS = {
    ("B/27", "B/9", "B/3"): (27, 54, 108),
    ("B/9", "B/3"): (27, 36, 48),
    ("B/3",): (27,),
}
"""Rungs before the end, and how many trials begin; no more than half of the table."""


def features(config: pd.DataFrame, share: float, wanted: Sequence[str]) -> Array:
    """What is known of a trial at a rung besides its loss, as columns."""
    warmup, rate = config.warmup_steps, np.log(config.learning_rate)
    batch = np.log2(config.per_device_train_batch_size * config.gradient_accumulation_steps)
    columns: list[pd.Series] = []
    for name in wanted:
        match name:
            case "warmup":
                columns += [warmup]
            case "left":
                columns += [(warmup - share).clip(lower=0), (warmup > share)]
            case "rate":
                columns += [rate, rate**2, rate**3]
            case "batch":
                columns += [batch, batch * rate]
            case "weight_decay":
                columns += [config[name]]
            case _:
                kinds = config[name].astype(str)
                columns += [kinds == kind for kind in sorted(kinds.unique())[1:]]
    return np.column_stack([np.asarray(column, dtype=float) for column in columns])


def inputs(curves: Curves, rung: str, wanted: Sequence[str], with_loss: bool) -> Array:
    """The rows of a regression: a constant, the features, the rung's rank and their products."""
    known = features(curves.config, SHARES[rung], wanted)
    spread = known.std(axis=0)
    known = (known - known.mean(axis=0)) / np.where(spread > 0, spread, 1)
    constant = np.ones((len(known), 1))
    if not with_loss:
        return np.hstack([constant, known])
    rank = _centred(curves.rungs[rung])[:, None]
    return np.hstack([constant, known, rank, rank**2, known * rank])


def regressed(
    curves: Curves, rung: str, wanted: Sequence[str], with_loss: bool = True
) -> pd.Series:
    """The final rank as a ridge regression on the other folds predicts it.

    With the loss it predicts the way from the rung's rank to the final one, so that what it does
    not know leaves the order as it is.
    """
    x = inputs(curves, rung, wanted, with_loss)
    start = _centred(curves.rungs[rung]) if with_loss else np.zeros(len(x))
    y = _centred(curves.final) - start
    folds = np.random.default_rng(0).permutation(len(y)) % FOLDS
    predicted = np.empty(len(y))
    for fold in range(FOLDS):
        predicted[folds == fold] = _ridge(x[folds != fold], y[folds != fold], x[folds == fold])
    predicted = predicted + start
    ended = np.isinf(curves.rungs[rung].to_numpy())
    return pd.Series(np.where(ended & with_loss, np.inf, predicted), curves.final.index)


def _centred(scores: pd.Series) -> Array:
    return np.asarray(scores.rank(pct=True), dtype=np.float64) - 0.5


def _ridge(x: Array, y: Array, asked: Array, strength: float = 1.0) -> Array:
    penalty = strength * np.eye(x.shape[1])
    penalty[0, 0] = 0
    predicted: Array = asked @ np.linalg.solve(x.T @ x + penalty, x.T @ y)
    return predicted


def extrapolated(curves: Curves, rung: str, law: Callable[[Array, Array], float]) -> pd.Series:
    """The loss at the end of the horizon as a curve through the losses so far goes on."""
    found = {}
    for trial, (shares, losses) in curves.points.items():
        seen = shares <= SHARES[rung] * 1.0001
        ended = not np.isfinite(curves.rungs[rung][trial])
        found[trial] = np.inf if ended else law(shares[seen], losses[seen])
    return pd.Series(found).reindex(curves.final.index)


def power_law(shares: Array, losses: Array) -> float:
    """Of floor + a share^-b, with neither floor nor a below 0: least squares, at share 1."""
    best, value = np.inf, losses[-1]
    if len(losses) < 3:
        return float(value)
    for exponent in np.geomspace(0.05, 2, 16):
        x = shares**-exponent
        slope, floor = np.polyfit(x, losses, 1)
        if slope < 0:
            slope, floor = 0.0, losses.mean()
        elif floor < 0:
            slope, floor = float(x @ losses / (x @ x)), 0.0
        error = float(((floor + slope * x - losses) ** 2).sum())
        if error < best:
            best, value = error, floor + slope
    return float(value)


def log_log(shares: Array, losses: Array) -> float:
    """The straight line through the last factor of 3, in logarithms, at share 1."""
    recent = shares >= shares[-1] / 3.01
    if recent.sum() < 2:
        return float(losses[-1])
    _, level = np.polyfit(np.log(shares[recent]), np.log(losses[recent]), 1)
    return float(np.exp(level))


def few_finished(curves: Curves, finished: int = 25, repeats: int = 100) -> None:
    """What the regression is worth when only a study's own finished trials are at hand."""
    rows = []
    for name, wanted in REGRESSIONS.items():
        gains = [_gains(curves, rung, wanted, finished, repeats) for rung in SHARES]
        rows.append([name, *(f"{g.mean():+.3f} ({(g > 0).mean():.0%} better)" for g in gains)])
    title = f"Gain in Spearman of a regression on {finished} finished trials, over the others"
    _print(title, list(SHARES), rows)


def _gains(curves: Curves, rung: str, wanted: Sequence[str], finished: int, repeats: int) -> Array:
    generator = np.random.default_rng(1)
    x, start = inputs(curves, rung, wanted, True), _centred(curves.rungs[rung])
    y, gains = _centred(curves.final), []
    for _ in range(repeats):
        order = generator.permutation(len(y))
        known, asked = order[:finished], order[finished:]
        way = _ridge(x[known], (y - start)[known], x[asked], strength=10.0)
        final = y[asked]
        gains.append(_spearman_of(start[asked] + way, final) - _spearman_of(start[asked], final))
    return np.array(gains)


def searches(curves: Curves) -> None:
    """Successive halving with eta 3 over random draws: what it ends with and what it costs."""
    corrected = {rung: regressed(curves, rung, SCHEDULE) for rung in SHARES}
    everything = {rung: regressed(curves, rung, EVERYTHING) for rung in SHARES}
    curve = {rung: extrapolated(curves, rung, power_law) for rung in SHARES}
    rows = []
    for rungs, counts in HALVINGS.items():
        plain = {rung: curves.rungs[rung] for rung in rungs}
        start = f"from {rungs[0]},"
        fitting = [count for count in counts if count <= len(curves.final) // 2]
        rows += [[f"{start} {count} trials", *halving(curves, plain, count)] for count in fitting]
        for name, grace in {"grace over the warm-up": 1.0, "grace over twice that": 2.0}.items():
            rows.append([f"{start} 27, {name}", *halving(curves, plain, 27, grace=grace)])
        for name, scores in {
            "regression on the schedule": corrected,
            "regression on everything": everything,
            "power law": curve,
        }.items():
            chosen = {rung: scores[rung] for rung in rungs}
            rows.append([f"{start} 27, {name}", *halving(curves, chosen, 27)])
        if set(rungs) <= set(curves.decayed):
            own = {rung: curves.decayed[rung] for rung in rungs}
            rows.append(
                [f"{start} 27, each with its own end", *halving(curves, own, 27, anew=True)]
            )
    rows += [[f"{count} full runs", *halving(curves, {}, count)] for count in (3, 7, 12, 27)]
    columns = ["loss above the best of all", "median", "best of the draw found", "full runs"]
    _print(f"Searches over {DRAWS:,} random draws", columns, rows)


def halving(
    curves: Curves, scores: Scores, count: int, grace: float = 0.0, anew: bool = False
) -> list[str]:
    """How successive halving ends, on average.

    Args:
        scores: what trials are judged by at each rung; the best third goes on.
        grace: no trial is judged before so many times its warm-up has passed.
        anew: who goes on starts again, with a longer schedule.
    """
    generator = np.random.default_rng(2)
    final, warmup = curves.final.to_numpy(), curves.config.warmup_steps.to_numpy()
    tables = {SHARES[rung]: values.to_numpy() for rung, values in scores.items()}
    ends, found, cost = [], [], []
    for _ in range(DRAWS):
        draw = generator.choice(len(final), count, replace=False)
        alive, spent, before = draw, 0.0, 0.0
        for share, values in tables.items():
            spent += len(alive) * (share - before)
            before = 0.0 if anew else share
            due = warmup[alive] * grace <= share
            judged = alive[due]
            kept = judged[np.argsort(values[judged], kind="stable")[: -(-len(judged) // 3)]]
            alive = np.concatenate([kept, alive[~due]])
        cost.append(spent + len(alive) * (1 - before))
        ends.append(final[alive].min())
        found.append(ends[-1] == final[draw].min())
    above = np.array(ends) - final.min()
    return [
        f"{above.mean():.3f}",
        f"{np.median(above):.3f}",
        f"{np.mean(found):.0%}",
        f"{np.mean(cost):.1f}",
    ]


def spearman(a: pd.Series, b: pd.Series) -> float:
    """Of two series with the same index; equal values share their rank."""
    return float(np.corrcoef(a.rank().to_numpy(), b.rank().to_numpy())[0, 1])


def _interval(scores: pd.Series, final: pd.Series, trials: pd.Index) -> str:
    a, b = scores[trials].to_numpy(), final[trials].to_numpy()
    many = [_spearman_of(a[draw], b[draw]) for draw in _bootstrap(len(a))]
    low, high = np.quantile(many, [0.05, 0.95])
    return f"{_spearman_of(a, b):.2f} ({low:.2f} to {high:.2f})"


def _difference(scores: pd.Series, other: pd.Series, final: pd.Series) -> str:
    a, b, c = (values.to_numpy() for values in (scores, other, final))
    draws = _bootstrap(len(a))
    many = [_spearman_of(a[d], c[d]) - _spearman_of(b[d], c[d]) for d in draws]
    low, high = np.quantile(many, [0.05, 0.95])
    return f"{_spearman_of(a, c) - _spearman_of(b, c):+.3f} ({low:+.3f} to {high:+.3f})"


def _bootstrap(count: int, repeats: int = 200) -> list[NDArray[np.int64]]:
    generator = np.random.default_rng(3)
    return [generator.integers(0, count, count) for _ in range(repeats)]


def _spearman_of(a: Array, b: Array) -> float:
    return spearman(pd.Series(a), pd.Series(b))


def _top(final: pd.Series) -> pd.Index:
    return final.nsmallest(round(len(final) / 10)).index


def _share(scores: pd.Series, wanted: pd.Index, part: float) -> str:
    first = scores.nsmallest(round(len(scores) * part)).index
    return f"{len(wanted.intersection(first)) / len(wanted):.0%}"


def _mean(values: pd.Series, of_all: pd.Series) -> str:
    if len(values) < 5:
        return ""
    return f"{values.mean() - of_all.mean():+.1f} ± {values.std() / np.sqrt(len(values)):.1f}"


def _named(prefix: str, scores: Scores) -> dict[str, pd.Series]:
    return {f"{prefix} {rung}": values for rung, values in scores.items()}


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    print(f"{title}\n\n| | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    print()


if __name__ == "__main__":
    main()
