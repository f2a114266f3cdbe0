"""What workers find out before the first trial: their words, their problems, their tracebacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_app.core.definition import StudyDefinition
from tune_app.engine.resources import TrialResources
from tune_app.engine.worker import probe
from tune_app.errors import Problem, UserError
from tune_app.space.domains import identity
from tune_app.training.preflight.found import Impossible, Message, ProbeResults, Refused

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
    call: Callable[..., Iterator[Message]],
    study: StudyDefinition,
    arguments: tuple[Any, ...],
    trial: TrialResources,
    node: str | None = None,
) -> Iterator[Message]:
    """What a streaming function of `engine.worker` says on a worker like one process of a trial.

    Its first argument is the study, followed by `arguments`. With the id of a `node` the worker is
    there.

    Raises:
        UserError: it told of problems, or its process died.
    """
    resources = {"num_cpus": trial.cpu, "num_gpus": trial.gpu}
    remote = ray.remote(**resources, max_calls=1, max_retries=1)(call)
    try:
        where = NodeAffinitySchedulingStrategy(node, soft=False) if node else "DEFAULT"
        options = {"num_returns": "streaming", "scheduling_strategy": where}
        for reference in remote.options(**options).remote(study, *arguments):
            message: Message = ray.get(reference)
            if isinstance(message, Refused):
                raise UserError(message.problems) from RemoteTraceback(message.traceback)
            yield message
    except GONE as error:
        what = f"the worker was lost before the first trial ({type(error).__name__})"
        where = f"trainable {study.trainable}"
        fix = "look for a crash in native code, an exit, or too little memory in `prepare`"
        fix += ", and for a node that went away; then run or resume it again"
        raise UserError(Problem(what, where, fix=fix)) from error


def with_node_kind(kind: str, impossible: Iterable[Impossible]) -> list[Impossible]:
    """What cannot run, with the kind of node in the reason."""
    return [replace(item, reason=f"{item.reason} (on {kind})") for item in impossible]


def united(here: Iterable[Impossible], elsewhere: Iterable[Impossible]) -> list[Impossible]:
    """Each impossible value once, with the first reason."""
    first: dict[str, Impossible] = {}
    for item in (*here, *elsewhere):
        first.setdefault(f"{item.parameter} {identity(item.value)}", item)
    return list(first.values())


def probed_elsewhere(
    study: StudyDefinition, cache: str, trial: TrialResources, nodes: Mapping[str, str]
) -> list[Impossible]:
    """What cannot run on other kinds of nodes, where trials may come to lie as well.

    Args:
        nodes: an id by kind of node.
    """
    found = []
    for kind, node in nodes.items():
        for message in received(probe, study, (cache,), trial, node):
            if isinstance(message, ProbeResults):
                found += with_node_kind(kind, message.impossible)
    return found
