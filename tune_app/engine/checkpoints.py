"""Keeps the checkpoints that are needed: of paused and running trials, and of the best ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from tune_app.journal import Event
from tune_app.state import StudyState
from tune_app.trial import Status, TrialState

KEEP_BEST = 3
"""Completed trials whose last checkpoint stays."""


class Retention:
    """A tracker that deletes what the journal says is not needed any more."""

    def __init__(self, study_folder: Path) -> None:
        self._study = study_folder
        self._folder = study_folder / "checkpoints"

    def on_event(self, event: Event, state: StudyState) -> None:
        if event["event"] == "segment_started" or event.get("checkpoint"):
            trial = state.trials[event["trial"]]
            for name in {trial.id, *(takeover.source for takeover in trial.takeovers)}:
                self._clear(state.trials[name], state)
        elif event["event"] == "trial_ended":
            for trial in state.with_status(Status.ENDED):
                self._clear(trial, state)

    def close(self, timeout_s: float) -> None:
        """Nothing is left to do."""

    def _clear(self, trial: TrialState, state: StudyState) -> None:
        """Deletes a trial's checkpoints but its own last one and those that others begin from."""
        folder = self._folder / trial.id
        needed = {self._study / path for path in _taken_from(trial, state)}
        best = [other.id for other in state.standings.completed()[:KEEP_BEST]]
        if trial.checkpoint and (trial.status is not Status.ENDED or trial.id in best):
            needed.add(self._study / trial.checkpoint)
        if not needed:
            shutil.rmtree(folder, ignore_errors=True)
        for step in folder.glob("step-*"):
            if step not in needed:
                shutil.rmtree(step, ignore_errors=True)


def _taken_from(trial: TrialState, state: StudyState) -> list[str]:
    """The checkpoints of a trial that others which have not ended are to go on from."""
    return [
        other.checkpoint
        for other in state.standings.open()
        if other.takeovers and other.takeovers[-1].source == trial.id and other.checkpoint
    ]
