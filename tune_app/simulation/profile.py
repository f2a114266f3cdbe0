"""Measurements of one profiling configuration, as plain data without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Profile:
    """Speed and memory of one configuration of a space."""

    params: dict[str, Any]
    """Values of the searched parameters."""
    costly: list[str]
    """Names of the parameters that determine the cost of a step."""
    error: str = ""
    """Why it did not run; nothing else is measured then."""
    counts: dict[str, int] = field(default_factory=dict)
    """Micro-batch and accumulation, by parameter."""
    tokens_per_s: float = 0.0
    tokens_per_step: int = 0
    tokens_per_sample: int = 0
    epoch_tokens: int = 0
    start_s: float = 0.0
    """Opening the data, building the model, and the extra time of the first step (compiling)."""
    evaluation_s: float = 0.0
    peak_bytes: int = 0
    """Peak of allocated GPU memory; on a CPU the growth of the process."""
    parameters: int = 0
    checkpoint_bytes: int = 0
