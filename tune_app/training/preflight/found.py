"""What preflight finds on a worker, as plain data for the driver, which knows no torch."""

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
    """What came of trying one value."""

    parameter: str
    value: Any
    reason: str | None
    """Why it cannot run here, None if it can."""
    speed: float | None = None
    """A precision's speed as a multiple of float32's."""
    seconds: float | None = None
    """What the first use costs, of a compiler."""


@dataclass(frozen=True, slots=True)
class Impossible:
    """A value of the space that cannot run."""

    parameter: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of a study once its data is ready."""

    baseline: Mapping[str, Any]
    """The untuned defaults of the searched parameters."""
    data: Mapping[str, Any]
    """Facts of the trainable's data."""
    beliefs: Mapping[str, Belief]
    """The study's prior, with what only the model and the budget tell."""
    budget: Budget
    """With `fewest_steps` where they can be known."""
    rungs: tuple[float, ...]
    """The scheduler's, for this budget."""
    notes: tuple[str, ...] = ()
    """What a person should know."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A line for the person who waits."""

    line: str


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """All that was tried, and what of the space cannot run."""

    impossible: tuple[Impossible, ...]
    probed: tuple[Probed, ...] = ()


@dataclass(frozen=True, slots=True)
class ProfilingPlan:
    """How many configurations tell the cost of a space, and how many of them are measured."""

    configurations: int
    measured: int


@dataclass(frozen=True, slots=True)
class LargestBatch:
    """The largest micro-batch that fits into memory."""

    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The problems that end preflight, with the traceback of what was raised."""

    problems: tuple[Problem, ...] = field(default_factory=tuple)
    traceback: str = ""


Message = Progress | ProbeResults | Findings | ProfilingPlan | Profile | LargestBatch | Refused
"""What a worker sends before the first trial."""
