"""Checks a study's metric and goal against the metrics that its trainable declares."""

from __future__ import annotations

from tune_app.core.definition import Metric
from tune_app.errors import Problem, nearest
from tune_app.training.trainable import Trainable

WHERE = "metric"
ALWAYS = ("eval_loss", "train_loss", "grad_norm", "learning_rate")
"""Metrics that every trial reports, with any trainable."""
LOSSES = {"eval_loss": "minimize", "train_loss": "minimize"}


def metric_problems(loaded: Trainable, metric: Metric) -> list[Problem]:
    """Why no trial will report the metric; empty for a trainable without a declaration."""
    name = metric.reported
    declared = loaded.metrics
    if declared is None or name in declared or name in ALWAYS:
        return []
    # Metrics of the training examples are never proposed.
    held_out = sorted({"eval_loss", *declared})
    hint = nearest(name.replace("/", "_"), held_out)
    if name.startswith(("test/", "test_")):
        hint = "trials are evaluated on held-out examples alone, there is no test set: " + hint
    what = f"the trainable reports no {name!r}"
    return [Problem(what, f"{WHERE}.name", ", ".join(held_out), hint)]


def goal_warnings(loaded: Trainable, metric: Metric) -> list[Problem]:
    """A warning if the goal would rank the worst trial first."""
    name, goal = metric.reported, metric.goal
    better = {**LOSSES, **(loaded.metrics or {})}.get(name, goal)
    if better == goal:
        return []
    side = "lower" if better == "minimize" else "higher"
    what = f"the goal is {goal}, but a {side} {name} is better"
    return [Problem(what, f"{WHERE}.goal", fix=f"write goal: {better}")]
