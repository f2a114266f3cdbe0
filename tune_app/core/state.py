"""The state of a study, rebuilt by folding the events of its journal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tune_app.core.definition import StudyDefinition
from tune_app.core.journal import Event
from tune_app.core.rankings import Rankings
from tune_app.core.trial import (
    Checkpoint,
    Decision,
    Kind,
    Outcome,
    Report,
    Status,
    Takeover,
    TrialState,
)

_TRIAL = re.compile("[0-9]{1,18}")


@dataclass(slots=True)
class StudyState:
    """A study according to its journal. Only `apply` changes it."""

    study: StudyDefinition | None = None
    """The study's definition; None before the event `study_started`."""
    trials: dict[str, TrialState] = field(default_factory=dict)
    dropped: list[Event] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    software: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    updated: float | None = None
    ended: str | None = None
    """Why the study ended, None while it runs or can be resumed."""
    is_exhausted: bool = False
    """Whether the searcher has nothing left to propose."""
    sessions: list[list[float]] = field(default_factory=list)
    """Begin and last event of each driver's session, Unix seconds."""
    rankings: Rankings = field(default_factory=Rankings, repr=False, compare=False)
    """Rankings of the trials; derived from `trials`."""

    @property
    def definition(self) -> StudyDefinition:
        """The study's definition.

        Raises:
            ValueError: the journal does not begin with `study_started`.
        """
        if self.study is None:
            raise ValueError("no study_started comes before")
        return self.study

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def metric(self) -> str:
        """The objective as the user named it, e.g. final_eval_loss."""
        return self.definition.metric.name

    @property
    def reported_metric(self) -> str:
        """The key of the objective in reports."""
        return self.definition.metric.reported

    @property
    def sign(self) -> int:
        """1 when the metric is minimised, -1 when it is maximised."""
        return self.definition.metric.sign

    @property
    def full_rung(self) -> int:
        """The index of the last rung, where the whole budget is spent."""
        return self.definition.full_rung

    @property
    def trials_planned(self) -> int:
        """The number of trials that there will be: the budget's, or fewer in a small space."""
        return len(self.trials) if self.is_exhausted else self.definition.budget.trials

    @property
    def elapsed_s(self) -> float:
        """Seconds that drivers of this study have run, without the pauses between them."""
        return sum(end - begin for begin, end in self.sessions)

    def final_value(self, trial: TrialState) -> float | None:
        """The objective at the full budget, None for a trial that did not complete."""
        if trial.outcome is not Outcome.COMPLETED:
            return None
        return trial.rung_values.get(self.full_rung)

    def completed(self) -> list[TrialState]:
        """The completed trials, best first; ties by number."""
        return list(self.rankings.completed())

    def best(self) -> TrialState | None:
        """The best completed trial, the baseline included."""
        return next(iter(self.rankings.completed()), None)

    def reached_target(self) -> bool:
        """Whether a completed trial is at least as good as the metric's target, if there is one."""
        target, best = self.definition.metric.target, self.best()
        if target is None or best is None:
            return False
        return self.sign * best.rung_values[self.full_rung] <= self.sign * target

    def baseline(self) -> TrialState | None:
        """The trial with the trainable's untuned defaults, if there is one."""
        kinds = (trial for trial in self.trials.values() if trial.kind is Kind.BASELINE)
        return next(kinds, None)

    def with_status(self, status: Status) -> list[TrialState]:
        """The trials with this status, by number."""
        return list(self.rankings.with_status(status))

    def apply(self, event: Event) -> None:
        """Updates the state with one event; kinds of events that are unknown here are ignored.

        Raises:
            AttributeError, KeyError, IndexError, TypeError, ValueError: the event does not match
                those before it.
        """
        handler = getattr(self, f"_on_{event['event']}", None)
        time = float(event["time"])
        if self.sessions and event["event"] != "study_resumed":
            self.sessions[-1][1] = time
        self.updated = time
        if handler is not None:
            handler(event)
            if event.get("trial") in self.trials:
                self._place(self.trials[event["trial"]])

    def copy(self) -> StudyState:
        """An independent copy: applying events to one does not change the other."""
        trials = {
            trial.id: replace(
                trial,
                reports=[*trial.reports],
                rung_values={**trial.rung_values},
                samples={**trial.samples},
                takeovers=[*trial.takeovers],
            )
            for trial in self.trials.values()
        }
        copied = replace(
            self,
            trials=trials,
            dropped=[*self.dropped],
            findings=[*self.findings],
            sessions=[[*session] for session in self.sessions],
            rankings=Rankings(),
        )
        for trial in trials.values():
            copied._place(trial)
        return copied

    def _place(self, trial: TrialState) -> None:
        self.rankings.place(trial, self.sign, self.full_rung)

    def _on_study_started(self, event: Event) -> None:
        self.study = StudyDefinition.from_document(event["study"])
        self.started = float(event["time"])
        self.findings.extend(event.get("notes", ()))
        self._open_session(event)

    def _on_study_resumed(self, event: Event) -> None:
        self.ended = None
        self._open_session(event)
        for trial in self.with_status(Status.RUNNING):
            self._requeue(trial)
            self._place(trial)

    def _requeue(self, trial: TrialState) -> None:
        """A trial that lost its worker is due at once, unless the scheduler must decide first."""
        rung = trial.top_rung
        undecided = rung is not None and rung != self.full_rung and rung != trial.decided_rung
        trial.status = Status.PAUSED
        trial.due = trial.kind is Kind.BASELINE or not undecided

    def _open_session(self, event: Event) -> None:
        self.software = event.get("software", {})
        self.machine = event.get("machine", {})
        self.sessions.append([float(event["time"])] * 2)

    def _on_study_prepared(self, event: Event) -> None:
        self.study = self.definition.prepared(event)

    def _on_space_exhausted(self, event: Event) -> None:
        self.is_exhausted = True

    def _on_choice_dropped(self, event: Event) -> None:
        self.dropped.append(event)

    def _on_finding(self, event: Event) -> None:
        if event["text"] not in self.findings:
            self.findings.append(event["text"])

    def _on_trial_created(self, event: Event) -> None:
        # Its folders and files get this name, so it must not be a path.
        if not _TRIAL.fullmatch(event["trial"]):
            raise ValueError(f"{event['trial']!r} is no number of a trial")
        self.trials[event["trial"]] = TrialState(
            id=event["trial"],
            number=event["number"],
            kind=Kind(event["kind"]),
            params=event["params"],
            created=event["time"],
            bracket=event.get("bracket", 0),
            due=True,
        )

    def _on_segment_started(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.status, trial.due = Status.RUNNING, False
        trial.segments += 1
        _forget_after_checkpoint(trial)

    def _on_trial_exploited(self, event: Event) -> None:
        trial, source = self.trials[event["trial"]], self.trials[event["source"]]
        trial.takeovers.append(Takeover(source.id, event["rung"], trial.params))
        trial.params, trial.effective = event["params"], source.effective
        trial.checkpoint = _checkpoint(event)
        trial.kept_reports = len(trial.reports)
        trial.due = True

    def _on_trial_effective(self, event: Event) -> None:
        self.trials[event["trial"]].effective = event["effective"]

    def _on_report(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        report = _report(event)
        trial.reports.append(report)
        if report.checkpoint is not None:
            trial.checkpoint = report.checkpoint
            trial.losses_here = 0
        value = report.metrics.get(self.reported_metric, math.nan)
        if report.rung is not None and math.isfinite(value):
            trial.rung_values[report.rung] = value

    def _on_decision(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.decided_rung, trial.decision = event["rung"], Decision(event["decision"])
        # A stopped trial is ended by the event that follows, unless a crash comes between. After
        # one, a decision is made about a trial without a worker.
        if trial.decision is not Decision.CONTINUE:
            trial.status = Status.PAUSED
        elif trial.status is Status.PAUSED:
            trial.due = True

    def _on_sample(self, event: Event) -> None:
        self.trials[event["trial"]].samples[event["stage"]] = event["text"]

    def _on_trial_interrupted(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        self._requeue(trial)
        trial.checkpoint = _checkpoint(event) or trial.checkpoint

    def _on_batch_halved(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        self._requeue(trial)
        trial.is_halved = True

    def _on_segment_lost(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        self._requeue(trial)
        trial.losses += 1
        trial.losses_here += 1

    def _on_trial_ended(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.status, trial.due = Status.ENDED, False
        trial.outcome = Outcome(event["outcome"])
        trial.reason = event.get("reason") or ""
        trial.error = event.get("error") or ""
        trial.ended = event["time"]

    def _on_study_ended(self, event: Event) -> None:
        self.ended = event["reason"]


def rebuild(events: Iterable[Event]) -> StudyState:
    """The state after all of `events`."""
    state = StudyState()
    for event in events:
        state.apply(event)
    return state


def _report(event: Event) -> Report:
    metrics: Mapping[str, Any] = event["metrics"]
    return Report(
        step=event["step"],
        tokens=event["tokens"],
        fraction=event["fraction"],
        seconds=event["seconds"],
        metrics={name: float(value) for name, value in metrics.items()},
        rung=event.get("rung"),
        checkpoint=_checkpoint(event),
        system=event.get("system", {}),
        time=event["time"],
    )


def _checkpoint(event: Event) -> Checkpoint | None:
    name = event.get("checkpoint")
    return Checkpoint.parse(name) if name else None


def _forget_after_checkpoint(trial: TrialState) -> None:
    """Drops the reports after the last checkpoint: the trial repeats that work."""
    step = 0 if trial.checkpoint is None else trial.checkpoint.step
    kept, since = trial.reports[: trial.kept_reports], trial.reports[trial.kept_reports :]
    trial.reports = kept + [report for report in since if report.step <= step]
