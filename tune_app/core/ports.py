"""The contracts of plug-ins. Each file in a plug-in folder is one plug-in.

A module under `tune_app/searchers`, `tune_app/schedulers` or `tune_app/trackers` offers a function
`create` with one of these signatures:

    create(space: Space, seed: int, *, options...) -> Searcher
    create(context: SchedulerContext, *, options...) -> Scheduler
    create(folder: Path, *, options...) -> Tracker

The keyword-only arguments are the plug-in's options, as a study file names them.
Modules in `trainables` offer `Config`, `prepare` and `build` (see `tune_app.training.trainable`).
The tests in tests/contracts check every installed plug-in against its contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, TrialState


class Searcher(Protocol):
    """Proposes values. It is stateless: all it knows of the past is the study's state."""

    @property
    def learns_from_history(self) -> bool:
        """Whether results of trials and earlier runs (`warm_start`) change its proposals.

        A prior whose weight depends on the number of trials does not count as learning. A class
        attribute suffices; a searcher without it is taken to learn.
        """
        ...

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        """Values for trial `number`, or None when there is nothing left to propose.

        The same state, number and seed give the same values, in any process.
        """
        ...


def learns_from_history(searcher: object) -> bool:
    """The property of a searcher, True where a user's own searcher does not define it."""
    return bool(getattr(searcher, "learns_from_history", True))


@dataclass(frozen=True, slots=True)
class SchedulerContext:
    """The facts about a study that a scheduler may depend on, besides its own options."""

    trials: int
    """The most trials that there will be."""
    fewest_steps: float | None
    """Optimiser steps of the shortest trial; None until preflight has read the data."""
    parameters: frozenset[str]
    """The names of all parameters of the space, fixed ones included."""


class Scheduler(Protocol):
    """Decides which trials continue. It is stateless: rungs are read from the study's state."""

    @property
    def rungs(self) -> tuple[float, ...]:
        """Shares of the budget at which trials are compared, ascending; the last one is 1.0."""
        ...

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """Whether a trial that has just reported at a rung below the last continues."""
        ...

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        """The paused trial to continue now, None for none.

        `draining` is True when no trial runs and no new trial can be started.
        """
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
    """A trial continues from the checkpoint of `source`, with the values `params`."""

    source: TrialState
    params: dict[str, Any]


@runtime_checkable
class Exploiting(Protocol):
    """A scheduler whose paused trials may take over the checkpoint of others on promotion."""

    def exploit(self, state: StudyState, trial: TrialState) -> Exploit | None:
        """What the trial that `promote` has just returned takes over, None for nothing."""
        ...


class Tracker(Protocol):
    """Shows or mirrors a study; it must not influence or delay the study.

    It runs in the driver, between a trial's report and the answer to it, so it must not block: work
    that waits for a network or for another program belongs in a separate thread or process, as in
    `trackers/wandb.py`. An exception in `on_event` is shown once as a warning; the tracker then
    gets no more events until the study is resumed, and the study continues. An exception in
    `create` stops the study before it begins.
    """

    def on_event(self, event: Event, state: StudyState) -> None:
        """Called once for each event, after it is in the journal and in `state`; changes neither.

        The first event of a session is `study_started`, or `study_resumed`; then `state` holds the
        events of all earlier sessions.
        """
        ...

    def close(self, timeout_s: float) -> None:
        """Finishes what it can within `timeout_s` seconds; also called if `on_event` has raised."""
        ...


class CheckpointKeeper(Protocol):
    """Deletes checkpoints that are no longer needed. An exception in it ends the session."""

    def on_event(self, event: Event, state: StudyState) -> None:
        """Called after each event is in the journal and in `state`, before any tracker.

        Raises:
            UserError: the checkpoints that are needed exceed the disk limit.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalPaths:
    """Where a segment finds its files on this machine."""

    checkpoints: Path
    """A folder for the trial's checkpoints while they are written."""
    cache: Path
    """A folder for files that can be rebuilt or downloaded again."""
    checkpoint: Path | None = None
    """The checkpoint to continue from; None at the trial's start."""


class TrialContext(Protocol):
    """The connection of a training run to the driver and to the study's storage."""

    @property
    def paths(self) -> LocalPaths:
        """Where the segment finds its files."""
        ...

    def publish(self, folder: Path, step: int) -> str:
        """Makes a finished checkpoint durable, all at once; returns its name for the journal.

        Raises:
            StorageFailed: the storage does not accept it; the trial is not the cause.
        """
        ...

    def send(self, event: str, **fields: Any) -> None:
        """Sends an event of this trial to the driver and waits for the answer.

        Raises:
            SystemExit: the driver ends this segment.
        """
        ...

    def interrupted(self) -> bool:
        """Whether the user has asked the study to stop."""
        ...
