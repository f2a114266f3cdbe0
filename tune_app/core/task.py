"""The task of a worker: everything about one segment, whatever machine it runs on.

A segment is an uninterrupted stay of a trial on a worker. The conductor makes the task whole; where
the study's folder lies and what the worker may use is the engine's to add.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_app.core.definition import Budget, StudyDefinition
from tune_app.core.trial import Checkpoint, TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Runs a trial from a checkpoint, or its start, until told otherwise."""

    trial: str
    params: Mapping[str, Any]
    """All that it runs with, fixed parameters included."""
    seed: int
    trainable: str
    budget: Budget
    rungs: tuple[float, ...]
    """Shares of the budget."""
    accelerator: str = "auto"
    processes: int = 1
    """That train it together, each with the same task."""
    prompt: str = ""
    """What samples continue; empty for none."""
    wants_untrained_sample: bool = False
    checkpoint: Checkpoint | None = None
    seconds_before: float = 0.0
    """Of training, in earlier segments."""
    max_steps: int | None = None
    """Known when the trial has run before: a budget in seconds is measured only once."""
    is_halved: bool = False
    """It ran out of memory before: half the micro-batch, twice the accumulation."""
    has_new_values: bool = False
    """The checkpoint may be from before values changed."""


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
