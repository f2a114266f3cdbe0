"""Keeps the checkpoints of running and paused trials and of the best ones; deletes the others."""

from __future__ import annotations

from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Checkpoint, Status, TrialState
from tune_app.errors import Problem, UserError
from tune_app.storage.checkpoints import CheckpointStore
from tune_app.storage.store import StorageFailed

KEEP_BEST = 3
"""The default number of best completed trials whose last checkpoint is kept."""

GB = 1_000_000_000


class Retention:
    """Deletes checkpoints that are no longer needed according to the journal.

    Above the disk limit it also deletes those of the best completed trials, the worst of them
    first. A checkpoint that a trial needs to continue is never deleted.

    Args:
        checkpoints: the checkpoint store.
        keep: the number of best completed trials whose last checkpoint is kept.
        disk_gb: the limit for all checkpoints together; None: no limit.
    """

    def __init__(
        self, checkpoints: CheckpointStore, keep: int = KEEP_BEST, disk_gb: float | None = None
    ) -> None:
        self._checkpoints = checkpoints
        self._keep = keep
        self._limit_bytes = None if disk_gb is None else disk_gb * GB
        self._sizes: dict[str, dict[str, int]] = {}
        """By trial, the bytes of each of its checkpoints by name."""
        for name, size in checkpoints.sizes().items():
            self._hold(name, size)
        self._unmeasured: set[str] = set()
        """Checkpoints whose size is not known yet; used only with a disk limit."""
        self._ended: set[str] = set()
        """Ended trials that still have checkpoints."""
        self._begun = False

    def on_event(self, event: Event, state: StudyState) -> None:
        """Updates the checkpoints after one event.

        Raises:
            UserError: the checkpoints that are needed exceed the disk limit.
        """
        if not self._begun:
            self._begun = True
            self._tidy(state)
        name = event.get("checkpoint")
        if name and event["event"] != "segment_started":
            self._hold(name, 0)
            if self._limit_bytes is not None:
                self._unmeasured.add(name)
        if event["event"] == "segment_started" or name:
            trial = state.trials[event["trial"]]
            for other in {trial.id, *(takeover.source for takeover in trial.takeovers)}:
                self._clear(state.trials[other], state, self._best(state))
        elif event["event"] == "trial_ended":
            self._retire(state.trials[event["trial"]])
            best = self._best(state)
            for other in sorted(self._ended):
                self._clear(state.trials[other], state, best)
        if event["event"] in ("segment_started", "trial_ended"):
            # No worker of the trial runs now, so its work folders are leftovers of dead workers.
            self._checkpoints.clean(event["trial"])
        if name:
            self._fit(state)

    def _tidy(self, state: StudyState) -> None:
        """Deletes what the last session did not get to, so that leftovers take no disk space."""
        best = self._best(state)
        for trial in [state.trials[name] for name in self._sizes if name in state.trials]:
            if trial.status is Status.ENDED:
                self._retire(trial)
            self._clear(trial, state, best)
        self._checkpoints.clean("*")

    def _hold(self, name: str, size: int) -> None:
        self._sizes.setdefault(Checkpoint.parse(name).trial, {})[name] = size

    def _retire(self, trial: TrialState) -> None:
        if trial.id in self._sizes:
            self._ended.add(trial.id)

    def _best(self, state: StudyState) -> list[str]:
        return [trial.id for trial in state.rankings.completed()[: self._keep]]

    def _clear(self, trial: TrialState, state: StudyState, best: list[str]) -> None:
        """Deletes a trial's checkpoints, but not its last one or those that others start from."""
        if trial.id not in self._sizes:
            return
        heirs = state.rankings.heirs(trial.id)
        needed = {heir.checkpoint.name for heir in heirs if heir.checkpoint}
        if trial.checkpoint and (trial.status is not Status.ENDED or trial.id in best):
            needed.add(trial.checkpoint.name)
        for name in self._sizes[trial.id].keys() - needed:
            self._checkpoints.remove(name)
            del self._sizes[trial.id][name]
        if not self._sizes[trial.id]:
            del self._sizes[trial.id]
            self._ended.discard(trial.id)

    def _fit(self, state: StudyState) -> None:
        if self._limit_bytes is None:
            return
        self._measure()
        best = self._best(state)
        while (total := self._total()) > self._limit_bytes:
            if not best:
                raise UserError(_too_much(total, self._limit_bytes))
            self._clear(state.trials[best.pop()], state, best)

    def _measure(self) -> None:
        for name in sorted(self._unmeasured):
            try:
                size = self._checkpoints.size(name)
            except StorageFailed:
                # Tried again at the next checkpoint. Writing the journal decides whether the study
                # can continue with a storage that does not answer.
                return
            self._unmeasured.discard(name)
            if name in self._sizes.get(Checkpoint.parse(name).trial, {}):
                self._hold(name, size)

    def _total(self) -> int:
        return sum(sum(sizes.values()) for sizes in self._sizes.values())


def _too_much(total: int, limit: float) -> Problem:
    what = f"checkpoints of running and paused trials take {total / GB:.3g} of {limit / GB:.3g} GB"
    fix = "give it more, or let fewer trials run at once (resources.concurrent), and run it again"
    return Problem(what, "tune.checkpoints.disk_gb", fix=fix)
