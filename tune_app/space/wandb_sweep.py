"""Reads a W&B sweep: https://docs.wandb.ai/models/sweeps/sweep-config-keys

Takes plain data; gives the sweep, all problems, and warnings on how unclear values were read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_app.errors import Problem, nearest
from tune_app.space import wandb_command
from tune_app.space.domains import LISTABLE, Choice, Domain, Drawn, Fixed
from tune_app.space.reader import Reader, Where
from tune_app.space.wandb_hyperband import Hyperband, hyperband
from tune_app.space.wandb_parameters import check_prefixes, parameters
from tune_app.space.wandb_ranges import number

METHODS = ("grid", "random", "bayes", "custom")
KEYS = (
    *("method", "metric", "parameters", "name", "description", "project", "entity", "run_cap"),
    *("early_terminate", "program", "command"),
)
MAPPINGS = ("parameters", "metric", "early_terminate", "tune")
"""Keys that hold a mapping."""
UNUSED_KEYS = {
    "controller": "the search runs here",
    "settings": "they are W&B's own",
    **dict.fromkeys(("apiVersion", "kind"), "it says nothing about the search"),
    **dict.fromkeys(
        ("job", "image_uri", "imageuri", "queue", "resource", "resource_args", "scheduler"),
        "it is of W&B Launch; trials are started by Ray",
    ),
}
"""Valid keys of W&B that have no effect here: ignored with a note."""

SHOWN_AS = {
    "train/loss": "train_loss",
    "train/grad_norm": "grad_norm",
    "train/learning_rate": "learning_rate",
}
"""Metrics of the training that transformers sends to W&B under other names."""


@dataclass(slots=True)
class Sweep:
    """The content of a sweep file."""

    method: str = "bayes"
    metric: str = "final_eval_loss"
    goal: str = "minimize"
    target: float | None = None
    """The search ends once a trial reaches this value of the metric."""
    parameters: dict[str, Domain] = field(default_factory=dict)
    name: str | None = None
    description: str = ""
    project: str | None = None
    entity: str | None = None
    run_cap: int | None = None
    early_terminate: Hyperband | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A sweep, with its problems, warnings (lenient readings) and notes (unused keys)."""

    sweep: Sweep
    problems: list[Problem]
    warnings: list[Problem]
    notes: list[Problem]


def parse(
    document: Mapping[str, Any], where: Where, space: dict[str, Domain] | None = None
) -> Parsed:
    """Reads a sweep without keys of ours; `space`, if given, replaces its `parameters`."""
    reader = Reader(where)
    if "parameters" not in document and "method" not in document:
        _no_sweep(document, reader)
        return Parsed(Sweep(), reader.problems, reader.warnings, reader.notes)
    for key in document:
        if key not in KEYS:
            _unused(key, document, reader)
    sweep = Sweep(
        method=_method(document, reader),
        name=reader.text(document, "name"),
        description=reader.text(document, "description") or "",
        project=reader.text(document, "project"),
        entity=reader.text(document, "entity"),
        run_cap=_run_cap(document, reader),
        early_terminate=hyperband(document, reader),
    )
    _metric(document, sweep, reader)
    if space is None:
        _refused_by_wandb(document, sweep, reader)
    sweep.parameters = parameters(document, reader) if space is None else space
    _add_flags(document, sweep.parameters, reader)
    check_prefixes(sweep.parameters, reader)
    if sweep.method == "grid":
        _as_grid(sweep.parameters, reader)
    return Parsed(sweep, reader.problems, reader.warnings, reader.notes)


def _as_grid(space: dict[str, Domain], reader: Reader) -> None:
    """In a grid, W&B lists a quantised range from `min` in steps of `q`, without `max`."""
    for name, domain in space.items():
        if isinstance(domain, Drawn) and domain.shape == "uniform" and domain.q is not None:
            count = math.ceil((domain.b - domain.a) / domain.q - 1e-9)
            if count > LISTABLE:
                continue
            whole = all(float(number).is_integer() for number in (domain.a, domain.q))
            points = [float(f"{domain.a + index * domain.q:.15g}") for index in range(count)]
            values = tuple(int(point) if whole else point for point in points)
            space[name] = Choice(values) if count > 1 else Fixed(values[0])
            what = f"a grid takes it from {values[0]:g} to {values[-1]:g}, as in W&B"
            reader.note(("parameters", *name.split(".")), what)


def _no_sweep(document: Mapping[str, Any], reader: Reader) -> None:
    """Adds the most likely reason why the file is not a sweep."""
    hints = {key: nearest(str(key), KEYS) for key in document}
    mistyped = {key: hint for key, hint in hints.items() if hint.startswith("did you mean")}
    if mistyped and len(mistyped) >= len(document) / 2:
        for key, hint in mistyped.items():
            reader.problem((key,), f"unknown key {key!r}", fix=hint)
        return
    inside = [k for k, v in document.items() if isinstance(v, Mapping) and "parameters" in v]
    fix = f"the sweep is below {inside[0]!r}: put its keys on the top level" if inside else ""
    what = "this is not a sweep: it has neither method nor parameters"
    reader.problem((), what, "method, metric and parameters", fix)


def _unused(key: Any, document: Mapping[str, Any], reader: Reader) -> None:
    """A key without effect: a mistyped one is a problem, any other one is ignored."""
    why = UNUSED_KEYS.get(key)
    if why is not None:
        reader.note((key,), f"not used: {why}")
        return
    missing = [name for name in (*KEYS, "tune") if name not in document]
    hint = nearest(str(key), missing)
    # A mapping under a name like `command` holds anchors for the rest of the file.
    fits = not isinstance(document[key], Mapping) or any(name in hint for name in MAPPINGS)
    if hint.startswith("did you mean") and fits:
        reader.problem((key,), f"unknown key {key!r}", fix=hint)
    else:
        reader.warn((key,), "not used: W&B has no such key", "take it out")


def _add_flags(document: Mapping[str, Any], space: dict[str, Domain], reader: Reader) -> None:
    """Adds the literal flags of the command line as fixed parameters."""
    for name, (path, value) in wandb_command.flags(document, reader).items():
        if name in space:
            reader.note(path, f"--{name} is not used: parameters.{name} takes precedence")
        else:
            space[name] = Fixed(value)


def _method(document: Mapping[str, Any], reader: Reader) -> str:
    method = document.get("method", "bayes")
    word = reader.word(("method",), method, METHODS)
    if word is not None:
        if word == "custom":
            reader.note(("method",), "custom: searched as bayes, unless tune.searcher is given")
        return word
    what, hint = f"unknown method {method!r}", nearest(str(method), METHODS)
    reader.problem(("method",), what, " | ".join(METHODS), hint)
    return "bayes"


def _refused_by_wandb(document: Mapping[str, Any], sweep: Sweep, reader: Reader) -> None:
    """Warns of keys that may be missing here but not in W&B."""
    if "method" not in document:
        what = f"none is given: read as {sweep.method}; W&B has no default"
        reader.warn(("method",), what, f"write method: {sweep.method}")
    metric = document.get("metric", {})
    if sweep.method == "bayes" and isinstance(metric, Mapping) and "name" not in metric:
        what = f"none is given: read as {sweep.metric}; W&B refuses bayes without one"
        reader.warn(("metric", "name"), what, f"write metric: {{name: {sweep.metric}}}")


def _run_cap(document: Mapping[str, Any], reader: Reader) -> int | None:
    cap = document.get("run_cap")
    if cap is None:
        return None
    expected = "a whole number above 0"
    count = number(("run_cap",), cap, expected, reader)
    if count is None:
        return None
    if count > 0 and float(count).is_integer():
        return int(count)
    reader.problem(("run_cap",), f"{cap!r} is not a number of runs", expected)
    return None


def _metric(document: Mapping[str, Any], sweep: Sweep, reader: Reader) -> None:
    metric = document.get("metric", {})
    if isinstance(metric, str) and metric:
        fix = f"metric: {{name: {metric}, goal: minimize}}"
        reader.warn(("metric",), f"{metric!r} is read as the name of a metric to minimise", fix)
        metric = {"name": metric}
    if not isinstance(metric, Mapping):
        expected = "metric: {name: …, goal: …}"
        reader.problem(("metric",), f"{metric!r} is not a mapping", expected)
        return
    keys = ("name", "goal", "target", "impute")
    for key in metric:
        if key not in keys:
            reader.problem(("metric", key), f"unknown key {key!r}", fix=nearest(str(key), keys))
    name = metric.get("name", sweep.metric)
    if isinstance(name, str) and name:
        sweep.metric = _as_reported(name)
        if sweep.metric != name:
            what = f"{name!r} is read as {sweep.metric}, which is what the Trainer calls it"
            reader.warn(("metric", "name"), what, f"write {sweep.metric}")
    else:
        reader.problem(("metric", "name"), f"{name!r} is not a name", expected="a string")
    sweep.goal = _goal(metric, reader)
    sweep.target = _target(metric, reader)
    if "impute" in metric:
        what = "not used: how a failed trial counts depends on why it failed"
        reader.note(("metric", "impute"), what)


def _as_reported(name: str) -> str:
    """The name of a metric in reports, from the name under which W&B shows it."""
    if name.startswith("eval/"):
        return f"eval_{name.removeprefix('eval/')}"
    return SHOWN_AS.get(name, name)


def _goal(metric: Mapping[str, Any], reader: Reader) -> str:
    goals = dict.fromkeys(("minimize", "minimise", "min"), "minimize")
    goals |= dict.fromkeys(("maximize", "maximise", "max"), "maximize")
    goal = metric.get("goal", "minimize")
    word = goals.get(goal.strip().lower()) if isinstance(goal, str) else None
    if word is not None:
        if goal != word:
            reader.warn(("metric", "goal"), f"{goal!r} is read as {word}", f"write {word}")
        return word
    what, hint = f"unknown goal {goal!r}", nearest(str(goal), ("minimize", "maximize"))
    reader.problem(("metric", "goal"), what, "minimize | maximize", hint)
    return "minimize"


def _target(metric: Mapping[str, Any], reader: Reader) -> float | None:
    if metric.get("target") is None:
        return None
    return number(("metric", "target"), metric["target"], "a number to reach", reader)
