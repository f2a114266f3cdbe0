"""Training arguments that all trainables of this folder have, with one set of defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Values that are handed on to `TrainingArguments` under the same names."""

    learning_rate: float = 5e-4
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    lr_scheduler_type: str = "linear"
    warmup_steps: float = 0
    """Steps, or a fraction of all steps if below 1."""
    optim: str = "adamw_torch"
    bf16: bool = False
    torch_compile: bool = False
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
