"""Ray Tune as the engine of a study: its searcher and scheduler only pass on to the conductor.

What Tune calls a trial is a segment here: one stay of a trial on a worker. A paused trial that is
promoted, or one whose worker was lost, is another segment from its checkpoint, on any worker.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune_app.core.conductor import Conductor
from tune_app.core.task import Task
from tune_app.core.trial import Decision
from tune_app.engine import deaths
from tune_app.engine.resources import TrialResources
from tune_app.engine.watch import Workers
from tune_app.engine.worker import DISK_FULL, Host, run_segment

# Tune would hand AWS's keys to workers in their runtime environment, which Ray writes to its logs.
# Workers on this machine inherit them; elsewhere they are the machine's own.
ENV_VARS_TO_PROPAGATE.difference_update(
    [name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")]
)


class _Bridge:
    """What both adapters share: the conductor, and the first error raised in it.

    Tune turns exceptions of its plug-ins into text, so they are kept here and raised after it ends.
    It also pickles its plug-ins, for a restore that is never asked for: the bridge goes as nothing.
    """

    def __init__(
        self,
        conductor: Conductor,
        slots: Callable[[], int],
        host: Host,
    ) -> None:
        self.conductor = conductor
        self.slots = slots
        self.host = host
        self.error: Exception | None = None
        self.workers = Workers()
        self.trial_of: dict[str, str] = {}
        """The trial that each segment of Tune's runs now."""
        self.causes: dict[str, str] = {}
        """Why a segment's worker died, where that is known."""

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()

    def guard(self, call: Callable[[], Any], otherwise: Any) -> Any:
        if self.error is not None:
            return otherwise
        try:
            answer = call()
            self.conductor.commit()
            return answer
        except Exception as error:
            self.error = error
            return otherwise

    def end_hung(self) -> None:
        """Ends the workers that have been silent for too long; Tune then sees them die.

        Where Tune itself has given a segment up, it says nothing: its trial is taken back here.
        """
        hung = self.conductor.heartbeats.hung()
        for segment, trial in list(self.trial_of.items()):
            if trial not in hung:
                continue
            cause = f"its worker hung: {hung[trial]:.0f} s without a sign of life"
            if self.workers.end(segment):
                self.causes[segment] = cause
            elif self.workers.is_given_up(segment):
                self.leave(segment, cause)

    def leave(self, segment: str, otherwise: str) -> None:
        """A segment has ended; its trial is begun again if it has not."""
        trial = self.trial_of.pop(segment, None)
        cause = self.causes.pop(segment, otherwise)
        if trial is not None:
            self.guard(lambda: self.conductor.on_worker_gone(trial, cause), None)


class _Suggestions(Searcher):  # type: ignore[misc]
    """Hands out a segment whenever a slot is free; never queues one ahead of its slot."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__(metric="message", mode="min")
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        conductor = self._bridge.conductor
        self._bridge.guard(self._bridge.end_hung, None)
        task = self._bridge.guard(self._next, None)
        if self._bridge.error is not None:
            # Nothing more can be recorded, and Tune would wait for one that hangs for ever.
            self._bridge.workers.end_all()
        elif task is not None:
            self._bridge.trial_of[trial_id] = task.trial
            return {"task": task, "host": self._bridge.host}
        return Searcher.FINISHED if conductor.finished or self._bridge.error else None

    def _next(self) -> Task | None:
        conductor = self._bridge.conductor
        return conductor.next_segment() if conductor.occupied < self._bridge.slots() else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """The scheduler's adapter has seen it already."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        died = "its worker process died" if error else "its worker ended without a word"
        self._bridge.leave(trial_id, died)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the journal has it."""


class _Decisions(FIFOScheduler):  # type: ignore[misc]
    """Takes each message of a worker to the conductor and brings its decision back."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self._bridge.workers.of(controller)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        message = json.loads(result["message"])
        trial_id = trial.config["task"].trial
        decision = self._bridge.guard(lambda: self._answer(trial_id, **message), Decision.STOP)
        goes_on = decision is Decision.CONTINUE
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """Tune tells the searcher of it next, without the error."""
        if told := deaths.cause(Path(trial.error_file or "")):
            self._bridge.causes[trial.trial_id] = told

    def _answer(self, trial_id: str, event: str, fields: dict[str, Any]) -> Decision:
        if event == DISK_FULL:
            raise OSError(errno.ENOSPC, f"trial {trial_id}: {fields['reason']}")
        return self._bridge.conductor.on_message(trial_id, event, fields)


def run(
    conductor: Conductor,
    *,
    slots: Callable[[], int],
    host: Host,
    trial: TrialResources,
    scratch: Path,
) -> None:
    """Runs the study until the conductor has finished.

    Args:
        slots: how many trials fit on the cluster now.
        host: what workers have besides their task.
        trial: what one takes of its node.
        scratch: a folder for Tune's own files.
    """
    bridge = _Bridge(conductor, slots, host)
    tuner = tune.Tuner(
        tune.with_resources(run_segment, trial.placement()),
        tune_config=tune.TuneConfig(
            search_alg=_Suggestions(bridge),
            scheduler=_Decisions(bridge),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(scratch), verbose=0),
    )
    try:
        tuner.fit()
    except Exception:
        # Tune ends by reading what it wrote of failed trials, which a full disk has cut short.
        if bridge.error is None and not conductor.finished:
            raise
    if bridge.error is not None:
        raise bridge.error
