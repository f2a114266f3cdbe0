"""Decides what a study runs next, and writes each event to the journal before anything else.

It depends neither on Ray nor on training code: an engine asks it for segments of work, passes on
the messages of workers and carries out its decisions. A segment is one uninterrupted run of a trial
on one worker.
"""

from __future__ import annotations

import math
from typing import Any

from tune_app.core.blame import blamed
from tune_app.core.failures import MAX_LOSSES, Losses, is_broken, is_unreported
from tune_app.core.heartbeat import ALIVE, HeartbeatMonitor
from tune_app.core.ports import Bracketed, Exploiting, Scheduler, Searcher
from tune_app.core.recorder import Recorder
from tune_app.core.task import Task, task_of
from tune_app.core.trial import Decision, Kind, Outcome, Params, Status, TrialState
from tune_app.errors import nearest


class Conductor:
    """Answers the messages of workers; searcher and scheduler decide which trial runs."""

    def __init__(
        self,
        recorder: Recorder,
        searcher: Searcher,
        scheduler: Scheduler,
        baseline: Params | None = None,
        heartbeats: HeartbeatMonitor | None = None,
        losses: Losses | None = None,
    ) -> None:
        self.state = recorder.state
        self.interrupted = False
        self._recorder = recorder
        self._searcher = searcher
        self._scheduler = scheduler
        self._brackets = scheduler if isinstance(scheduler, Bracketed) else None
        self._exploits = scheduler if isinstance(scheduler, Exploiting) else None
        self._baseline = baseline
        self._settled = False
        self.heartbeats = heartbeats or HeartbeatMonitor()
        # The default suits simulations, whose time is not the clock's: no backoff and no limit.
        self._losses = losses or Losses(backoff_s={}, limit=math.inf)

    def record(self, event: str, **fields: Any) -> None:
        """Writes one event, as `Recorder.record` does."""
        self._recorder.record(event, **fields)

    @property
    def finished(self) -> bool:
        """Whether no trial is running and none is left to run."""
        idle = not self.state.rankings.with_status(Status.RUNNING)
        return idle and (self.interrupted or self.state.ended is not None)

    @property
    def occupied(self) -> int:
        """The number of slots in use: running trials, and trials in backoff after lost workers."""
        return len(self.state.rankings.with_status(Status.RUNNING)) + len(self._losses.in_backoff())

    def next_segment(self) -> Task | None:
        """The next segment for a free worker, or None when there is none for now.

        Interrupted and lost trials come first, then promotions, then new trials. When there is
        neither work nor a running trial, this call ends the study.

        Raises:
            UserError: a plug-in raised (`PlugInFailed`), or the journal cannot be written.
        """
        if self.interrupted or self.state.ended is not None:
            return None
        if not self._settled:
            self._settle()
        running = len(self.state.rankings.with_status(Status.RUNNING))
        in_backoff = self._losses.in_backoff()
        if self.state.reached_target():
            if not running:
                self._end(TARGET)
            return None
        trial = self._due(in_backoff) or self._promoted(draining=False) or self._new()
        if trial is None and not running and not in_backoff:
            trial = self._promoted(draining=True)
            if trial is None:
                self._end(self._why_none_is_left())
        return self._start(trial) if trial is not None else None

    def _why_none_is_left(self) -> str:
        if not self.state.is_exhausted:
            return "the budget of trials is spent"
        return ALL_ALLOWED if self.state.definition.required else EXHAUSTED

    def on_message(self, trial_id: str, event: str, fields: dict[str, Any]) -> Decision:
        """Handles a worker's message about its trial; returns whether the trial continues.

        Raises:
            UserError: as `on_worker_gone` and `next_segment`.
        """
        trial = self.state.trials[trial_id]
        if trial.status is not Status.RUNNING:
            return Decision.STOP
        self.heartbeats.beat(trial_id, event)
        if event == ALIVE:
            return Decision.CONTINUE
        if event == "trial_ended":
            self._on_end(trial, Outcome(fields["outcome"]), fields["reason"], fields["error"])
            return Decision.STOP
        if event == "segment_lost":
            self.on_worker_gone(trial_id, fields["reason"])
            return Decision.STOP
        self.record(event, trial=trial_id, **fields)
        if event == "report":
            self._losses.on_progress()
            metric = self.state.reported_metric
            if trial.reports[-1].is_evaluation and trial.latest(metric) is None:
                return self._unranked(trial)
        if event == "report" and fields.get("rung") is not None:
            return self._at_rung(trial, int(fields["rung"]))
        return Decision.CONTINUE if trial.status is Status.RUNNING else Decision.STOP

    def on_worker_gone(self, trial_id: str, reason: str) -> None:
        """Handles a segment that ended before its trial did: the worker died or was preempted.

        Raises:
            UserError: workers keep dying and no trial makes progress.
        """
        trial = self.state.trials[trial_id]
        self.heartbeats.end(trial_id)
        if trial.status is not Status.RUNNING:
            return
        self.record("segment_lost", trial=trial_id, reason=reason)
        self._losses.count(trial, reason)
        if trial.losses_here > MAX_LOSSES:
            summary = f"lost {trial.losses_here} workers at the same place: {reason}"
            self.end_trial(trial, Outcome.LOST, reason=summary)
            self._after_end()

    def _on_end(self, trial: TrialState, outcome: Outcome, reason: str, error: str) -> None:
        if outcome is Outcome.COMPLETED and self.state.full_rung not in trial.rung_values:
            outcome, reason = Outcome.FAILED, "it ended before its budget was spent"
        self.end_trial(trial, outcome, reason, error)
        self._after_end()

    def end_trial(
        self, trial: TrialState, outcome: Outcome, reason: str = "", error: str = ""
    ) -> None:
        """Ends a trial. Only a completed trial gets a final value."""
        final = trial.rung_values.get(self.state.full_rung)
        self.record(
            "trial_ended",
            trial=trial.id,
            outcome=outcome.value,
            value=final if outcome is Outcome.COMPLETED else None,
            tokens=trial.tokens,
            reason=reason,
            error=error,
        )

    def commit(self) -> None:
        """Makes the journal durable; called before an answer of the conductor leaves this process.

        Raises:
            UserError: the storage does not accept the journal.
        """
        self._recorder.commit()

    def _settle(self) -> None:
        """Makes the decisions on reports that the previous driver did not get to before it died."""
        self._settled = True
        for trial in self.state.with_status(Status.PAUSED):
            rung = trial.open_rung
            if trial.decision is Decision.STOP:
                self._stop(trial)
            elif rung is not None:
                self._at_rung(trial, rung)
        self._drop_hopeless()

    def _due(self, in_backoff: set[str]) -> TrialState | None:
        return next((t for t in self.state.rankings.due() if t.id not in in_backoff), None)

    def _promoted(self, draining: bool) -> TrialState | None:
        """The paused trial to promote; it may first take over another trial's state."""
        with blamed("scheduler"):
            trial = self._scheduler.promote(self.state, draining)
            if trial is None or self._exploits is None:
                return trial
            exploit = self._exploits.exploit(self.state, trial)
        if exploit is not None:
            self.record(
                "trial_exploited",
                trial=trial.id,
                source=exploit.source.id,
                rung=trial.top_rung,
                checkpoint=exploit.source.checkpoint and exploit.source.checkpoint.name,
                params=exploit.params,
            )
        return trial

    def _new(self) -> TrialState | None:
        number = len(self.state.trials)
        if number >= self.state.trials_planned:
            return None
        kind = Kind.BASELINE if number == 0 and self._baseline is not None else Kind.SEARCH
        params = None if self._baseline is None else dict(self._baseline)
        if kind is Kind.SEARCH:
            with blamed("searcher"):
                params = self._searcher.suggest(self.state, number)
        if params is None:
            self.record("space_exhausted")
            return None
        fields: dict[str, Any] = {"number": number, "kind": kind.value, "params": params}
        if self._brackets is not None and kind is Kind.SEARCH:
            with blamed("scheduler"):
                fields["bracket"] = self._brackets.bracket(number)
        trial_id = f"{number:04d}"
        self.record("trial_created", trial=trial_id, **fields)
        return self.state.trials[trial_id]

    def _start(self, trial: TrialState) -> Task:
        checkpoint = trial.checkpoint
        self.record(
            "segment_started",
            trial=trial.id,
            segment=trial.segments + 1,
            checkpoint=checkpoint and checkpoint.name,
        )
        self.heartbeats.begin(trial.id)
        wants_sample = trial.number == 0 and not self._has_samples()
        return task_of(self.state.definition, trial, wants_sample)

    def _has_samples(self) -> bool:
        return any(trial.samples for trial in self.state.trials.values())

    def _at_rung(self, trial: TrialState, rung: int) -> Decision:
        if not math.isfinite(trial.reports[-1].metrics.get(self.state.reported_metric, math.nan)):
            return self._unranked(trial)
        if rung == self.state.full_rung or trial.kind is Kind.BASELINE:
            return Decision.CONTINUE
        with blamed("scheduler"):
            decision = self._scheduler.decide(self.state, trial, rung)
        self.record("decision", trial=trial.id, rung=rung, decision=decision.value)
        if decision is Decision.STOP:
            self._stop(trial)
        self._drop_hopeless()
        return decision

    def _stop(self, trial: TrialState) -> None:
        self.end_trial(trial, Outcome.STOPPED, reason=f"stopped at rung {trial.decided_rung}")

    def _unranked(self, trial: TrialState) -> Decision:
        """Ends a trial that reached a rung without a finite objective, or does not report it."""
        metric, report = self.state.reported_metric, trial.reports[-1]
        if metric in report.metrics:
            reason = f"{metric} is not finite at step {report.step}"
            self.end_trial(trial, Outcome.DIVERGED, reason)
        else:
            self.end_trial(trial, Outcome.FAILED, _unreported(metric, report.evaluation))
        self._after_end()
        return Decision.STOP

    def _after_end(self) -> None:
        self._drop_hopeless()
        if is_unreported(self.state):
            self._give_up(UNREPORTED)
        elif is_broken(self.state):
            self._give_up(BROKEN)

    def _give_up(self, reason: str) -> None:
        for trial in self.state.trials.values():
            if trial.outcome is None:
                self.end_trial(trial, Outcome.CANCELLED, reason=reason)
        self._end(reason)

    def _drop_hopeless(self) -> None:
        """Ends trials that cannot be promoted; repeated, as each end can make others hopeless."""
        while hopeless := self._hopeless():
            for trial in hopeless:
                share = f"{100 * trial.fraction:.0f} % of the budget"
                self.end_trial(trial, Outcome.STOPPED, reason=f"too far behind at {share}")

    def _hopeless(self) -> list[TrialState]:
        with blamed("scheduler"):
            return self._scheduler.hopeless(self.state)

    def _end(self, reason: str) -> None:
        for trial in self.state.with_status(Status.PAUSED):
            share = f"{100 * trial.fraction:.0f} % of the budget"
            self.end_trial(trial, Outcome.STOPPED, reason=f"not promoted at {share}")
        self.record("study_ended", reason=reason)


def _unreported(metric: str, names: list[str]) -> str:
    """The reason of a trial whose evaluations report the metrics `names` but not `metric`."""
    if not names:
        return f"it reports no {metric!r}: its evaluations report nothing"
    hint = nearest(metric, names)
    more = f": {hint}" if hint.startswith("did you mean") else ""
    return f"it reports no {metric!r} but {', '.join(names)}{more}"


TARGET = "the target of the metric was reached"
EXHAUSTED = "every combination of the space was tried"
ALL_ALLOWED = "no other combination that the constraints allow was found"
UNREPORTED = "no trial reports the metric of the study"
BROKEN = "trials fail in the same way and none comes further"
