"""The contracts of what can be plugged in. One file in its folder is one plug-in.

A module under `tune_app/searchers`, `tune_app/schedulers` or `tune_app/trackers` offers a function
`create` that returns an object of these shapes:

    create(space: Space, seed: int, *, options...) -> Searcher
    create(context: SchedulerContext, *, options...) -> Scheduler
    create(folder: Path, *, options...) -> Tracker

The keyword-only arguments are the plug-in's options, as a study file names them.
`trainables/*` offer `Config`, `prepare`, `build` (see `tune_app.training.trainable`).
tests/contracts holds every plug-in found to its contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, TrialState


class Searcher(Protocol):
    """Proposes values. Keeps no state of its own: the study's state is its memory."""

    @property
    def learns_from_history(self) -> bool:
        """Whether the values of trials, and earlier runs (`warm_start`), change what it proposes.

        How far a prior is trusted does not count. A class attribute will do; a searcher without
        one counts as one that learns.
        """
        ...

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        """Values for trial `number`, or None when there is nothing left to propose.

        The same state, number and seed give the same values, in any process.
        """
        ...


def learns_from_history(searcher: object) -> bool:
    """What a searcher says of itself; one of a user's own need not."""
    return bool(getattr(searcher, "learns_from_history", True))


@dataclass(frozen=True, slots=True)
class SchedulerContext:
    """What of a study a scheduler may depend on, beside its own options."""

    trials: int
    """That there will be at most."""
    fewest_steps: float | None
    """Optimiser steps of the shortest trial; None until they are known, once the data is."""
    parameters: frozenset[str]
    """The names of all in the space, the fixed ones included."""


class Scheduler(Protocol):
    """Decides who goes on. Keeps no state of its own: rungs are read off the study's state."""

    @property
    def rungs(self) -> tuple[float, ...]:
        """Shares of the budget at which trials are compared, ascending, the last one 1.0."""
        ...

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """What happens to a trial that has just reported at a rung below the last."""
        ...

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        """The paused trial to run on now, if any; `draining` when nothing runs and none is new."""
        ...

    def hopeless(self, state: StudyState) -> list[TrialState]:
        """Paused trials that can never be promoted any more."""
        ...


@runtime_checkable
class Bracketed(Protocol):
    """A scheduler whose trials compete in several brackets; without it all are in bracket 0."""

    def bracket(self, number: int) -> int:
        """The bracket of trial `number`, asked once, when it is created."""
        ...


@dataclass(frozen=True, slots=True)
class Exploit:
    """A trial is to go on from another one's checkpoint, with these values."""

    source: TrialState
    params: dict[str, Any]


@runtime_checkable
class Exploiting(Protocol):
    """A scheduler whose paused trials may take over from others when they run on."""

    def exploit(self, state: StudyState, trial: TrialState) -> Exploit | None:
        """What a trial that `promote` has just named takes over, if anything."""
        ...


class Tracker(Protocol):
    """Shows or mirrors a study; never decides anything and never delays it.

    It runs in the driver, between a trial's report and the answer to it. So it must not block: what
    waits for a network or for another program belongs into a thread or a process of its own, as
    `trackers/wandb.py` has one. What it raises is told the person once, as a warning; it is told no
    further events until the study is resumed, and costs the study nothing. What its `create` raises
    stops the study before it begins.
    """

    def on_event(self, event: Event, state: StudyState) -> None:
        """Called once after each event is in the journal and in `state`; changes neither.

        The first event of a session is `study_started`, or `study_resumed` with all that was before
        it in `state`.
        """
        ...

    def close(self, timeout_s: float) -> None:
        """Finishes what it can within `timeout_s`; called even where `on_event` has raised."""
        ...


class CheckpointKeeper(Protocol):
    """Deletes the checkpoints that nothing needs any more. What it raises ends the session."""

    def on_event(self, event: Event, state: StudyState) -> None:
        """Called after each event is in the journal and in `state`, before any tracker.

        Raises:
            UserError: the checkpoints that are needed do not fit.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalPaths:
    """Where a segment finds its files on this machine."""

    checkpoints: Path
    """A folder for the trial's checkpoints while they are written."""
    cache: Path
    """For what can be made or fetched again."""
    checkpoint: Path | None = None
    """The checkpoint that the segment goes on from, None for the trial's start."""


class TrialContext(Protocol):
    """The worker's line to the driver, as a training run sees it."""

    @property
    def paths(self) -> LocalPaths:
        """Where its files are."""
        ...

    def publish(self, folder: Path, step: int) -> str:
        """Makes a finished checkpoint durable, all at once; returns its name for the journal.

        Raises:
            StorageFailed: that cannot be done now; the trial is not to blame.
        """
        ...

    def send(self, event: str, **fields: Any) -> None:
        """Hands an event of this trial to the driver and waits for its answer.

        Raises:
            SystemExit: the driver wants this worker back.
        """
        ...

    def interrupted(self) -> bool:
        """Whether a person asked for the study to stop."""
        ...
