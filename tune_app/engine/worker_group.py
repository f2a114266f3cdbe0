"""The other processes of a data-parallel trial: its first one starts, watches and ends them.

They are actors in the bundles of the trial's placement group, owned by the worker that Tune runs
the trial in: Ray ends them when it dies. They stay for its next trial, since each takes seconds to
import torch.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

if TYPE_CHECKING:
    from tune_app.core.ports import LocalPaths, TrialContext
    from tune_app.core.task import Task
    from tune_app.training.attempt_result import AttemptResult

ECHO_S = 20.0
"""How long the others may take to end after the first one; then they are killed."""

STUCK_S = 5.0
"""How long the first one may take to notice that another one has failed."""

_ranks: dict[int, Any] = {}
"""Those of this worker, by rank, for as long as it lives."""

Calls = dict[int, "ray.ObjectRef[AttemptResult | None]"]
"""By rank, how a follower's segment will end."""


class RankWorker:
    """A process of a trial that is not its first."""

    def __init__(self, cpu: float) -> None:
        import torch

        # Imported now, while the first process does the same, and not within the trial.
        import tune_app.training.segment  # noqa: F401

        torch.set_num_threads(max(1, int(cpu)))

    def ready(self) -> None:
        """Returns once all is imported."""

    def follow(
        self, task: Task, paths: LocalPaths, rendezvous: Path, number: int, folder: str
    ) -> AttemptResult | None:
        """Trains in step with the first process, and tells nobody else how it ended."""
        from tune_app.training.ranks import OtherRankContext, Rank
        from tune_app.training.segment import attempt

        os.chdir(folder)
        try:
            return attempt(task, OtherRankContext(paths), Rank(number, rendezvous))
        except SystemExit:
            return None


def assemble(cpu: float, gpu: float, processes: int) -> None:
    """Starts what is missing of the others that a trial needs; returns before they are ready."""
    for number in set(range(1, processes)) - _ranks.keys():
        bundle = PlacementGroupSchedulingStrategy(
            get_current_placement_group(), placement_group_bundle_index=number
        )
        start = ray.remote(num_cpus=cpu, num_gpus=gpu, scheduling_strategy=bundle)(RankWorker)
        _ranks[number] = start.remote(cpu)


def run(task: Task, context: TrialContext) -> None:
    """`segment.run` in all processes of the trial; the driver is told what failed first.

    Raises: as `segment.attempt`.
    """
    result = _attempt(task, context)
    if result is not None:
        context.send(result.event, **result.fields)


def _attempt(task: Task, context: TrialContext) -> AttemptResult | None:
    from tune_app.training.attempt_result import cause, lost
    from tune_app.training.ranks import Rank, RankZeroContext
    from tune_app.training.segment import attempt

    try:
        # Who waits at the rendezvous for one that is dead waits for hours.
        ray.get([follower.ready.remote() for follower in _ranks.values()])
    except ray.exceptions.RayActorError as error:
        _kill(_ranks)
        return lost(f"a process of it died before it began: {error}")
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = Path(folder) / "rendezvous"
        calls = _called(task, context.paths, rendezvous)
        try:
            with _watched(calls):
                own = attempt(task, RankZeroContext(context), Rank(0, rendezvous))
        finally:
            others = _results(calls)
    return cause(own, others)


def _called(task: Task, paths: LocalPaths, rendezvous: Path) -> Calls:
    return {
        number: follower.follow.remote(task, paths, rendezvous, number, os.getcwd())
        for number, follower in _ranks.items()
    }


@contextmanager
def _watched(calls: Calls) -> Iterator[None]:
    """Frees this process where it waits for one that has failed, which NCCL does not tell it."""
    from tune_app.training import ranks

    over = threading.Event()

    def watch() -> None:
        pending = list(calls.values())
        while pending and not over.is_set():
            done, pending = ray.wait(pending, timeout=1.0)
            if any(map(_has_failed, done)) and not over.wait(STUCK_S):
                # One that is dead stays known as such, for who asks how it ended.
                _kill(number for number, call in calls.items() if call in pending)
                ranks.abort()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _has_failed(call: ray.ObjectRef[AttemptResult | None]) -> bool:
    try:
        result = ray.get(call)
    except Exception:  # Whatever it was, it is told by who asks for the result.
        return True
    return result is not None and result.is_failure


def _results(calls: Calls) -> list[AttemptResult | None]:
    """How the others ended; those that have not in time are killed, and have nothing to tell."""
    done, _ = ray.wait(list(calls.values()), num_returns=len(calls), timeout=ECHO_S)
    _kill(number for number, call in calls.items() if call not in done)
    return [_result(number, call) for number, call in calls.items() if call in done]


def _result(number: int, call: ray.ObjectRef[AttemptResult | None]) -> AttemptResult | None:
    from tune_app.training.attempt_result import lost

    try:
        result: AttemptResult | None = ray.get(call)
        return result
    except ray.exceptions.RayActorError:
        if _ranks.pop(number, None) is None:
            return None
        # It could not say when; nothing that followed is the trial's own fault.
        return replace(lost(f"its process of rank {number} died"), at=-math.inf)


def _kill(numbers: Iterable[int]) -> None:
    for number in list(numbers):
        follower = _ranks.pop(number, None)
        if follower is not None:
            ray.kill(follower)
