"""Finds out on the cluster what a plan needs to know of a study; runs no trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tune_app.cache import cache_folder
from tune_app.core.state import StudyState
from tune_app.engine.cluster import Cluster
from tune_app.engine.driver import Driver
from tune_app.engine.remote import received
from tune_app.engine.resources import TrialResources
from tune_app.engine.worker import measure
from tune_app.simulation.simulation import MemoryJournal
from tune_app.storage.retention import KEEP_BEST
from tune_app.storage.study import FolderStudy

__all__ = ["KEEP_BEST", "Known", "find_out"]


@dataclass(slots=True)
class Known:
    """What was found out."""

    state: StudyState
    """The prepared study, without a trial."""
    probed: list[dict[str, Any]]
    trial: TrialResources
    slots: int
    corners: list[dict[str, Any]] = field(default_factory=list)
    not_measured: int = 0
    """Corners that there was no time for."""
    largest_batch: int | None = None
    """Micro-batch that fits into a GPU's memory; None on a CPU."""
    worker_s: float = 0.0
    """From asking for a worker to its first word: a process that imports torch."""


def find_out(
    document: dict[str, Any], cluster: Cluster, scratch: Path, say: Callable[[str], None]
) -> Known:
    """Preflight, then the corners, on workers as trials will have them.

    Raises:
        UserError: as `Driver.prepare`.
    """
    state, journal = StudyState(), MemoryJournal()
    state.apply(journal.append("study_started", study=document))
    driver = Driver(FolderStudy(scratch), state, journal, [], cluster)
    trial = driver.prepare(say)
    limit = document["resources"]["concurrent"] or 10**6
    # Preflight ran somewhere, but its node may have left since.
    slots = min(limit, max(1, cluster.slots(trial)))
    known = Known(state, driver.probed, trial, slots)
    arguments, total = (state.document, str(cache_folder()), trial.cpu), 0
    begun = time.monotonic()
    for item in received(measure, arguments, trial):
        if "corners" in item:
            total = min(item["corners"], item["most"])
            known.not_measured = item["corners"] - total
            known.worker_s = time.monotonic() - begun
        elif "largest_batch" in item:
            known.largest_batch = item["largest_batch"]
        else:
            known.corners.append(item["corner"])
            say(f"measured corner {len(known.corners)} of {total}")
    return known
