"""Tells a full disk from a mistake of the trial that met it. Knows neither torch nor Ray."""

from __future__ import annotations

import errno

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_SIGNS = ("No space left", "file write failed", "unexpected pos")
"""What safetensors and torch's zip writer say when a write comes up short."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that a disk has no room left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if isinstance(error, Exception) and any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False
