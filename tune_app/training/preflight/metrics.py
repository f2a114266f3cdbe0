"""Whether a trainable reports what a study compares its trials by, and which way is better."""

from __future__ import annotations

from tune_app.core.definition import Metric
from tune_app.errors import Problem, nearest
from tune_app.training.trainable import Trainable

WHERE = "metric"
ALWAYS = ("eval_loss", "train_loss", "grad_norm", "learning_rate")
"""What every trial reports, whatever its trainable."""
LOSSES = {"eval_loss": "minimize", "train_loss": "minimize"}


def metric_problems(loaded: Trainable, metric: Metric) -> list[Problem]:
    """Why no trial will report a metric; nothing is known of a trainable that declares none."""
    name = metric.reported
    declared = loaded.metrics
    if declared is None or name in declared or name in ALWAYS:
        return []
    # To search for what was trained on is nothing to propose.
    held_out = sorted({"eval_loss", *declared})
    hint = nearest(name.replace("/", "_"), held_out)
    if name.startswith(("test/", "test_")):
        hint = "trials are evaluated on held-out examples alone, there is no test set: " + hint
    what = f"the trainable reports no {name!r}"
    return [Problem(what, f"{WHERE}.name", ", ".join(held_out), hint)]


def goal_warnings(loaded: Trainable, metric: Metric) -> list[Problem]:
    """What is to be said of a goal that would take the worst trial for the best."""
    name, goal = metric.reported, metric.goal
    better = {**LOSSES, **(loaded.metrics or {})}.get(name, goal)
    if better == goal:
        return []
    side = "lower" if better == "minimize" else "higher"
    what = f"{goal} is asked for, and a trial is better where {name} is {side}"
    return [Problem(what, f"{WHERE}.goal", fix=f"write goal: {better}")]
