"""The task of a worker: the description of one segment, independent of the machine.

A segment is one uninterrupted run of a trial on one worker. The conductor creates the task; the
engine adds the path of the study's folder and the worker's resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_app.core.definition import Budget, StudyDefinition
from tune_app.core.trial import Checkpoint, TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Runs a trial from a checkpoint, or its start, until the driver ends the segment."""

    trial: str
    params: Mapping[str, Any]
    """All active parameters, fixed ones included."""
    seed: int
    trainable: str
    budget: Budget
    rungs: tuple[float, ...]
    """Shares of the budget."""
    accelerator: str = "auto"
    processes: int = 1
    """The number of ranks; each gets the same task."""
    prompt: str = ""
    """The prompt of text samples; empty for no samples."""
    wants_untrained_sample: bool = False
    checkpoint: Checkpoint | None = None
    seconds_before: float = 0.0
    """Seconds of training in earlier segments."""
    max_steps: int | None = None
    """Optimiser steps; None in the first segment. A budget in seconds is converted only once."""
    is_halved: bool = False
    """Use half the micro-batch and twice the accumulation: the trial ran out of memory."""
    has_new_values: bool = False
    """A takeover changed the values; the checkpoint may have been saved with the earlier ones."""


def task_of(study: StudyDefinition, trial: TrialState, wants_untrained_sample: bool) -> Task:
    """The next segment of a trial."""
    params = study.all_values(trial.params)
    return Task(
        trial=trial.id,
        params=params,
        seed=params.get("seed", study.seed),
        trainable=study.trainable,
        budget=study.budget,
        rungs=study.rungs,
        accelerator=study.accelerator,
        processes=study.resources.processes,
        prompt=study.prompt,
        wants_untrained_sample=wants_untrained_sample,
        checkpoint=trial.checkpoint,
        seconds_before=trial.seconds,
        max_steps=trial.effective.get("max_steps"),
        is_halved=trial.is_halved,
        has_new_values=bool(trial.takeovers),
    )
