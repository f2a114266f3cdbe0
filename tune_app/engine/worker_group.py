"""The worker group of a data-parallel trial: rank 0 starts, watches and ends the other ranks.

The other ranks are actors in the bundles of the trial's placement group. Rank 0, the worker in
which Tune runs the trial, owns them, so Ray ends them when it dies. They are kept for its next
trial, since each takes seconds to import torch.
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

END_TIMEOUT_S = 20.0
"""How long the other ranks may take to end after rank 0; then they are killed."""

ABORT_AFTER_S = 5.0
"""How long rank 0 may take to notice that another rank has failed."""

_ranks: dict[int, Any] = {}
"""The actors of this worker's group, by rank, while they live."""

Calls = dict[int, "ray.ObjectRef[AttemptResult | None]"]
"""By rank, the pending result of its segment."""


class RankWorker:
    """A process of a trial with a rank above 0."""

    def __init__(self, cpu: float) -> None:
        import torch

        # Imported now, in parallel to rank 0, and not within the trial.
        import tune_app.training.segment  # noqa: F401

        torch.set_num_threads(max(1, int(cpu)))

    def ready(self) -> None:
        """Returns once all imports are done."""

    def follow(
        self, task: Task, paths: LocalPaths, rendezvous: Path, number: int, folder: str
    ) -> AttemptResult | None:
        """Trains together with rank 0 and returns the result, None if the driver ended the segment.

        Args:
            rendezvous: the file through which the ranks find each other.
            number: this process's rank.
            folder: the working directory.
        """
        from tune_app.training.ranks import OtherRankContext, Rank
        from tune_app.training.segment import attempt

        os.chdir(folder)
        try:
            return attempt(task, OtherRankContext(paths), Rank(number, rendezvous))
        except SystemExit:
            return None


def assemble(cpu: float, gpu: float, processes: int) -> None:
    """Starts the ranks that are missing in the group; returns before they are ready.

    `cpu` and `gpu` are those of each process.
    """
    for number in set(range(1, processes)) - _ranks.keys():
        bundle = PlacementGroupSchedulingStrategy(
            get_current_placement_group(), placement_group_bundle_index=number
        )
        start = ray.remote(num_cpus=cpu, num_gpus=gpu, scheduling_strategy=bundle)(RankWorker)
        _ranks[number] = start.remote(cpu)


def run(task: Task, context: TrialContext) -> None:
    """Runs the segment in all ranks; reports to the driver what failed first.

    Raises:
        Exception: as `segment.attempt`.
    """
    result = _attempt(task, context)
    if result is not None:
        context.send(result.event, **result.fields)


def _attempt(task: Task, context: TrialContext) -> AttemptResult | None:
    from tune_app.training.attempt_result import cause, lost
    from tune_app.training.ranks import Rank, RankZeroContext
    from tune_app.training.segment import attempt

    try:
        # At the rendezvous, ranks would wait for a dead one for hours.
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
            other_results = _results(calls)
    return cause(own, other_results)


def _called(task: Task, paths: LocalPaths, rendezvous: Path) -> Calls:
    return {
        number: follower.follow.remote(task, paths, rendezvous, number, os.getcwd())
        for number, follower in _ranks.items()
    }


@contextmanager
def _watched(calls: Calls) -> Iterator[None]:
    """Aborts collective operations in which rank 0 waits for a failed rank; NCCL does not."""
    from tune_app.training import ranks

    over = threading.Event()

    def watch() -> None:
        pending = list(calls.values())
        while pending and not over.is_set():
            done, pending = ray.wait(pending, timeout=1.0)
            if any(map(_has_failed, done)) and not over.wait(ABORT_AFTER_S):
                # Failed ranks stay in the group: `_result` reports how they ended.
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
    except Exception:  # Reported by `_result`.
        return True
    return result is not None and result.is_failure


def _results(calls: Calls) -> list[AttemptResult | None]:
    """The results of the other ranks; ranks that do not end in time are killed, without one."""
    done, _ = ray.wait(list(calls.values()), num_returns=len(calls), timeout=END_TIMEOUT_S)
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
        # The time of death is unknown; it counts as the first failure of the trial.
        return replace(lost(f"its process of rank {number} died"), at=-math.inf)


def _kill(numbers: Iterable[int]) -> None:
    for number in list(numbers):
        follower = _ranks.pop(number, None)
        if follower is not None:
            ray.kill(follower)
