"""The processes that train one trial together, all on one node: how they meet, agree and part.

Each runs the same segment. Rank 0 is the trial's voice: it alone talks to the driver, publishes
checkpoints and looks at the clock; what it hears and decides the others are told at the same step.
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
    """One process's place among those of its trial."""

    number: int
    rendezvous: Path
    """A file that is not there yet, on the node, where they find each other."""


@contextmanager
def process_group(rank: Rank | None, processes: int) -> Iterator[None]:
    """Makes accelerate, and so `Trainer`, train with all the others; None is a trial's only one.

    Leaves the environment to be restored by `segment.clean_process`.
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
        # One that hangs is ended from outside; none may give up on another that takes its time.
        timeout=timedelta(seconds=START_TIMEOUT_S),
    )
    _groups.append(dist.group.WORLD)
    try:
        yield
    finally:
        dist.destroy_process_group()


_groups: list[dist.ProcessGroup | None] = []
"""The process group of the segment, kept until nothing else holds it. Where DDP is the last to free
it, it waits with the GIL for its own threads, which may want that: they would wait for ever."""


def close_connections() -> None:
    """Closes the connections to the others, once the model is gone."""
    _groups.clear()


def _environment(rank: Rank, processes: int) -> dict[str, str]:
    """What torchrun would set."""
    return {
        "RANK": str(rank.number),
        "WORLD_SIZE": str(processes),
        # Each process sees its own GPU only, which is the first one there.
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": str(processes),
        # accelerate would take its own view of the machine, which has other trials on it.
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        # One node needs no other network.
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }


def world_size() -> int:
    """How many processes train together now."""
    return dist.get_world_size() if dist.is_initialized() else 1


def agreed(value: float) -> float:
    """Rank 0's value, in every process; all must ask at the same place."""
    if not dist.is_initialized():
        return value
    told = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(told, src=0)
    return told.item()


def work_folder(checkpoints: Path) -> Path:
    """Where a segment, in all its processes, writes what is not finished yet.

    No other one does: a worker that was given up as lost may come back while another has the trial.
    """
    token = int(agreed(secrets.randbits(48)))
    return checkpoints / f"{WORK}-{token:012x}"


def barrier() -> None:
    """Returns when all are here."""
    dist.all_reduce(torch.zeros(1))


def abort() -> None:
    """Frees this process if it waits for others on its GPU; gloo sees by itself that they died."""
    if dist.is_initialized():
        dist.distributed_c10d._abort_process_group()


ALONE = (ALIVE, "sample")
"""What rank 0 says while the others are elsewhere; all else is said by all at the same step."""


class RankZeroContext:
    """Rank 0's `TrialContext`: tells the others whether the driver wants the trial to go on."""

    def __init__(self, context: TrialContext) -> None:
        self._context = context
        self.paths = context.paths

    def publish(self, folder: Path, step: int) -> str:
        barrier()  # Each process has its own random state, which belongs into the checkpoint.
        return self._context.publish(folder, step)

    def send(self, event: str, **fields: Any) -> None:
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
    """The `TrialContext` of all others: nothing is said, and rank 0's answers are heard."""

    def __init__(self, paths: LocalPaths) -> None:
        self.paths = paths

    def publish(self, folder: Path, step: int) -> str:
        barrier()
        return ""

    def send(self, event: str, **fields: Any) -> None:
        if event not in ALONE and not agreed(False):
            raise SystemExit

    def interrupted(self) -> bool:
        return False
