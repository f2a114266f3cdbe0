"""Observes what really runs in a trial, and how that differs from what was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils import is_compiled_module
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer
from transformers.optimization import get_scheduler

from tune_app.budget import Epoch
from tune_app.training.optimizers import expected_class

LR_POINTS = 11
"""The learning rate is recorded at this many evenly spaced points of the horizon."""


def observe(trainer: Trainer, tokens_per_step: int) -> dict[str, Any]:
    """What runs, as plain JSON. Must be called during training, when everything is prepared.

    `tokens_per_step` counts the tokens of a full step: the last one of a pass may be shorter.
    """
    optimizer = _inner(trainer.optimizer, "optimizer")
    return {
        "optimizer": f"{type(optimizer).__module__}.{type(optimizer).__name__}",
        "autocast": autocast_dtype(trainer),
        "compiled": is_compiled_module(trainer.model_wrapped),
        "device": str(trainer.args.device),
        "parameters": sum(weights.numel() for weights in trainer.model.parameters()),
        "micro_batch": trainer.args.per_device_train_batch_size,
        "accumulation": trainer.args.gradient_accumulation_steps,
        "processes": trainer.args.world_size,
        "tokens_per_step": tokens_per_step,
        "max_steps": trainer.args.max_steps,
        "learning_rate": lr_curve(trainer),
    }


def differences(
    observed: Mapping[str, Any], asked: Mapping[str, Any], trainer: Trainer, epoch: Epoch
) -> list[str]:
    """One line for each difference between what runs and what was asked for."""
    optimizer = expected_class(asked.get("optim", "adamw_torch"), trainer)
    expected = {
        "optimizer": f"{optimizer.__module__}.{optimizer.__name__}",
        "autocast": _asked_dtype(asked),
        "compiled": bool(asked.get("torch_compile", False)),
        "processes": epoch.processes,
    }
    lines = [
        f"{name}: asked for {value}, runs {observed[name]}"
        for name, value in expected.items()
        if observed[name] != value
    ]
    curve = asked_curve(trainer, asked)
    if curve is not None and curve != observed["learning_rate"]:
        lines.append(f"learning_rate: asked for {curve}, runs {observed['learning_rate']}")
    return lines


def lr_curve(trainer: Trainer) -> list[float]:
    """The trial's learning rate at `LR_POINTS` evenly spaced points of its horizon."""
    schedule = _inner(trainer.lr_scheduler, "scheduler")
    if not isinstance(schedule, LambdaLR):
        return [float(group["lr"]) for group in trainer.optimizer.param_groups[:1]]
    return _curve(schedule, trainer.args.max_steps)


def asked_curve(trainer: Trainer, asked: Mapping[str, Any]) -> list[float] | None:
    """The curve of `lr_curve` that the values asked for give, from a schedule built only for this.

    None for schedules whose learning rate is not a function of the step alone.
    """
    args = trainer.args
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=float(asked.get("learning_rate", args.learning_rate)))
    warmup = asked.get("warmup_steps", args.warmup_steps)
    schedule = get_scheduler(
        asked.get("lr_scheduler_type", args.lr_scheduler_type),
        optimizer,
        num_warmup_steps=warm_up_steps(warmup, args.max_steps),
        num_training_steps=args.max_steps,
        scheduler_specific_kwargs=args.lr_scheduler_kwargs,
    )
    return _curve(schedule, args.max_steps) if isinstance(schedule, LambdaLR) else None


def warm_up_steps(warmup: float, max_steps: int) -> int:
    """`warmup_steps` in steps; a value below 1 is a fraction of `max_steps`, rounded up."""
    return int(warmup) if warmup >= 1 else math.ceil(warmup * max_steps)


def _curve(schedule: LambdaLR, max_steps: int) -> list[float]:
    base, shape = schedule.base_lrs[0], schedule.lr_lambdas[0]
    points = [round(max_steps * index / (LR_POINTS - 1)) for index in range(LR_POINTS)]
    return [float(f"{base * shape(point):.6g}") for point in points]


def autocast_dtype(trainer: Trainer) -> str | None:
    """The autocast dtype of the first layer during a forward pass, None without autocast.

    Runs one forward pass over one example; model mode and RNG state are restored.
    """
    model, device = trainer.model, trainer.args.device.type
    seen: list[str | None] = []

    def look(*_: Any) -> None:
        enabled = torch.is_autocast_enabled(device)
        seen.append(str(torch.get_autocast_dtype(device)).split(".")[-1] if enabled else None)

    # A hook on every layer, as not all are called: adapters keep the layers that they replace.
    layers = [module for module in model.modules() if not list(module.children())]
    handles = [layer.register_forward_hook(look) for layer in layers]
    training = model.training
    devices = [trainer.args.device] if device == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            model.eval()
            batch = trainer.data_collator([trainer.train_dataset[0]])
            model(**trainer._prepare_inputs(batch))
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    return seen[0] if seen else None


def _asked_dtype(asked: Mapping[str, Any]) -> str | None:
    if asked.get("bf16"):
        return "bfloat16"
    return "float16" if asked.get("fp16") else None


def _inner(wrapped: Any, attribute: str) -> Any:
    """Undoes accelerate's wrapper."""
    return getattr(wrapped, attribute, wrapped)
