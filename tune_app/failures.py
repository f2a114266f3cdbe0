"""When failures are no longer those of trials: decided from what the journal says of them."""

from __future__ import annotations

from tune_app.state import StudyState
from tune_app.trial import Outcome, TrialState

MAX_LOSSES = 3
"""Times a trial is begun again at the same checkpoint after its worker died; then it is lost."""

FAILURES_THAT_STOP = 3
"""When this many trials fail in the same way and none comes further, the trainable is broken."""


def is_broken(state: StudyState) -> bool:
    """Whether trials fail so that no trial will complete: there is a bug in the trainable."""
    if state.best() is not None:
        return False
    trials = state.trials.values()
    failed = [trial for trial in trials if trial.outcome is Outcome.FAILED]
    if len(failed) < FAILURES_THAT_STOP:
        return False
    furthest = max((t.fraction for t in trials if t.outcome is not Outcome.FAILED), default=0.0)
    kinds = [_kind(trial) for trial in failed if trial.fraction >= furthest]
    return any(kinds.count(kind) >= FAILURES_THAT_STOP for kind in set(kinds))


def _kind(trial: TrialState) -> str:
    """What was raised, without the figures of this trial."""
    return trial.reason.partition(":")[0]


def own_traceback(error: str) -> str:
    """A traceback from the trainable's own lines on, without those that call it."""
    head, *frames = error.split(FRAME)
    own = next((i for i, frame in enumerate(frames) if "/tune_app/training/" not in frame), 0)
    return FRAME.join([head, *frames[own:]]).rstrip()


FRAME = "\n  File "
