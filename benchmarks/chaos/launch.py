"""The command line of the product with toy trials, short patience and writes that can fail.

    python benchmarks/chaos/launch.py run STUDY ...        as `python -m tune_app`
    CHAOS_REAL=1 python benchmarks/chaos/launch.py ...     real trials, a checkpoint at each log

Nothing of this is in the product: what is changed is changed here, in this process and its workers.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.chaos import real, toy
from tune_app.core import heartbeat, journal
from tune_app.engine import driver, tuner
from tune_app.engine.resources import TrialResources
from tune_app.training.preflight.found import Findings

HANGS_AFTER_S = 6.0
REAL = "CHAOS_REAL"


class FailingFile:
    """A journal's file, one write in ten of which fails, half of these after half of the bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        try:
            toy.may_fail()
        except OSError:
            if random.random() < 0.5:
                self._file.write(data[: len(data) // 2])
            raise
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class FailingJournal(journal.Journal):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._file = FailingFile(self._file)  # type: ignore[assignment]


def prepare(
    self: driver.Driver,
    progress: Callable[[str], None],
    trial: TrialResources,
    nodes: object,
) -> None:
    """In the place of preflight, which would import torch on a worker."""
    study = self._state.definition
    if study.baseline_params is None:
        self._keep(Findings({}, {}, {}, study.budget, study.rungs), study.space)


def without_dashboard(init: Callable[..., Any], **options: Any) -> Any:
    if "include_dashboard" in options:
        options["include_dashboard"] = False
    return init(**options)


def replace(where: object, name: str, by: object) -> None:
    """Puts something in the place of what a module or class has under this name."""
    assert hasattr(where, name), f"{where} has no {name}: nothing would be replaced"
    setattr(where, name, by)


def main() -> int:
    patience = float(os.environ.get("CHAOS_HANGS_AFTER_S") or HANGS_AFTER_S)
    heartbeat.START_TIMEOUT_S, heartbeat.TIMEOUT_S = 6 * patience, patience
    # Not above: it reads its settings as it is imported, and `tune_app.engine` makes them.
    import ray

    # It is most of the work of a start, and none of what is looked at here.
    replace(ray, "init", partial(without_dashboard, ray.init))
    from tune_app.cli import _session
    from tune_app.storage import catalogue

    replace(catalogue, "Journal", FailingJournal)
    if os.environ.get(REAL):
        replace(tuner, "run_segment", real.run_segment)
    else:
        replace(tuner, "run_segment", toy.run_segment)
        replace(driver.Driver, "_prepare", prepare)
        # Plots take seconds.
        replace(_session.Session, "_report", lambda self, screen: None)
    from tune_app.__main__ import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
