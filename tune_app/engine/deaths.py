"""Names the cause of a worker's death, and makes Tune treat every such error as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

CAUSES = {
    OutOfMemoryError.__name__: "Ray killed its worker, as the memory of the node was nearly full",
    "DeviceLost": "an earlier trial had left the GPU unusable to its worker, which is replaced",
}
"""By a word in the error that Tune saves."""


def cause(file: Path) -> str | None:
    """Why a worker died, None if unknown; `file` is the error file that Tune wrote."""
    try:
        error = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return next((text for sign, text in CAUSES.items() if sign in error), None)


def as_death(error: Exception) -> Exception:
    """Converts errors that Tune does not expect of a worker to `RayActorError`.

    Tune handles a dead actor and an exception of the code that ran in it, and stops at any other
    error. Ray raises another one when it kills a worker as memory runs out; without this the whole
    study would stop.
    """
    if isinstance(error, RayError) and not isinstance(error, RayActorError | RayTaskError):
        died: Exception = RayActorError(error_msg=f"{type(error).__name__}: {error}")
        return died
    return error


_failed = RayActorManager._actor_task_failed


def _task_failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
    _failed(manager, tracked_actor_task, as_death(exception))


RayActorManager._actor_task_failed = _task_failed
