"""Whether this process can still use its GPU."""

from __future__ import annotations

import torch


class DeviceLost(RuntimeError):
    """After one failed assertion or memory fault on a GPU every call of its process fails."""


def check_device() -> None:
    """Finds out what an earlier trial of this process has left behind.

    Raises:
        DeviceLost: nothing can be computed here any more; another process can.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        raise DeviceLost(f"an earlier trial left the GPU unusable: {error}") from error
