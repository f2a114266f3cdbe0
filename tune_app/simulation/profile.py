"""What a few real optimiser steps show of one configuration; knows nothing of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Profile:
    """Speed and memory of one configuration of a space."""

    params: dict[str, Any]
    """Of the searched parameters."""
    costly: list[str]
    """Those of them that decide what a step costs."""
    error: str = ""
    """Why it did not run; nothing else is known then."""
    counts: dict[str, int] = field(default_factory=dict)
    """Micro-batch and accumulation."""
    tokens_per_s: float = 0.0
    tokens_per_step: int = 0
    tokens_per_sample: int = 0
    epoch_tokens: int = 0
    start_s: float = 0.0
    """Opening the data, building the model and what the first step takes more: compiling."""
    evaluation_s: float = 0.0
    peak_bytes: int = 0
    """Allocated on the GPU; on a CPU what the process grew by."""
    parameters: int = 0
    checkpoint_bytes: int = 0
