"""Memory of a worker: recognises out-of-memory errors, halves the batch, releases memory."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Mapping
from typing import Any

import torch

from tune_app.budget import ACCUMULATION, MICRO_BATCH
from tune_app.training.trainable import Trainable

MEMORY_SIGNS = re.compile(
    r"can't allocate memory"
    r"|(CUDA|CUDA driver|HIP) error: out of memory"
    r"|Triton Error \[CUDA\]: out of memory"
    r"|Cuda failure \d+ 'out of memory'"
    r"|CU[A-Z]+_STATUS_ALLOC_FAILED"
)
"""Out-of-memory messages of a plain RuntimeError, where torch has no exception class: of the host's
allocator, the driver, Triton, NCCL, cuBLAS, cuDNN and the like."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the trial did not fit, on a GPU or on the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and MEMORY_SIGNS.search(str(error)) is not None


def halved(loaded: Trainable, params: Mapping[str, Any]) -> dict[str, int] | None:
    """Half the micro-batch, twice the accumulation: the same step. None for an odd micro-batch."""
    asked = {**loaded.argument_fields, **loaded.arguments(params)}
    size, accumulation = (asked[name] for name in (MICRO_BATCH, ACCUMULATION))
    return None if size % 2 else {MICRO_BATCH: size // 2, ACCUMULATION: 2 * accumulation}


def release_memory() -> None:
    """Gives freed memory back to the GPU's and the system's allocators."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
