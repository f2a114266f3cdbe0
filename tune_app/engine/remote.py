"""What workers find out before the first trial: their words, their problems, their tracebacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_app.engine.resources import TrialResources
from tune_app.engine.worker import probe
from tune_app.errors import Problem, UserError
from tune_app.space.domains import identity

Impossible = tuple[str, Any, str]
"""Parameter, value, why it cannot run."""

GONE = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.TaskUnschedulableError,
)
"""A worker that died, or its node; others are errors of what it ran."""


class RemoteTraceback(Exception):
    """The cause of an error that came from a worker: its traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0].rstrip()}"


def received(
    call: Callable[..., Iterator[str]],
    arguments: tuple[Any, ...],
    trial: TrialResources,
    node: str | None = None,
) -> Iterator[dict[str, Any]]:
    """What a streaming function of `engine.worker` says on a worker like one process of a trial.

    Its first argument is the study's document. With the id of a `node`, the worker is there.

    Raises:
        UserError: it told of problems, or its process died.
    """
    resources = {"num_cpus": trial.cpu, "num_gpus": trial.gpu}
    remote = ray.remote(**resources, max_calls=1, max_retries=1)(call)
    try:
        where = NodeAffinitySchedulingStrategy(node, soft=False) if node else "DEFAULT"
        options = {"num_returns": "streaming", "scheduling_strategy": where}
        for reference in remote.options(**options).remote(*arguments):
            item: dict[str, Any] = json.loads(ray.get(reference))
            if "problems" in item:
                problems = [Problem(**problem) for problem in item["problems"]]
                raise UserError(problems) from RemoteTraceback(item["traceback"])
            yield item
    except GONE as error:
        what = f"the worker was lost before the first trial ({type(error).__name__})"
        where = f"trainable {arguments[0]['trainable']}"
        fix = "look for a crash in native code, an exit, or too little memory in `prepare`"
        fix += ", and for a node that went away; then run or resume it again"
        raise UserError(Problem(what, where, fix=fix)) from error


def told_of(kind: str, impossible: list[Any]) -> list[Impossible]:
    """What cannot run, with the kind of node in the reason."""
    return [(name, value, f"{reason} (on {kind})") for name, value, reason in impossible]


def united(here: list[Impossible], elsewhere: list[Impossible]) -> list[Impossible]:
    """Each impossible value once, with the first reason."""
    reasons: dict[str, Impossible] = {}
    for name, value, reason in [*here, *elsewhere]:
        reasons.setdefault(f"{name} {identity(value)}", (name, value, reason))
    return list(reasons.values())


def probed_elsewhere(
    arguments: tuple[dict[str, Any], str], trial: TrialResources, nodes: dict[str, str]
) -> list[Impossible]:
    """What cannot run on other kinds of nodes, where trials may come to lie as well.

    Args:
        arguments: of `worker.probe`.
        nodes: by their kind.
    """
    found = []
    for kind, node in nodes.items():
        for item in received(probe, arguments, trial, node):
            found += told_of(kind, item["impossible"])
    return found
