"""Finds out on the cluster what a plan needs to know of a study; runs no trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tune_app.cache import cache_folder
from tune_app.core.definition import StudyDefinition
from tune_app.core.recorder import Recorder
from tune_app.core.state import StudyState
from tune_app.engine.cluster import Cluster
from tune_app.engine.driver import Driver
from tune_app.engine.remote import received
from tune_app.engine.resources import TrialResources
from tune_app.engine.worker import profile
from tune_app.simulation.profile import Profile
from tune_app.simulation.simulation import MemoryJournal
from tune_app.storage.study import FolderStudy
from tune_app.training.preflight.found import LargestBatch, Probed, ProfilingPlan


@dataclass(slots=True)
class Known:
    """What was found out."""

    state: StudyState
    """The prepared study, without a trial."""
    probed: tuple[Probed, ...]
    trial: TrialResources
    slots: int
    profiles: list[Profile] = field(default_factory=list)
    not_profiled: int = 0
    """Configurations that there was no time for."""
    largest_batch: int | None = None
    """Micro-batch that fits into a GPU's memory; None on a CPU."""
    worker_s: float = 0.0
    """From asking for a worker to its first word: a process that imports torch."""


def find_out(
    study: StudyDefinition, cluster: Cluster, scratch: Path, say: Callable[[str], None]
) -> Known:
    """Preflight, then profiles, on workers as trials will have them.

    Raises:
        UserError: as `Driver.prepare`.
    """
    state = StudyState()
    recorder = Recorder(state, MemoryJournal())
    recorder.record("study_started", study=study.to_document())
    driver = Driver(FolderStudy(scratch), recorder, cluster)
    trial = driver.prepare(say)
    limit = study.resources.concurrent or 10**6
    # Preflight ran somewhere, but its node may have left since.
    slots = min(limit, max(1, cluster.slots(trial)))
    known = Known(state, driver.probed, trial, slots)
    begun, planned = time.monotonic(), 0
    arguments = str(cache_folder()), trial.cpu
    for message in received(profile, state.definition, arguments, trial):
        match message:
            case ProfilingPlan(configurations, planned):
                known.not_profiled = configurations - planned
                known.worker_s = time.monotonic() - begun
            case LargestBatch(size):
                known.largest_batch = size
            case Profile():
                known.profiles.append(message)
                say(f"measured configuration {len(known.profiles)} of {planned}")
    return known
