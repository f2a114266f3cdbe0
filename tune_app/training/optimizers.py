"""Optimisers by the names that users write, including one that transformers has dropped."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer, TrainingArguments
from transformers.training_args import OptimizerNames

APEX_FUSED = "adamw_apex_fused"
"""NVIDIA apex's FusedAdam in AdamW mode; transformers 5 dropped the name."""

OptimizerClass = tuple[type[torch.optim.Optimizer], dict[str, Any]]


def names() -> list[str]:
    """Every value that `optim` may have."""
    return sorted({APEX_FUSED, *(member.value for member in OptimizerNames)})


def as_argument(optim: str) -> str:
    """The value for `TrainingArguments.optim`; a stand-in for those that `own_class` builds."""
    return OptimizerNames.ADAMW_TORCH.value if optim == APEX_FUSED else optim


def own_class(optim: str, args: TrainingArguments) -> OptimizerClass | None:
    """Class and arguments of an optimiser that transformers cannot build; None if it can.

    Raises:
        ImportError: apex is not installed, or `apex` is not NVIDIA's.
    """
    if optim != APEX_FUSED:
        return None
    from apex.optimizers import FusedAdam

    options = {
        "lr": args.learning_rate,
        "betas": (args.adam_beta1, args.adam_beta2),
        "eps": args.adam_epsilon,
        "adam_w_mode": True,
    }
    return FusedAdam, options


def expected_class(optim: str, trainer: Trainer) -> type[torch.optim.Optimizer]:
    """The class that the optimiser of a trial with this `optim` must have."""
    own = own_class(optim, trainer.args)
    if own is not None:
        return own[0]
    built: type[torch.optim.Optimizer] = Trainer.get_optimizer_cls_and_kwargs(
        trainer.args, trainer.model
    )[0]
    return built
