"""The words for one trial: what it is, what it reports, how it can end."""

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
    """A saved state of a trial, by the optimiser step that it was saved after."""

    trial: str
    step: int

    @classmethod
    def parse(cls, name: str) -> Checkpoint:
        """From its name, which cannot lead out of the study's folder.

        Raises:
            ValueError: it is no name of a checkpoint.
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
    """How a trial ended. Each means something different to searcher and reader."""

    COMPLETED = "completed"
    """Reached its full budget."""
    STOPPED = "stopped"
    """Ended early by the scheduler; its last value is not a final one."""
    DIVERGED = "diverged"
    """Its loss became NaN or infinite, or exploded."""
    OUT_OF_MEMORY = "out_of_memory"
    """Did not fit on its worker."""
    FAILED = "failed"
    """The trainable raised, or what ran was not what was asked for."""
    LOST = "lost"
    """Its worker was lost more often than is retried; says nothing about the values."""
    CANCELLED = "cancelled"
    """Ended by a person or with its study; says nothing about the values."""


class Status(StrEnum):
    """Where a trial stands now."""

    RUNNING = "running"
    PAUSED = "paused"
    """Has a checkpoint and no worker: waits for a promotion or for a resume."""
    ENDED = "ended"


class Decision(StrEnum):
    """What a scheduler answers to a report at a rung."""

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
    """What the worker used, see `training.system`."""
    time: float = 0.0
    """When it was written, Unix seconds."""

    @property
    def evaluation(self) -> list[str]:
        """The names of what an evaluation reports in it, sorted."""
        return sorted(name for name in self.metrics if name.startswith("eval_"))

    @property
    def is_evaluation(self) -> bool:
        """Whether it comes from an evaluation, which there is one of at each rung."""
        return self.rung is not None or bool(self.evaluation)


@dataclass(frozen=True, slots=True)
class Takeover:
    """A trial went on from the checkpoint of another one, with other values."""

    source: str
    rung: int
    params: Params
    """The trial's own values until then."""


@dataclass(slots=True)
class TrialState:
    """All that the journal says of one trial."""

    id: str
    number: int
    kind: Kind
    params: dict[str, Any]
    created: float
    bracket: int = 0
    """Trials compete with those of their own bracket."""
    status: Status = Status.PAUSED
    outcome: Outcome | None = None
    reason: str = ""
    error: str = ""
    segments: int = 0
    losses: int = 0
    """Workers lost."""
    losses_here: int = 0
    """The same since its last checkpoint."""
    is_halved: bool = False
    """It ran out of memory: since then with half the micro-batch and twice the accumulation."""
    ended: float | None = None
    effective: dict[str, Any] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    rung_values: dict[int, float] = field(default_factory=dict)
    """The objective at each rung, where it was finite."""
    decided_rung: int | None = None
    """The last rung the scheduler has answered for."""
    decision: Decision | None = None
    """What it answered."""
    samples: dict[str, str] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    takeovers: list[Takeover] = field(default_factory=list)
    """Each change of values on the way, oldest first; `params` are the present ones."""
    kept_reports: int = 0
    """So many of its reports are from before the last takeover: no loss takes them back."""
    due: bool = False
    """Wants a worker before anything else: it was interrupted, lost or just created."""

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
