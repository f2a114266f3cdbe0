"""Ray Tune as the engine of a study: its searcher and scheduler only call the conductor.

A trial of Tune is a segment here: one uninterrupted run of a trial on one worker. A paused trial
that is promoted, or one whose worker was lost, continues as a new segment on any worker.
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

# Tune would pass AWS keys to workers in their runtime environment, which Ray writes to its logs.
# Workers on this machine inherit the keys; other machines have their own.
ENV_VARS_TO_PROPAGATE.difference_update(
    [name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")]
)


class _Bridge:
    """What both adapters share: the conductor, and the first exception raised in it.

    Tune turns exceptions of its plug-ins into text, so they are stored here and raised after Tune
    has ended. Tune also pickles its plug-ins for a restore that never happens: the bridge pickles
    as an empty object.
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
        """The running trial by segment, that is, by the id of Tune's trial."""
        self.causes: dict[str, str] = {}
        """Why a segment's worker died, by segment, if known."""

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()

    def guard(self, call: Callable[[], Any], otherwise: Any) -> Any:
        """The result of `call`; `otherwise` if it, or an earlier call, raised."""
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
        """Ends workers without a heartbeat for too long; Tune then notices their death.

        Tune makes no callback for a segment that it has already ended: its trial is requeued here.
        """
        hung = self.conductor.heartbeats.hung()
        for segment, trial in list(self.trial_of.items()):
            if trial not in hung:
                continue
            cause = f"its worker hung: {hung[trial]:.0f} s without a heartbeat"
            if self.workers.end(segment):
                self.causes[segment] = cause
            elif self.workers.is_given_up(segment):
                self.leave(segment, cause)

    def leave(self, segment: str, otherwise: str) -> None:
        """Handles the end of a segment; its trial is requeued unless it has ended.

        `otherwise` is the cause if none is known.
        """
        trial = self.trial_of.pop(segment, None)
        cause = self.causes.pop(segment, otherwise)
        if trial is not None:
            self.guard(lambda: self.conductor.on_worker_gone(trial, cause), None)


class _Suggestions(Searcher):  # type: ignore[misc]
    """Gives Tune a segment only when a slot is free; never queues one in advance."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__(metric="message", mode="min")
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        conductor = self._bridge.conductor
        self._bridge.guard(self._bridge.end_hung, None)
        task = self._bridge.guard(self._next, None)
        if self._bridge.error is not None:
            # Nothing can be recorded any more, and Tune would wait for a hanging worker for ever.
            self._bridge.workers.end_all()
        elif task is not None:
            self._bridge.trial_of[trial_id] = task.trial
            return {"task": task, "host": self._bridge.host}
        return Searcher.FINISHED if conductor.finished or self._bridge.error else None

    def _next(self) -> Task | None:
        conductor = self._bridge.conductor
        return conductor.next_segment() if conductor.occupied < self._bridge.slots() else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Does nothing: `_Decisions` has handled the result."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        died = "its worker process died" if error else "its worker ended without a message"
        self._bridge.leave(trial_id, died)

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the journal holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: the journal holds the state."""


class _Decisions(FIFOScheduler):  # type: ignore[misc]
    """Passes each message of a worker to the conductor, and its decision to Tune."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self._bridge.workers.attach(controller)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        message = json.loads(result["message"])
        trial_id = trial.config["task"].trial
        decision = self._bridge.guard(lambda: self._answer(trial_id, **message), Decision.STOP)
        goes_on = decision is Decision.CONTINUE
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """Notes the cause of death: Tune calls the searcher next, without the error."""
        if cause := deaths.cause(Path(trial.error_file or "")):
            self._bridge.causes[trial.trial_id] = cause

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
        host: what workers need besides their task.
        trial: the resources of a trial.
        scratch: a folder for Tune's own files.

    Raises:
        Exception: the first exception that the conductor raised, such as a `UserError`.
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
        # At its end Tune reads its error files, which a full disk may have cut short.
        if bridge.error is None and not conductor.finished:
            raise
    if bridge.error is not None:
        raise bridge.error
