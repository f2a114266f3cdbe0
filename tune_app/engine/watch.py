"""Sees what Ray does not tell: workers that hang are ended, and a head that is gone is noticed."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.client import ray as client
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a node; `born` tells it from a later one of the same number."""

    node: str
    number: int
    born: str


def this_process() -> dict[str, Any]:
    """This worker's own process, as plain data."""
    node = ray.get_runtime_context().get_node_id()
    return {"node": node, "number": os.getpid(), "born": _born(os.getpid())}


def _born(number: int) -> str:
    """When a process began, in ticks since the system did; empty where there is none."""
    try:
        status = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]


class Watch:
    """Knows which process runs which segment."""

    def __init__(self) -> None:
        self._segments: dict[Process, str] = {}

    def greet(self, segment: str, process: dict[str, Any]) -> None:
        """A segment has begun in a process."""
        self._segments[Process(**process)] = segment

    def end(self, segment: str) -> bool:
        """Ends the process of a segment that hangs; False where it has none yet."""
        found = [process for process, runs in self._segments.items() if runs == segment]
        for process in found:
            _kill(process)
        return bool(found)

    def end_all(self) -> None:
        """Ends all processes that have run a segment."""
        for process in self._segments:
            _kill(process)

    def end_idle(self, running: set[str]) -> bool:
        """Ends all processes that run none of these segments; False where there are none."""
        found = [process for process, runs in self._segments.items() if runs not in running]
        for process in found:
            _kill(process)
        return bool(found)


def _kill(process: Process) -> None:
    where = NodeAffinitySchedulingStrategy(process.node, soft=False)
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": where}
    ray.remote(end_process).options(**options).remote(process.number, process.born)


def end_process(number: int, born: str) -> None:
    """Runs on the process's own node; SIGKILL ends even one that was stopped."""
    if _born(number) == born:
        os.kill(number, signal.SIGKILL)


PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's own variable: after so long without a head it ends its processes, the driver unheard."""

GONE_SHARE = 0.75
"""A head that takes no connection for so much of that time is gone."""

KNOCK_EVERY_S = 5.0


def head() -> tuple[str, int] | None:
    """Where Ray's head listens; None through ray://, where its own address is not ours to reach."""
    if client.is_connected():
        return None
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host, int(port)


def patience_s() -> float:
    """How long a head may be away: longer where one with GCS fault tolerance is waited for."""
    return GONE_SHARE * float(os.environ.get(PATIENCE, "60"))


@contextmanager
def lifeline(address: tuple[str, int] | None, on_gone: Callable[[], None]) -> Iterator[None]:
    """Calls `on_gone`, in a thread, when nobody answers at `address` any more."""
    if address is None:
        yield
        return
    over = threading.Event()
    most_s = patience_s()

    def watch() -> None:
        missing_s = 0.0
        while not over.wait(KNOCK_EVERY_S):
            if _answers(address):
                missing_s = 0.0
                continue
            missing_s += KNOCK_EVERY_S
            if missing_s >= most_s:
                on_gone()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, KNOCK_EVERY_S).close()
    except OSError:
        return False
    return True
