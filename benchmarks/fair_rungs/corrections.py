"""What could mend an unfair rung: regressions on the schedule, and extrapolated curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from curves import FOLDS, SCHEDULER, SHARES, Array, Curves

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
    rank = centred(curves.rungs[rung])[:, None]
    return np.hstack([constant, known, rank, rank**2, known * rank])


def regressed(
    curves: Curves, rung: str, wanted: Sequence[str], with_loss: bool = True
) -> pd.Series:
    """The final rank as a ridge regression on the other folds predicts it.

    With the loss it predicts the way from the rung's rank to the final one, so that what it does
    not know leaves the order as it is.
    """
    x = inputs(curves, rung, wanted, with_loss)
    start = centred(curves.rungs[rung]) if with_loss else np.zeros(len(x))
    y = centred(curves.final) - start
    folds = np.random.default_rng(0).permutation(len(y)) % FOLDS
    predicted = np.empty(len(y))
    for fold in range(FOLDS):
        predicted[folds == fold] = ridge(x[folds != fold], y[folds != fold], x[folds == fold])
    predicted = predicted + start
    ended = np.isinf(curves.rungs[rung].to_numpy())
    return pd.Series(np.where(ended & with_loss, np.inf, predicted), curves.final.index)


def centred(scores: pd.Series) -> Array:
    return np.asarray(scores.rank(pct=True), dtype=np.float64) - 0.5


def ridge(x: Array, y: Array, asked: Array, strength: float = 1.0) -> Array:
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
