"""Measures on the cluster what a plan needs: preflight and profiles, but no trial."""

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
from tune_app.training.preflight.messages import LargestBatch, Probed, ProfilingPlan


@dataclass(slots=True)
class PlanInputs:
    """The measurements that a plan is computed from."""

    state: StudyState
    """The prepared study, without a trial."""
    probed: tuple[Probed, ...]
    trial: TrialResources
    slots: int
    """Trials that run at the same time."""
    profiles: list[Profile] = field(default_factory=list)
    not_profiled: int = 0
    """The number of configurations beyond the limit, which were not profiled."""
    largest_batch: int | None = None
    """The largest micro-batch that fits into a GPU's memory; None on a CPU."""
    worker_s: float = 0.0
    """Seconds until a new worker sends its first message: process start and import of torch."""


def measure(
    study: StudyDefinition, cluster: Cluster, scratch: Path, say: Callable[[str], None]
) -> PlanInputs:
    """Runs preflight, then profiles, on workers with the resources of a trial.

    Raises:
        UserError: as `Driver.prepare`.
    """
    state = StudyState()
    recorder = Recorder(state, MemoryJournal())
    recorder.record("study_started", study=study.to_document())
    driver = Driver(FolderStudy(scratch), recorder, cluster)
    trial = driver.prepare(say)
    limit = study.resources.concurrent or 10**6
    # Preflight ran, so at least one trial fits, even if its node has left since.
    slots = min(limit, max(1, cluster.slots(trial)))
    inputs = PlanInputs(state, driver.probed, trial, slots)
    begun, planned = time.monotonic(), 0
    arguments = str(cache_folder()), trial.cpu
    for message in received(profile, state.definition, arguments, trial):
        match message:
            case ProfilingPlan(configurations, planned):
                inputs.not_profiled = configurations - planned
                inputs.worker_s = time.monotonic() - begun
            case LargestBatch(size):
                inputs.largest_batch = size
            case Profile():
                inputs.profiles.append(message)
                say(f"measured configuration {len(inputs.profiles)} of {planned}")
    return inputs
