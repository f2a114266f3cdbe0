"""Finds values that cannot run on this machine, or only far too slowly.

Each probe tries the value once on a toy model: a step of the optimiser, a matrix product in the
dtype, a compilation, a forward and backward pass with the attention.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from tune_app.errors import nearest
from tune_app.training.arguments import training_arguments, use_cpu
from tune_app.training.optimizers import APEX_FUSED, names, own_class
from tune_app.training.preflight.messages import Probed

ABSURD = 4.0
"""A precision that is this many times slower than float32 counts as impossible."""


Timer = Callable[[torch.dtype, str], float]
"""Seconds that a matrix product takes in a dtype on a device."""


def examine(parameter: str, value: Any, accelerator: str, timer: Timer | None = None) -> Probed:
    """Tries one value of a parameter."""
    timer = timer or seconds_of_product
    device = "cpu" if use_cpu(accelerator) else "cuda"
    if parameter in PRECISIONS and value:
        return _precision(parameter, value, device, timer)
    if parameter == "torch_compile" and value:
        return _compiled(value, device)
    if parameter == "attn_implementation":
        return Probed(parameter, value, _attention(value, device))
    if parameter == "optim":
        return Probed(parameter, value, _optim(value, accelerator))
    return Probed(parameter, value, _refusal(parameter, value, accelerator))


def _refusal(parameter: str, value: Any, accelerator: str) -> str | None:
    """Why `TrainingArguments` refuses this value on its own, None if it does not."""
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
    except (Exception, SystemExit) as error:
        # Optimisers raise many kinds of exception; each means that this one cannot run.
        return _apex(error) if value == APEX_FUSED else f"{type(error).__name__}: {error}"
    return None


def _apex(error: BaseException) -> str:
    """Distinguishes a missing apex from an unusable one: another package has the same name."""
    if isinstance(error, ModuleNotFoundError) and error.name == "apex":
        return "NVIDIA apex is not installed"
    message = f"{type(error).__name__}: {error}"
    return f"the apex that is installed is broken, or not NVIDIA's ({message})"


PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _precision(parameter: str, value: Any, device: str, timer: Timer) -> Probed:
    """Whether a precision runs, and how fast: a supported dtype may still be emulated."""
    reason, speed = None, None
    try:
        plain, dtype = timer(torch.float32, device), PRECISIONS[parameter]
        speed = plain / timer(dtype, device)
    except RuntimeError as error:
        reason = _last_line(error)
    where = "this CPU" if device == "cpu" else "this GPU"
    if parameter == "fp16" and device == "cpu":
        reason = "mixed precision in float16 needs a GPU"
    elif parameter == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        reason = "this GPU has no bfloat16"
    elif speed is not None and speed * ABSURD <= 1:
        reason = f"{1 / speed:.0f} times slower than float32 on {where}"
    return Probed(parameter, value, reason, speed=speed)


def _compiled(value: Any, device: str) -> Probed:
    begin = time.perf_counter()
    try:
        model = torch.compile(torch.nn.Linear(8, 8).to(device))
        model(torch.ones(2, 8, device=device)).sum().backward()
    except Exception as error:
        # torch raises one of a dozen exceptions if a compiler is missing.
        return Probed("torch_compile", value, f"does not compile: {_last_line(error)}")
    finally:
        torch._dynamo.reset()
    return Probed("torch_compile", value, None, seconds=time.perf_counter() - begin)


def _attention(value: Any, device: str) -> str | None:
    """Why a small GPT-2 cannot use this attention; on a GPU in bfloat16, for the flash kernels."""
    sizes = {"n_positions": 16, "n_embd": 64, "n_layer": 1, "n_head": 1, "vocab_size": 32}
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    try:
        config = GPT2Config(**sizes, attn_implementation=value, bos_token_id=0, eos_token_id=0)
        model = GPT2LMHeadModel(config).to(device=device, dtype=dtype)
        model(torch.ones(1, 16, dtype=torch.long, device=device)).logits.sum().backward()
    except Exception as error:
        # Missing kernels raise many kinds of exception.
        return _last_line(error)
    return None


def _arguments(folder: str, accelerator: str, **asked: Any) -> TrainingArguments:
    return training_arguments(
        asked, output_dir=Path(folder), max_steps=1, seed=0, accelerator=accelerator
    )


def seconds_of_product(dtype: torch.dtype, device: str) -> float:
    """The fastest of a few matrix products, in seconds."""
    size = 512 if device == "cpu" else 4096
    left = torch.ones(size, size, dtype=dtype, device=device)
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        left @ left
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
