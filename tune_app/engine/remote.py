"""Runs functions on workers before the first trial; passes on their messages and errors."""

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
from tune_app.training.preflight.messages import Impossible, Message, ProbeResults, Refused

GONE = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.TaskUnschedulableError,
)
"""Errors of a lost worker or node; all others come from the code that ran there."""


class RemoteTraceback(Exception):
    """The cause of an error on a worker: its traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0].rstrip()}"


def received(
    call: Callable[..., Iterator[Message]],
    study: StudyDefinition,
    arguments: tuple[Any, ...],
    trial: TrialResources,
    node: str | None = None,
) -> Iterator[Message]:
    """Runs a streaming function of `engine.worker` on a worker; yields its messages.

    Args:
        call: the function.
        study: its first argument.
        arguments: its other arguments.
        trial: the worker has the resources of one of the trial's processes.
        node: the id of the node to run on; None: any node.

    Raises:
        UserError: the function reported problems, or its process died.
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
    """Appends the kind of node to the reasons."""
    return [replace(item, reason=f"{item.reason} (on {kind})") for item in impossible]


def merged(first: Iterable[Impossible], second: Iterable[Impossible]) -> list[Impossible]:
    """Both lists, with each impossible value once and its first reason."""
    by_value: dict[str, Impossible] = {}
    for item in (*first, *second):
        by_value.setdefault(f"{item.parameter} {identity(item.value)}", item)
    return list(by_value.values())


def probed_elsewhere(
    study: StudyDefinition, cache: str, trial: TrialResources, nodes: Mapping[str, str]
) -> list[Impossible]:
    """Values that cannot run on other kinds of nodes, where trials may be placed as well.

    Args:
        nodes: the id of one node by kind of node.

    Raises:
        UserError: as `received`.
    """
    impossible = []
    for kind, node in nodes.items():
        for message in received(probe, study, (cache,), trial, node):
            if isinstance(message, ProbeResults):
                impossible += with_node_kind(kind, message.impossible)
    return impossible
