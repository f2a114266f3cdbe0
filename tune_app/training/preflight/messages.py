"""Messages of preflight from a worker to the driver: plain data, as the driver has no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_app.core.definition import Budget
from tune_app.errors import Problem
from tune_app.simulation.profile import Profile
from tune_app.space.prior import Belief


@dataclass(frozen=True, slots=True)
class Probed:
    """The result of one probe."""

    parameter: str
    value: Any
    reason: str | None
    """Why it cannot run here, None if it can."""
    speed: float | None = None
    """For a precision: its speed as a multiple of float32's."""
    seconds: float | None = None
    """For a compiler: seconds that the first use takes."""


@dataclass(frozen=True, slots=True)
class Impossible:
    """A value of the space that cannot run."""

    parameter: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Facts of a study that are known once its data is ready."""

    baseline: Mapping[str, Any]
    """The untuned defaults of the searched parameters."""
    data: Mapping[str, Any]
    """Facts of the trainable's data."""
    beliefs: Mapping[str, Belief]
    """The study's prior, completed with Step Law where the study asks for it."""
    budget: Budget
    """With `fewest_steps`, except for a budget in seconds."""
    rungs: tuple[float, ...]
    """The scheduler's rungs for this budget, as fractions of it."""
    notes: tuple[str, ...] = ()
    """Lines for the user."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A line about progress for the user."""

    line: str


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """All probes, and the values of the space that cannot run."""

    impossible: tuple[Impossible, ...]
    probed: tuple[Probed, ...] = ()


@dataclass(frozen=True, slots=True)
class ProfilingPlan:
    """How many profiling configurations a space has, and how many of them are measured."""

    configurations: int
    measured: int


@dataclass(frozen=True, slots=True)
class LargestBatch:
    """The largest micro-batch that fits into memory, in examples."""

    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The problems that end preflight, with the traceback of the exception."""

    problems: tuple[Problem, ...] = field(default_factory=tuple)
    traceback: str = ""


Message = Progress | ProbeResults | Findings | ProfilingPlan | Profile | LargestBatch | Refused
"""Everything that a worker sends before the first trial."""
