"""The state of one trial: its values, reports, checkpoint and outcome."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Params = Mapping[str, Any]


_CHECKPOINT = re.compile(r"checkpoints/([0-9]{1,18})/step-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state of a trial; `step` is the optimiser step after which it was saved."""

    trial: str
    step: int

    @classmethod
    def parse(cls, name: str) -> Checkpoint:
        """Parses a name; a valid one cannot lead out of the study's folder.

        Raises:
            ValueError: it is not the name of a checkpoint.
        """
        match = _CHECKPOINT.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is no checkpoints/TRIAL/step-N")
        return cls(match[1], int(match[2]))

    @property
    def name(self) -> str:
        """The path of its folder, relative to the study's."""
        return f"checkpoints/{self.trial}/step-{self.step}"


class Outcome(StrEnum):
    """How a trial ended."""

    COMPLETED = "completed"
    """Reached its full budget."""
    STOPPED = "stopped"
    """Ended early by the scheduler; its last value is not a final one."""
    DIVERGED = "diverged"
    """Its loss became NaN or infinite, or exploded."""
    OUT_OF_MEMORY = "out_of_memory"
    """Did not fit on its worker."""
    FAILED = "failed"
    """The trainable raised, or the run did not match the task."""
    LOST = "lost"
    """It lost more workers than the retries allow; says nothing about the values."""
    CANCELLED = "cancelled"
    """Ended by the user or with its study; says nothing about the values."""


class Status(StrEnum):
    """The current status of a trial."""

    RUNNING = "running"
    PAUSED = "paused"
    """Has a checkpoint and no worker: waits for a promotion or for a resume."""
    ENDED = "ended"


class Decision(StrEnum):
    """A scheduler's answer to a report at a rung."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Kind(StrEnum):
    """Where a trial's values come from."""

    BASELINE = "baseline"
    """The trainable's own defaults, untuned; always runs to the full budget."""
    SEARCH = "search"


@dataclass(frozen=True, slots=True)
class Report:
    """One measurement of a running trial.

    `fraction` is the share of the budget that is spent, in (0, 1]; `tokens` are training
    tokens since the trial's start; `seconds` is training time without waiting.
    """

    step: int
    tokens: int
    fraction: float
    seconds: float
    metrics: Mapping[str, float]
    rung: int | None = None
    checkpoint: Checkpoint | None = None
    system: Mapping[str, float] = field(default_factory=dict)
    """Resource use of the worker, see `training.system`."""
    time: float = 0.0
    """When the driver wrote it to the journal, Unix seconds."""

    @property
    def evaluation(self) -> list[str]:
        """The sorted names of its metrics that come from an evaluation (`eval_...`)."""
        return sorted(name for name in self.metrics if name.startswith("eval_"))

    @property
    def is_evaluation(self) -> bool:
        """Whether it comes from an evaluation; each rung has one."""
        return self.rung is not None or bool(self.evaluation)


@dataclass(frozen=True, slots=True)
class Takeover:
    """A trial continued from the checkpoint of trial `source` with other values."""

    source: str
    rung: int
    params: Params
    """The trial's values before the takeover."""


@dataclass(slots=True)
class TrialState:
    """The state of one trial, folded from the journal."""

    id: str
    number: int
    kind: Kind
    params: dict[str, Any]
    created: float
    bracket: int = 0
    """Trials compete within their bracket only."""
    status: Status = Status.PAUSED
    outcome: Outcome | None = None
    reason: str = ""
    error: str = ""
    segments: int = 0
    losses: int = 0
    """The number of workers lost."""
    losses_here: int = 0
    """The number of workers lost since the last checkpoint."""
    is_halved: bool = False
    """It ran out of memory and now uses half the micro-batch and twice the accumulation."""
    ended: float | None = None
    effective: dict[str, Any] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    rung_values: dict[int, float] = field(default_factory=dict)
    """The objective at each rung, where it was finite."""
    decided_rung: int | None = None
    """The last rung the scheduler has answered for."""
    decision: Decision | None = None
    """The scheduler's answer at `decided_rung`."""
    samples: dict[str, str] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    takeovers: list[Takeover] = field(default_factory=list)
    """Takeovers, oldest first; `params` are the values since the last one."""
    kept_reports: int = 0
    """The number of reports before the last takeover; a lost worker does not remove them."""
    due: bool = False
    """Gets the next free worker: it was interrupted, lost its worker or was just created."""

    @property
    def tokens(self) -> int:
        """Training tokens seen so far."""
        return self.reports[-1].tokens if self.reports else 0

    @property
    def fraction(self) -> float:
        """Share of the budget spent so far, 0 to 1."""
        return self.reports[-1].fraction if self.reports else 0.0

    @property
    def seconds(self) -> float:
        """Training seconds so far."""
        return self.reports[-1].seconds if self.reports else 0.0

    @property
    def top_rung(self) -> int | None:
        """The highest rung with a value, None before the first."""
        return max(self.rung_values, default=None)

    @property
    def open_rung(self) -> int | None:
        """The rung of the newest report if the scheduler has yet to answer for it."""
        rung = self.reports[-1].rung if self.reports else None
        return None if rung == self.decided_rung else rung

    def latest(self, metric: str) -> float | None:
        """The newest reported value of `metric`, None if there is none."""
        for report in reversed(self.reports):
            if metric in report.metrics:
                return report.metrics[metric]
        return None
