"""Whether this process can still use its GPU."""

from __future__ import annotations

import torch


class DeviceLost(RuntimeError):
    """A failed assertion or memory fault on the GPU broke this process's CUDA context for good."""


def check_device() -> None:
    """Checks that no earlier trial of this process broke its CUDA context.

    Raises:
        DeviceLost: this process cannot compute on the GPU any more; a new process can.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        raise DeviceLost(f"an earlier trial left the GPU unusable: {error}") from error
