"""How fair it is to compare unfinished trials, from a table of learning curves.

    python benchmarks/fair_rungs

Prints, for the rungs of the longest runs and for the shorter runs whose schedule was over there:
how well their losses order the configurations as the final losses of the longest runs do, which
kinds of configurations are ranked too low, and whether a grace period, a regression on what is
known of the schedule, or an extrapolation of the curve mends it; then the same for usual learning
rates only. At last how a model with eight times the weights is judged, by its own rungs and by runs
of the small one. Less than half a minute on one core.

A diverged run ranks below all others. Lower scores are better everywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from corrections import (
    EVERYTHING,
    HALVINGS,
    REGRESSIONS,
    SCHEDULE,
    centred,
    extrapolated,
    inputs,
    log_log,
    power_law,
    regressed,
    ridge,
)
from curves import (
    AGAIN,
    DRAWS,
    LARGER,
    LIGHTER,
    SCHEDULER,
    SHARES,
    TABLE,
    USUAL,
    USUAL_TITLE,
    Array,
    Curves,
    Scores,
    difference,
    interval,
    mean,
    named,
    part,
    read,
    recall,
    show,
    spearman,
    spearman_of,
    top,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("table", type=Path, nargs="?", default=TABLE)
    parser.add_argument("again", type=Path, nargs="?", default=AGAIN, help="with another seed")
    parser.add_argument("larger", type=Path, nargs="?", default=LARGER, help="of a larger model")
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
    larger = read(args.larger)
    print("# A larger model\n")
    describe(larger)
    correlations(larger)
    offsets(larger)
    for title, wanted in (
        ("all", larger.final.index),
        (USUAL_TITLE, larger.final.index.intersection(usual)),
    ):
        smaller_model(part(larger, wanted), part(whole, wanted), title)


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
    show(title, ["Spearman", "median distance", "nine of ten below"], rows)


def correlations(curves: Curves) -> None:
    """How the order on the way is like the order at the end."""
    columns = named("rung", curves.rungs) | named("own end", curves.decayed)
    groups = {"all": curves.final.index}
    groups |= {"the better half": curves.final.nsmallest(len(curves.final) // 2).index}
    groups |= {str(kind): rows.index for kind, rows in curves.config.groupby(SCHEDULER)}
    rows = [
        [
            f"{name} ({len(trials)})",
            *(interval(scores, curves.final, trials) for scores in columns.values()),
        ]
        for name, trials in groups.items()
    ]
    show("Spearman rank correlation with the final loss (90 % interval)", list(columns), rows)


def standing(curves: Curves) -> None:
    """Where the best configurations stand on the way."""
    columns = named("rung", curves.rungs) | named("own end", curves.decayed)
    best = curves.final.idxmin()
    first = top(curves.final)
    rows = [
        ["rank of the best", *(f"{scores.rank()[best]:.0f}" for scores in columns.values())],
        [
            "best 10 %: also among the best 10 %",
            *(recall(scores, first, 0.1) for scores in columns.values()),
        ],
        [
            "best 10 %: among the best third",
            *(recall(scores, first, 1 / 3) for scores in columns.values()),
        ],
        [
            "final loss of the first, above the best",
            *(
                f"{curves.final[scores.idxmin()] - curves.final.min():.3f}"
                for scores in columns.values()
            ),
        ],
    ]
    show("Where the best stand", list(columns), rows)


def offsets(curves: Curves) -> None:
    """By how many ranks kinds of configurations stand too low (positive) or too high."""
    columns = named("rung", curves.rungs) | named("own end", curves.decayed)
    final = curves.final.rank(pct=True)
    off = {name: 100 * (scores.rank(pct=True) - final) for name, scores in columns.items()}
    ended = np.isfinite(curves.final)
    rows = []
    for name, mask in _kinds(curves.config).items():
        cells = [mean(values[mask & ended], values[ended]) for values in off.values()]
        rows.append([f"{name} ({(mask & ended).sum()})", *cells])
    title = (
        "Ranks (in % of all) that a kind stands too low, against the mean; without diverged ones"
    )
    show(title, list(columns), rows)


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
    first = top(curves.final)
    rows, gains = [], []
    for name, at in scores.items():
        order = [f"{spearman(at[rung], curves.final):.2f}" for rung in SHARES]
        rows.append([name, *order, *(recall(at[rung], first, 0.1) for rung in SHARES)])
        better = [difference(at[rung], curves.rungs[rung], curves.final) for rung in SHARES]
        gains.append([name, *better])
    columns = [f"{what} {rung}" for what in ("Spearman", "recall") for rung in SHARES]
    show("Corrected scores: order, and best 10 % among the first 10 %", columns, rows)
    show("Gain in Spearman over the loss itself (90 % interval)", list(SHARES), gains[1:])
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
    show("Spearman among those whose warm-up was over at the rung, or not", ["over", "not"], rows)


def few_finished(curves: Curves, finished: int = 25, repeats: int = 100) -> None:
    """What the regression is worth when only a study's own finished trials are at hand."""
    rows = []
    for name, wanted in REGRESSIONS.items():
        gains = [_gains(curves, rung, wanted, finished, repeats) for rung in SHARES]
        rows.append([name, *(f"{g.mean():+.3f} ({(g > 0).mean():.0%} better)" for g in gains)])
    title = f"Gain in Spearman of a regression on {finished} finished trials, over the others"
    show(title, list(SHARES), rows)


def _gains(curves: Curves, rung: str, wanted: Sequence[str], finished: int, repeats: int) -> Array:
    generator = np.random.default_rng(1)
    x, start = inputs(curves, rung, wanted, True), centred(curves.rungs[rung])
    y, gains = centred(curves.final), []
    for _ in range(repeats):
        order = generator.permutation(len(y))
        known, asked = order[:finished], order[finished:]
        way = ridge(x[known], (y - start)[known], x[asked], strength=10.0)
        final = y[asked]
        gains.append(spearman_of(start[asked] + way, final) - spearman_of(start[asked], final))
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
    show(f"Searches over {DRAWS:,} random draws", columns, rows)


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
    return searched(np.array(ends) - final.min(), found, float(np.mean(cost)))


def searched(above: Array, found: Sequence[bool], cost: float) -> list[str]:
    """How searches ended: loss above the best of all, whether it was the draw's best, full runs."""
    return [
        f"{above.mean():.3f}",
        f"{np.median(above):.3f}",
        f"{np.mean(found):.0%}",
        f"{cost:.1f}",
    ]


def smaller_model(larger: Curves, smaller: Curves, title: str) -> None:
    """How a larger model's configurations are ordered by its own rungs and by the smaller model."""
    final, best = larger.final, larger.final.idxmin()
    scores = {f"rung {rung}": (SHARES[rung], values) for rung, values in larger.rungs.items()} | {
        f"smaller model, own end {rung}": (SHARES[rung] / LIGHTER, values)
        for rung, values in smaller.decayed.items()
    }
    scores["smaller model, own end B"] = (1 / LIGHTER, smaller.final)
    half, first = final.nsmallest(len(final) // 2).index, top(final)
    rows = [
        [
            name,
            f"1/{1 / cost:.0f}",
            interval(values, final, final.index),
            interval(values, final, half),
            f"{values.rank()[best]:.0f}",
            recall(values, first, 1 / 3),
        ]
        for name, (cost, values) in sorted(scores.items(), key=lambda item: item[1][0])
    ]
    columns = ["cost", "Spearman", "of the better half", "rank of the best", "10 % in a third"]
    show(f"{len(final)} configurations, {title}", columns, rows)
    count = min(27, len(final) // 3)
    found = {
        f"rungs {', '.join(rungs)}": halving(
            larger, {rung: larger.rungs[rung] for rung in rungs}, count
        )
        for rungs in list(HALVINGS)[:2]
    } | {
        f"{name}, then the best ninth in full": screened(final, values, cost, count)
        for name, (cost, values) in scores.items()
        if name.startswith("smaller")
    }
    columns = ["loss above the best of all", "median", "best of the draw found", "full runs"]
    rows = [[name, *cells] for name, cells in found.items()]
    show(f"Searches over {DRAWS:,} random draws of {count}, {title}", columns, rows)


def screened(final: pd.Series, scores: pd.Series, cost: float, count: int) -> list[str]:
    """How a search ends that trains the best ninth of a draw by `scores`, from the beginning."""
    generator = np.random.default_rng(2)
    ends, found, kept = [], [], -(-count // 9)
    by, values = scores[final.index].to_numpy(), final.to_numpy()
    for _ in range(DRAWS):
        draw = generator.choice(len(values), count, replace=False)
        ends.append(values[draw[np.argsort(by[draw], kind="stable")[:kept]]].min())
        found.append(ends[-1] == values[draw].min())
    return searched(np.array(ends) - values.min(), found, count * cost + kept)


if __name__ == "__main__":
    main()
