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
        self._folder = study_folder / "checkpoints"

    def on_event(self, event: Event, state: StudyState) -> None:
        if event["event"] == "report" and event.get("checkpoint"):
            self._keep_latest(state.trials[event["trial"]])
        elif event["event"] == "trial_ended":
            best = [trial.id for trial in state.completed()[:KEEP_BEST]]
            for trial in state.with_status(Status.ENDED):
                if trial.id not in best:
                    shutil.rmtree(self._folder / trial.id, ignore_errors=True)

    def close(self, timeout_s: float) -> None:
        """Nothing is left to do."""

    def _keep_latest(self, trial: TrialState) -> None:
        latest = Path(trial.checkpoint or "").name
        for folder in (self._folder / trial.id).glob("step-*"):
            if folder.name != latest:
                shutil.rmtree(folder, ignore_errors=True)
