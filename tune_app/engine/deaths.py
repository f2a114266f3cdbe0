"""What a worker's death is called, and that Tune takes it for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

CAUSES = {
    OutOfMemoryError.__name__: "Ray killed its worker, as the memory of the node was nearly full",
    "DeviceLost": "an earlier trial had left the GPU unusable to its worker, which is replaced",
}
"""By what stands in the error that Tune keeps of it."""


def cause(file: Path) -> str | None:
    """Why a worker died, where that is known; the file is what Tune wrote of its error."""
    try:
        error = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return next((told for sign, told in CAUSES.items() if sign in error), None)


def as_death(error: Exception) -> Exception:
    """Tune knows two kinds of errors, of a worker and of what it ran, and ends at any other.

    One such is that of a worker that Ray killed for want of memory: a study of days would end with
    it. What is not of the code that ran is the worker's here.
    """
    if isinstance(error, RayError) and not isinstance(error, RayActorError | RayTaskError):
        died: Exception = RayActorError(error_msg=f"{type(error).__name__}: {error}")
        return died
    return error


_failed = RayActorManager._actor_task_failed


def _task_failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
    _failed(manager, tracked_actor_task, as_death(exception))


RayActorManager._actor_task_failed = _task_failed
