"""No early stopping: every trial runs to its full budget, in order."""

from __future__ import annotations

from tune_app.core.ports import SchedulerContext
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, TrialState


class Fifo:
    """One rung, the full budget."""

    rungs = (1.0,)

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        return Decision.CONTINUE

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        return None

    def hopeless(self, state: StudyState) -> list[TrialState]:
        return []


def create(context: SchedulerContext) -> Fifo:
    """The scheduler; it has no options and does not depend on the study."""
    return Fifo()
