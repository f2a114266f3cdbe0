"""The worker's side: runs segments in a Ray actor and talks to the driver through Tune."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from tune_app.core.definition import StudyDefinition
from tune_app.core.heartbeat import ALIVE
from tune_app.core.ports import LocalPaths
from tune_app.core.task import Task
from tune_app.core.trial import Outcome
from tune_app.engine import worker_group
from tune_app.errors import Problem, UserError
from tune_app.storage import places
from tune_app.storage.disk_faults import is_full
from tune_app.storage.store import StorageFailed
from tune_app.storage.study import Study as StoredStudy
from tune_app.training.preflight.found import (
    LargestBatch,
    Message,
    ProbeResults,
    ProfilingPlan,
    Progress,
    Refused,
)

DISK_FULL = "disk_full"
"""What a worker sends, outside the journal, when it cannot write any more."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a worker has for all segments of a study: the study's folder, and its own share."""

    folder: Path
    url: str | None
    """Of the bucket that the study lives in, None for the folder itself."""
    working_directory: str
    cache: Path
    cpu: float
    gpu: float
    """Of each process."""


class TuneContext:
    """`TrialContext` over `ray.tune.report`, which returns when the driver has answered."""

    def __init__(self, study: StoredStudy, task: Task, cache: Path) -> None:
        self._study = study
        self._trial = task.trial
        checkpoints = study.folder / "checkpoints" / task.trial
        checkpoints.mkdir(parents=True, exist_ok=True)
        name = task.checkpoint.name if task.checkpoint is not None else None
        begun_from = study.checkpoints.fetch(name) if name is not None else None
        self.paths = LocalPaths(checkpoints, cache, begun_from)

    def publish(self, folder: Path, step: int) -> str:
        return self._study.checkpoints.publish(folder, self._trial, step)

    def send(self, event: str, **fields: Any) -> None:
        tell(event, fields)

    def interrupted(self) -> bool:
        return self._study.is_stopping()


def tell(event: str, fields: dict[str, Any]) -> None:
    """One message to the driver; returns when it has answered."""
    tune.report({"message": json.dumps({"event": event, "fields": fields})})


def run_segment(config: dict[str, Any]) -> None:
    """The function that Ray Tune runs, with `task` and `host`.

    torch is imported here, once for each worker process.
    """
    tell(ALIVE, {})
    task: Task = config["task"]
    host: Host = config["host"]
    worker_group.assemble(host.cpu, host.gpu, task.processes)
    import torch

    from tune_app.training.device import check_device
    from tune_app.training.segment import run

    # What is raised here ends the process: Tune begins the next segment in a new one.
    check_device()
    torch.set_num_threads(max(1, int(host.cpu)))
    go_to(host.working_directory)
    try:
        study = places.on_worker(host.folder, host.url)
        context = TuneContext(study, task, host.cache)
        with trial_log(host.folder / "logs" / "trials" / f"{task.trial}.log"):
            start = run if task.processes == 1 else worker_group.run
            start(task, context)
    except UserError as refused:
        failed = {"outcome": Outcome.FAILED.value, "reason": str(refused), "error": ""}
        tell("trial_ended", failed)
    except StorageFailed as error:
        tell("segment_lost", {"reason": str(error)})
    except Exception as error:
        if not is_full(error):
            raise
        # Nobody's trial is to blame: the driver stops the study, which can be resumed.
        tell(DISK_FULL, {"reason": f"{type(error).__name__}: {error}"})


def go_to(folder: str) -> None:
    """Makes the user's relative paths mean here what they meant at the terminal."""
    if os.path.isdir(folder):
        os.chdir(folder)


@contextmanager
def trial_log(path: Path) -> Iterator[None]:
    """Sends what libraries log during a segment to the trial's own file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(), logging.getLogger("transformers")]
    for logger in loggers:
        logger.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


Say = Callable[[Message], None]
"""Sends one message to the driver."""


def preflight(study: StudyDefinition, cache: str, probing: bool) -> Iterator[Message]:
    """Runs preflight on this worker: progress, what cannot run, then findings or problems."""

    def work(say: Say) -> None:
        from tune_app.training.preflight import preflight as checks

        checks.check_names(study)
        probed = checks.probe(study, Path(cache)) if probing else []
        impossible = checks.impossible(study.space, probed)
        say(ProbeResults(tuple(impossible), tuple(probed)))
        say(checks.prepare(study, Path(cache), lambda line: say(Progress(line)), impossible))

    yield from streamed(work, study)


def probe(study: StudyDefinition, cache: str) -> Iterator[Message]:
    """Tries the space's values on this worker alone; tells what cannot run."""

    def work(say: Say) -> None:
        from tune_app.training.preflight import preflight as checks

        probed = checks.probe(study, Path(cache))
        say(ProbeResults(tuple(checks.impossible(study.space, probed)), tuple(probed)))

    yield from streamed(work, study)


def profile(study: StudyDefinition, cache: str, cpu: float) -> Iterator[Message]:
    """Profiles some configurations of a prepared space on this worker."""

    def work(say: Say) -> None:
        import torch

        from tune_app.training import trainable
        from tune_app.training.arguments import use_cpu
        from tune_app.training.preflight import profiling

        torch.set_num_threads(max(1, int(cpu)))
        chosen = profiling.choose(study.space, trainable.load(study.trainable).default)
        say(ProfilingPlan(len(chosen), min(len(chosen), profiling.MOST)))
        ran = []
        for params in chosen[: profiling.MOST]:
            measured = profiling.measure(study, params, Path(cache))
            say(measured)
            ran += [] if measured.error else [params]
        if ran and not use_cpu(study.accelerator):
            say(LargestBatch(profiling.largest_batch(study, ran[-1], Path(cache))))

    yield from streamed(work, study)


def streamed(work: Callable[[Say], None], study: StudyDefinition) -> Iterator[Message]:
    """What `work` says, and the problems it ends with; it runs in a thread."""
    messages: queue.Queue[Message | None] = queue.Queue()

    def guarded() -> None:
        try:
            go_to(study.working_directory)
            work(messages.put)
        except UserError as error:
            messages.put(Refused(error.problems, traceback.format_exc()))
        except (Exception, SystemExit) as error:
            # It must reach the person as one message, wherever in the trainable it was raised.
            messages.put(Refused((_raised(error, study.trainable),), traceback.format_exc()))
        finally:
            messages.put(None)

    threading.Thread(target=guarded, daemon=True).start()
    while (message := messages.get()) is not None:
        yield message


def _raised(error: BaseException, trainable: str) -> Problem:
    what = f"raised before the first trial: {type(error).__name__}: {error}".rstrip(": ")
    return Problem(what, f"trainable {trainable}", fix="add --debug to see the traceback")
