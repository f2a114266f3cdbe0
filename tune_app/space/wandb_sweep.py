"""Reads a W&B sweep: https://docs.wandb.ai/models/sweeps/sweep-config-keys

Takes plain data, gives what it says and every mistake found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_app.errors import Problem, nearest
from tune_app.space.domains import Domain
from tune_app.space.wandb_parameters import Reader, Where, parameters

METHODS = ("grid", "random", "bayes")
KEYS = ("method", "metric", "parameters", "name", "description", "project", "entity", "run_cap")
UNUSED_KEYS = ("program", "command", "controller", "settings", "imageuri", "job", "queue")
"""Legal in W&B; they say how W&B starts a script, which is not how trials start here."""


@dataclass(slots=True)
class Sweep:
    """What a sweep file says, in our words."""

    method: str = "bayes"
    metric: str = "final_eval_loss"
    goal: str = "minimize"
    parameters: dict[str, Domain] = field(default_factory=dict)
    name: str | None = None
    description: str = ""
    project: str | None = None
    entity: str | None = None
    run_cap: int | None = None
    unused: list[str] = field(default_factory=list)


def parse(document: Mapping[str, Any], where: Where) -> tuple[Sweep, list[Problem]]:
    """A sweep, and all that is wrong with it. Keys other than W&B's must be gone before."""
    reader = Reader(where)
    for key in document:
        if key not in KEYS + UNUSED_KEYS:
            if key == "early_terminate":
                fix = "say it in the tune section instead: scheduler: {name: asha, eta: 3}"
                reader.problem((key,), "early_terminate is not read yet", fix=fix)
            else:
                hint = nearest(str(key), (*KEYS, "tune"))
                reader.problem((key,), f"unknown key {key!r}", fix=hint)
    sweep = Sweep(
        method=_method(document, reader),
        name=reader.text(document, "name"),
        description=reader.text(document, "description") or "",
        project=reader.text(document, "project"),
        entity=reader.text(document, "entity"),
        run_cap=_run_cap(document, reader),
        unused=[key for key in UNUSED_KEYS if key in document],
    )
    _metric(document, sweep, reader)
    sweep.parameters = parameters(document, reader)
    return sweep, reader.problems


def _method(document: Mapping[str, Any], reader: Reader) -> str:
    method = document.get("method", "bayes")
    if method in METHODS:
        return str(method)
    reader.problem(
        ("method",),
        f"unknown method {method!r}",
        expected=" | ".join(METHODS),
        fix=nearest(str(method), METHODS),
    )
    return "bayes"


def _run_cap(document: Mapping[str, Any], reader: Reader) -> int | None:
    cap = document.get("run_cap")
    if cap is None or (isinstance(cap, int) and not isinstance(cap, bool) and cap > 0):
        return cap
    reader.problem(("run_cap",), f"{cap!r} is no number of runs", expected="a whole number above 0")
    return None


def _metric(document: Mapping[str, Any], sweep: Sweep, reader: Reader) -> None:
    metric = document.get("metric", {})
    if not isinstance(metric, Mapping):
        reader.problem(
            ("metric",), f"{metric!r} is not a mapping", expected="metric: {name: …, goal: …}"
        )
        return
    known = ("name", "goal", "target", "impute")
    for key in metric:
        if key not in known:
            reader.problem(("metric", key), f"unknown key {key!r}", fix=nearest(str(key), known))
    name = metric.get("name", sweep.metric)
    if isinstance(name, str) and name:
        sweep.metric = name
    else:
        reader.problem(("metric", "name"), f"{name!r} is not a name", expected="a string")
    goals = {"minimize": "minimize", "minimise": "minimize"}
    goals |= {"maximize": "maximize", "maximise": "maximize"}
    goal = metric.get("goal", "minimize")
    if isinstance(goal, str) and goal in goals:
        sweep.goal = goals[goal]
    else:
        what, hint = f"unknown goal {goal!r}", nearest(str(goal), ("minimize", "maximize"))
        reader.problem(("metric", "goal"), what, "minimize | maximize", hint)
