"""Measures what a trial uses of its worker: memory, CPU and GPU. Reports contain it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

GIB = 2**30


class Meter:
    """Each reading covers the time since the one before."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._last = clock(), cpu_clock()

    def read(self) -> dict[str, float]:
        """Resident memory now and peak GPU memory, in GiB; mean CPUs in use; GPU load in %."""
        used = {"rss_gib": round(resident_bytes() / GIB, 3)}
        (then, cpu_then), self._last = self._last, (self._clock(), self._cpu_clock())
        elapsed = self._last[0] - then
        if elapsed > 0:
            used["cpus"] = round((self._last[1] - cpu_then) / elapsed, 2)
        return used | (_gpu() if torch.cuda.is_available() else {})


def resident_bytes() -> int:
    """Resident memory of this process in bytes, 0 where the system does not tell it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _gpu() -> dict[str, float]:
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    used = {"gpu_memory_gib": round(peak / GIB, 3)}
    # This needs NVIDIA's management library, which may be missing and has its own exceptions.
    with suppress(Exception):
        used["gpu_percent"] = float(torch.cuda.utilization())
    return used
