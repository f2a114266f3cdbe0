"""The worker group of one trial, on one node: rendezvous, agreement between ranks, and teardown.

Each rank runs the same segment. Rank 0 alone talks to the driver, publishes checkpoints and reads
the clock; it broadcasts the driver's answers and its own decisions to the others at the same step.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tune_app.core.heartbeat import ALIVE, START_TIMEOUT_S
from tune_app.core.ports import LocalPaths, TrialContext
from tune_app.storage.checkpoints import WORK


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of a trial's worker group."""

    number: int
    rendezvous: Path
    """The file of the rendezvous, on the node; it must not exist yet."""


@contextmanager
def process_group(rank: Rank | None, processes: int) -> Iterator[None]:
    """Joins the worker group, so that accelerate and `Trainer` train in it; no-op for rank None.

    Does not restore the environment variables: `segment.clean_process` does.
    """
    if rank is None:
        yield
        return
    os.environ |= _environment(rank, processes)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        init_method=f"file://{rank.rendezvous}",
        rank=rank.number,
        world_size=processes,
        # The driver ends a rank that hangs; ranks themselves must not give up on a slow one.
        timeout=timedelta(seconds=START_TIMEOUT_S),
    )
    _groups.append(dist.group.WORLD)
    try:
        yield
    finally:
        dist.destroy_process_group()


_groups: list[dist.ProcessGroup | None] = []
"""References to the segment's process group, held until the model is gone. If DDP freed the last
reference, it would hold the GIL while it waits for threads that may need the GIL: a deadlock."""


def close_connections() -> None:
    """Closes the connections to the other ranks; call it after the model is freed."""
    _groups.clear()


def _environment(rank: Rank, processes: int) -> dict[str, str]:
    """The environment variables that torchrun would set."""
    return {
        "RANK": str(rank.number),
        "WORLD_SIZE": str(processes),
        # Each process sees its own GPU only, which has index 0.
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": str(processes),
        # accelerate would count all CPUs of the machine, which runs other trials too.
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        # All ranks are on one node.
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }


def world_size() -> int:
    """Processes in the current worker group, 1 without one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_rank_zero() -> bool:
    """Whether this process is rank 0 of its worker group, or trains alone."""
    return not dist.is_initialized() or dist.get_rank() == 0


def agreed(value: float) -> float:
    """Rank 0's value, in every process; a collective call: every rank must make it."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(shared, src=0)
    return shared.item()


def work_folder(checkpoints: Path) -> Path:
    """The folder where all ranks of this segment write unfinished files; a collective call.

    Each segment has its own: a worker that was presumed lost may return while another worker
    trains the trial.
    """
    token = int(agreed(secrets.randbits(48)))
    return checkpoints / f"{WORK}-{token:012x}"


def barrier() -> None:
    """Returns when every rank has called it."""
    dist.all_reduce(torch.zeros(1))


def abort() -> None:
    """Ends a wait for other ranks on the GPU; gloo notices by itself that they died."""
    if dist.is_initialized():
        dist.distributed_c10d._abort_process_group()


ALONE = (ALIVE, "sample")
"""Events that rank 0 sends without the other ranks; all ranks make the other calls together."""


class RankZeroContext:
    """Rank 0's `TrialContext`: broadcasts to the other ranks whether the trial is to continue."""

    def __init__(self, context: TrialContext) -> None:
        self._context = context
        self.paths = context.paths

    def publish(self, folder: Path, step: int) -> str:
        barrier()  # Each rank writes its own RNG state into the checkpoint first.
        return self._context.publish(folder, step)

    def send(self, event: str, **fields: Any) -> None:
        """Sends an event to the driver.

        Raises:
            SystemExit: the driver stops the segment; the other ranks are told so first.
        """
        if event in ALONE:
            self._context.send(event, **fields)
            return
        try:
            self._context.send(event, **fields)
        except SystemExit:
            agreed(False)
            raise
        agreed(True)

    def interrupted(self) -> bool:
        return self._context.interrupted()


class OtherRankContext:
    """The `TrialContext` of the other ranks: sends nothing, receives rank 0's answers."""

    def __init__(self, paths: LocalPaths) -> None:
        self.paths = paths

    def publish(self, folder: Path, step: int) -> str:
        barrier()
        return ""

    def send(self, event: str, **fields: Any) -> None:
        """Waits for rank 0's answer where `event` has one.

        Raises:
            SystemExit: the driver stops the segment.
        """
        if event not in ALONE and not agreed(False):
            raise SystemExit

    def interrupted(self) -> bool:
        return False
