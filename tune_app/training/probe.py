"""Which choices cannot run, or only absurdly, on the machine this is called on.

Each probe really does the thing once, on a toy: an optimiser takes a step, a dtype multiplies, a
compiler compiles.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from tune_app.errors import nearest
from tune_app.training.arguments import training_arguments, use_cpu
from tune_app.training.optimizers import APEX_FUSED, names, own_class

ABSURD = 4.0
"""A precision that is this many times slower than float32 is no choice."""


def why_not(parameter: str, value: Any, accelerator: str) -> str | None:
    """Why this value of a training argument cannot run here, None if it can."""
    probe = PROBES.get(parameter)
    return probe(value, accelerator) if probe else _refusal(parameter, value, accelerator)


def _refusal(parameter: str, value: Any, accelerator: str) -> str | None:
    """What transformers has against a value that is given alone."""
    try:
        _arguments(tempfile.gettempdir(), accelerator, **{parameter: value})
    except (ImportError, TypeError, ValueError) as error:
        return _last_line(error)
    return None


def _optim(value: Any, accelerator: str) -> str | None:
    if value not in names():
        return f"transformers has no such optimiser; {nearest(str(value), names())}"
    device = "cpu" if use_cpu(accelerator) else "cuda"
    model = torch.nn.Linear(4, 4).to(device)
    with tempfile.TemporaryDirectory() as folder:
        args = _arguments(folder, accelerator, optim=value)
    try:
        cls, options = own_class(value, args) or Trainer.get_optimizer_cls_and_kwargs(args)
        optimizer = cls(model.parameters(), **options)
        model(torch.ones(1, 4, device=device)).sum().backward()
        optimizer.step()
    except Exception as error:
        # Optimisers refuse in many ways, and each of them means the same here.
        missing = value == APEX_FUSED and isinstance(error, ImportError)
        return "NVIDIA apex is not installed" if missing else f"{type(error).__name__}: {error}"
    return None


def _bf16(value: Any, accelerator: str) -> str | None:
    if not value:
        return None
    if not use_cpu(accelerator):
        return None if torch.cuda.is_bf16_supported() else "this GPU has no bfloat16"
    slower = _seconds(torch.bfloat16) / _seconds(torch.float32)
    return None if slower < ABSURD else f"{slower:.0f} times slower than float32 on this CPU"


def _fp16(value: Any, accelerator: str) -> str | None:
    if not value or not use_cpu(accelerator):
        return None
    return "mixed precision in float16 needs a GPU"


def _torch_compile(value: Any, accelerator: str) -> str | None:
    if not value:
        return None
    device = "cpu" if use_cpu(accelerator) else "cuda"
    try:
        model = torch.compile(torch.nn.Linear(8, 8).to(device))
        model(torch.ones(2, 8, device=device)).sum().backward()
    except Exception as error:
        # A missing compiler shows as any of a dozen errors of torch's own.
        return f"does not compile: {_last_line(error)}"
    finally:
        torch._dynamo.reset()
    return None


PROBES: dict[str, Callable[[Any, str], str | None]] = {
    "optim": _optim,
    "bf16": _bf16,
    "fp16": _fp16,
    "torch_compile": _torch_compile,
}


def _arguments(folder: str, accelerator: str, **asked: Any) -> TrainingArguments:
    from pathlib import Path

    return training_arguments(
        asked, output_dir=Path(folder), max_steps=1, seed=0, accelerator=accelerator
    )


def _seconds(dtype: torch.dtype, size: int = 512) -> float:
    """The fastest of a few matrix products, in seconds."""
    left = torch.ones(size, size, dtype=dtype)
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        left @ left
        times.append(time.perf_counter() - begin)
    return min(times)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
