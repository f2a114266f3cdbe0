"""A trial's `TrainingArguments`, built fresh: nothing is set on them after they are made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from tune_app.training.optimizers import as_argument
from tune_app.training.ranks import world_size

EVAL_BATCH_SIZE = 16
"""Examples of all processes together; the same for every trial, so that losses are comparable."""


def use_cpu(accelerator: str) -> bool:
    """Whether trials run on the CPU here."""
    return accelerator == "cpu" or not torch.cuda.is_available()


def training_arguments(
    asked: Mapping[str, Any], *, output_dir: Path, max_steps: int, seed: int, accelerator: str
) -> TrainingArguments:
    """The trial's own arguments `asked`, completed with those that the engine sets.

    Raises:
        ValueError, TypeError: transformers refuses a value.
    """
    on_cpu = use_cpu(accelerator)
    values = {
        "seed": seed,
        "dataloader_pin_memory": not on_cpu,
        **asked,
        "optim": as_argument(asked["optim"]) if "optim" in asked else "adamw_torch",
        "output_dir": str(output_dir),
        "max_steps": max_steps,
        "per_device_eval_batch_size": max(1, EVAL_BATCH_SIZE // world_size()),
        "dataloader_drop_last": True,
        "include_num_input_tokens_seen": "all",
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_strategy": "no",
        # A NaN loss must reach the report; transformers hides it by default.
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": on_cpu,
    }
    return TrainingArguments(**values)
