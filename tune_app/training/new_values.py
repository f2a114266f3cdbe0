"""Lets a trial resume from a checkpoint with other values, e.g. another learning rate.

A checkpoint holds the settings of optimiser and schedule besides their state. Loading it restores
both: a changed learning rate or weight decay would silently have no effect.
"""

from __future__ import annotations

from typing import Any

from transformers import Trainer

SETTINGS = ("lr", "initial_lr", "weight_decay", "betas", "eps", "momentum")
"""The keys of an optimiser's parameter group that are settings; the others are state."""


def keep_own_settings(trainer: Trainer) -> None:
    """Makes the trainer restore the settings of its own arguments after it loads a checkpoint."""
    load = trainer._load_optimizer_and_scheduler

    def load_and_keep(checkpoint: str | None) -> None:
        own = [_settings(group) for group in trainer.optimizer.param_groups]
        rates = list(getattr(trainer.lr_scheduler, "base_lrs", []))
        load(checkpoint)
        for group, settings in zip(trainer.optimizer.param_groups, own, strict=True):
            group.update(settings)
        if rates:
            _set_rates(trainer, rates)

    trainer._load_optimizer_and_scheduler = load_and_keep


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in SETTINGS if name in group}


def _set_rates(trainer: Trainer, rates: list[float]) -> None:
    """The schedule continues at the checkpoint's step, with `rates` as its peak learning rates."""
    schedule = trainer.lr_scheduler
    before, schedule.base_lrs = schedule.base_lrs, rates
    shapes = getattr(schedule, "lr_lambdas", None)
    for index, group in enumerate(trainer.optimizer.param_groups):
        if shapes is not None:
            group["lr"] = rates[index] * shapes[index](schedule.last_epoch)
        else:
            group["lr"] = schedule._last_lr[index] * rates[index] / before[index]
    schedule._last_lr = [group["lr"] for group in trainer.optimizer.param_groups]
