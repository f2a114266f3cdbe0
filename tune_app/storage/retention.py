"""Keeps the checkpoints that are needed: of paused and running trials, and of the best ones."""

from __future__ import annotations

from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Checkpoint, Status, TrialState
from tune_app.errors import Problem, UserError
from tune_app.storage.checkpoints import CheckpointStore
from tune_app.storage.store import StorageFailed

KEEP_BEST = 3
"""Completed trials whose last checkpoint stays, unless the study says otherwise."""

GB = 1_000_000_000


class Retention:
    """Deletes what the journal says is not needed any more.

    With a cap on the disk, copies of the best trials go first, the worst of them before the others;
    what a trial needs to go on is never given up for it.
    """

    def __init__(
        self, checkpoints: CheckpointStore, keep: int = KEEP_BEST, disk_gb: float | None = None
    ) -> None:
        self._checkpoints = checkpoints
        self._keep = keep
        self._cap_bytes = None if disk_gb is None else disk_gb * GB
        self._sizes: dict[str, dict[str, int]] = {}
        """Bytes by name, of each trial that has checkpoints."""
        for name, size in checkpoints.sizes().items():
            self._hold(name, size)
        self._unmeasured: set[str] = set()
        """Those whose size is to be asked for, where there is a cap."""
        self._ended: set[str] = set()
        """Trials that have ended and still have checkpoints."""
        self._begun = False

    def on_event(self, event: Event, state: StudyState) -> None:
        """Follows one event.

        Raises:
            UserError: what is needed alone is more than the cap.
        """
        if not self._begun:
            self._begun = True
            self._tidy(state)
        name = event.get("checkpoint")
        if name and event["event"] != "segment_started":
            self._hold(name, 0)
            if self._cap_bytes is not None:
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
            # Before the next worker begins: what is there is of one that died or is not wanted.
            self._checkpoints.clean(event["trial"])
        if name:
            self._fit(state)

    def _tidy(self, state: StudyState) -> None:
        """Clears what the last session died before: no trial has to give way to leftovers."""
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
        """Deletes a trial's checkpoints but its own last one and those that others begin from."""
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
        if self._cap_bytes is None:
            return
        self._measure()
        best = self._best(state)
        while (total := self._total()) > self._cap_bytes:
            if not best:
                raise UserError(_too_much(total, self._cap_bytes))
            self._clear(state.trials[best.pop()], state, best)

    def _measure(self) -> None:
        for name in sorted(self._unmeasured):
            try:
                size = self._checkpoints.size(name)
            except StorageFailed:
                # Nothing is decided by it: asked again at the next checkpoint. Whether the study
                # can go on with a storage that does not answer is for its journal to find out.
                return
            self._unmeasured.discard(name)
            if name in self._sizes.get(Checkpoint.parse(name).trial, {}):
                self._hold(name, size)

    def _total(self) -> int:
        return sum(sum(sizes.values()) for sizes in self._sizes.values())


def _too_much(total: int, cap: float) -> Problem:
    what = f"checkpoints of running and paused trials take {total / GB:.3g} of {cap / GB:.3g} GB"
    fix = "give it more, or let fewer trials run at once (resources.concurrent), and run it again"
    return Problem(what, "tune.checkpoints.disk_gb", fix=fix)
