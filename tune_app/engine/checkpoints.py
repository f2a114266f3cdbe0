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
        self._swept = False

    def on_event(self, event: Event, state: StudyState) -> None:
        if not self._swept:
            # A driver that was killed may have left what its last events had made needless.
            self._swept = True
            for trial in state.trials.values():
                self._clear(trial, state)
        elif event["event"] == "segment_started" or event.get("checkpoint"):
            self._clear_with_sources(state.trials[event["trial"]], state)
        elif event["event"] == "trial_ended":
            self._clear_with_sources(state.trials[event["trial"]], state)
            # It may have taken the place of this one among the best.
            for trial in state.standings.completed()[KEEP_BEST : KEEP_BEST + 1]:
                self._clear(trial, state)

    def close(self, timeout_s: float) -> None:
        """Nothing is left to do."""

    def _clear_with_sources(self, trial: TrialState, state: StudyState) -> None:
        for name in {trial.id, *(takeover.source for takeover in trial.takeovers)}:
            self._clear(state.trials[name], state)

    def _clear(self, trial: TrialState, state: StudyState) -> None:
        """Deletes a trial's checkpoints but its own last one and those that others begin from."""
        folder = self._folder / trial.id
        heirs = state.standings.heirs(trial.id)
        needed = {self._study / heir.checkpoint for heir in heirs if heir.checkpoint}
        best = [other.id for other in state.standings.completed()[:KEEP_BEST]]
        if trial.checkpoint and (trial.status is not Status.ENDED or trial.id in best):
            needed.add(self._study / trial.checkpoint)
        if not needed:
            shutil.rmtree(folder, ignore_errors=True)
        for step in folder.glob("step-*"):
            if step not in needed:
                shutil.rmtree(step, ignore_errors=True)
