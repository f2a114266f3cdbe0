"""Parameters that are inert because of another one, or that contradict each other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer

from tune_app.errors import Problem
from tune_app.space.domains import Domain, Fixed
from tune_app.training.arguments import training_arguments
from tune_app.training.optimizers import own_class
from tune_app.training.preflight.values import ends
from tune_app.training.trainable import Trainable

OPTIMIZER_OPTIONS = ("adam_beta1", "adam_beta2", "adam_epsilon", "optim_args")
"""Options that not every optimiser takes; transformers decides which."""


def contradictions(space: Mapping[str, Domain]) -> list[Problem]:
    """Fixed values with which no trial can start."""
    both = all(_only(space, name, True) for name in ("bf16", "fp16"))
    what = "bf16 and fp16 cannot both be true"
    return [Problem(what, "parameters.fp16", fix="leave one of them out")] if both else []


def findings(loaded: Trainable, space: Mapping[str, Domain], accelerator: str) -> list[str]:
    """Notes on the inert parameters and contradictory values of a space."""
    return [
        *_clashes(space),
        *_compile(loaded, space),
        *_clipping(space),
        *_checkpointing(loaded, space),
        *_optimizer_options(loaded, space, accelerator),
    ]


def _values(loaded: Trainable, space: Mapping[str, Domain], name: str) -> list[Any]:
    return list(ends(space[name])) if name in space else [loaded.default(name)]


def _only(space: Mapping[str, Domain], name: str, value: Any) -> bool:
    domain = space.get(name)
    return isinstance(domain, Fixed) and domain.value is value


def _clashes(space: Mapping[str, Domain]) -> list[str]:
    if not all(name in space and True in ends(space[name]) for name in ("bf16", "fp16")):
        return []
    return ["bf16 and fp16: trials that draw true for both would fail"]


def _compile(loaded: Trainable, space: Mapping[str, Domain]) -> list[str]:
    """Values for which transformers compiles although `torch_compile` is false."""
    if False not in _values(loaded, space, "torch_compile"):
        return []
    switches = [
        name
        for name in ("torch_compile_backend", "torch_compile_mode")
        if any(value is not None for value in _values(loaded, space, name))
    ]
    return [
        f"{name} turns compiling on even where torch_compile is false: those trials would fail, "
        "as they run other than asked"
        for name in switches
    ]


def _clipping(space: Mapping[str, Domain]) -> list[str]:
    if "max_grad_norm" not in space:
        return []
    off = [value for value in ends(space["max_grad_norm"]) if value is not None and value <= 0]
    if not off:
        return []
    values = ", ".join(f"{value:g}" for value in off)
    many = ": they give the same run" if len(off) > 1 else ""
    return [f"max_grad_norm {values} clips no gradients{many}"]


def _checkpointing(loaded: Trainable, space: Mapping[str, Domain]) -> list[str]:
    name, switch = "gradient_checkpointing_kwargs", "gradient_checkpointing"
    if name not in space or any(_values(loaded, space, switch)):
        return []
    return [f"{name} changes nothing: {switch} is false"]


def _optimizer_options(
    loaded: Trainable, space: Mapping[str, Domain], accelerator: str
) -> list[str]:
    optims = [str(value) for value in _values(loaded, space, "optim")]
    lines = []
    for name in OPTIMIZER_OPTIONS:
        values = _values(loaded, space, name)
        values += [loaded.default(name)] if len(values) == 1 else []
        if name not in space or all(value == values[0] for value in values):
            continue
        idle = [optim for optim in optims if _is_idle(optim, name, values, accelerator)]
        if idle:
            lines.append(f"{name} changes nothing with optim {', '.join(idle)}")
    return lines


def _is_idle(optim: str, name: str, values: list[Any], accelerator: str) -> bool:
    """Whether an optimiser gets equal options for all values; False if it cannot be built."""
    seen = set()
    with tempfile.TemporaryDirectory() as folder:
        for value in values:
            try:
                args = training_arguments(
                    {"optim": optim, name: value},
                    output_dir=Path(folder),
                    max_steps=1,
                    seed=0,
                    accelerator=accelerator,
                )
                built = own_class(optim, args) or Trainer.get_optimizer_cls_and_kwargs(args)
            except Exception:
                # The probe reports the reason.
                return False
            seen.add(repr(built))
    return len(seen) == 1
