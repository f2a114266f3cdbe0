"""Tells single events to a state."""

from __future__ import annotations

from typing import Any

from tests.support.simulated import MemoryJournal, document
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Outcome, TrialState


class Story:
    """Tells events to a state, through a journal as a driver would."""

    def __init__(self, **changes: Any) -> None:
        self.journal = MemoryJournal()
        self.state = StudyState()
        self.tell("study_started", study=document(**changes), software={"a": "1"}, machine={})

    def tell(self, event: str, **fields: Any) -> None:
        self.state.apply(self.journal.append(event, **fields))

    def create(self, number: int = 1, kind: Kind = Kind.SEARCH) -> TrialState:
        name = f"{number:04d}"
        self.tell("trial_created", trial=name, number=number, kind=kind.value, params={"x": 0.1})
        return self.state.trials[name]

    def start(self, trial: TrialState) -> None:
        self.tell(
            "segment_started",
            trial=trial.id,
            segment=trial.segments,
            checkpoint=trial.checkpoint and trial.checkpoint.name,
        )

    def report(self, trial: TrialState, step: int, value: float, rung: int | None = None) -> None:
        self.tell(
            "report",
            trial=trial.id,
            step=step,
            tokens=10 * step,
            fraction=step / 24,
            seconds=1.0,
            metrics={"eval_loss": value, "other": 1},
            rung=rung,
            checkpoint=None if rung is None else f"checkpoints/{trial.id}/step-{step}",
        )

    def end(self, trial: TrialState, outcome: Outcome) -> None:
        self.tell(
            "trial_ended", trial=trial.id, outcome=outcome.value, value=None, tokens=0, reason="r"
        )


def completed(story: Story, number: int, value: float) -> TrialState:
    trial = story.create(number)
    story.start(trial)
    story.report(trial, 24, value, rung=2)
    story.end(trial, Outcome.COMPLETED)
    return trial
