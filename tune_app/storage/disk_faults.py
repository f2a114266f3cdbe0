"""Tells errors of a full or failing disk from errors of the trial.

Depends neither on torch nor on Ray.
"""

from __future__ import annotations

import errno
import re

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_SIGNS = ("No space left", "file write failed", "unexpected pos")
"""Messages of safetensors and of torch's zip writer for an incomplete write."""

FAULTS = {errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ECONNRESET}
FAULTS |= {errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENOTCONN}
"""Error numbers of local and shared file systems, and of the network to them."""

_FAULT_SIGN = re.compile(r"\(os error (\d+)\)")
"""The end of an I/O error message of libraries in Rust, such as safetensors."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, says that a disk has no space left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if isinstance(error, Exception) and any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_storage_fault(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, says that storage failed, not the trial."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        match = _FAULT_SIGN.search(str(error)) if isinstance(error, Exception) else None
        if number in FAULTS or (match is not None and int(match[1]) in FAULTS):
            return True
        error = error.__cause__ or error.__context__
    return False
