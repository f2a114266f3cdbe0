"""Tells a disk that is full, or fails, from a mistake of the trial that met it.

Knows neither torch nor Ray.
"""

from __future__ import annotations

import errno
import re

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_SIGNS = ("No space left", "file write failed", "unexpected pos")
"""What safetensors and torch's zip writer say when a write comes up short."""

FAULTS = {errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ECONNRESET}
FAULTS |= {errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENOTCONN}
"""What local and shared file systems say when they, or the way to them, fail."""

_FAULT_SIGN = re.compile(r"\(os error (\d+)\)")
"""How libraries in Rust, such as safetensors, end their message."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that a disk has no room left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if isinstance(error, Exception) and any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_storage_fault(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that storage failed: no trial's mistake."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        told = _FAULT_SIGN.search(str(error)) if isinstance(error, Exception) else None
        if number in FAULTS or (told is not None and int(told[1]) in FAULTS):
            return True
        error = error.__cause__ or error.__context__
    return False
