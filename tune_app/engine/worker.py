"""The worker: runs segments in a Ray actor and reports to the driver through Tune."""

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
from tune_app.storage.study import StoredStudy
from tune_app.training.preflight.messages import (
    LargestBatch,
    Message,
    ProbeResults,
    ProfilingPlan,
    Progress,
    Refused,
)

DISK_FULL = "disk_full"
"""The message of a worker whose disk is full; it is not written to the journal."""


@dataclass(frozen=True, slots=True)
class Host:
    """What is the same for all segments of a study: its folder and a worker's resources."""

    folder: Path
    url: str | None
    """URL of the study in its bucket; None: the study lives in `folder`."""
    working_directory: str
    cache: Path
    cpu: float
    """CPUs of each process."""
    gpu: float
    """GPUs of each process."""


class TuneContext:
    """A `TrialContext` that sends with `ray.tune.report`, which waits for the driver's answer."""

    def __init__(self, study: StoredStudy, task: Task, cache: Path) -> None:
        self._study = study
        self._trial = task.trial
        checkpoints = study.folder / "checkpoints" / task.trial
        checkpoints.mkdir(parents=True, exist_ok=True)
        name = task.checkpoint.name if task.checkpoint is not None else None
        checkpoint = study.checkpoints.fetch(name) if name is not None else None
        self.paths = LocalPaths(checkpoints, cache, checkpoint)

    def publish(self, folder: Path, step: int) -> str:
        """See `TrialContext.publish`."""
        return self._study.checkpoints.publish(folder, self._trial, step)

    def send(self, event: str, **fields: Any) -> None:
        """See `TrialContext.send`."""
        tell(event, fields)

    def interrupted(self) -> bool:
        """See `TrialContext.interrupted`."""
        return self._study.is_stopping()


def tell(event: str, fields: dict[str, Any]) -> None:
    """Sends one message to the driver; returns when it has answered."""
    tune.report({"message": json.dumps({"event": event, "fields": fields})})


def run_segment(config: dict[str, Any]) -> None:
    """The function that Ray Tune runs; `config` has a `Task` as `task` and a `Host` as `host`.

    torch is imported here, once for each worker process.
    """
    tell(ALIVE, {})
    task: Task = config["task"]
    host: Host = config["host"]
    worker_group.assemble(host.cpu, host.gpu, task.processes)
    import torch

    from tune_app.training.device import check_device
    from tune_app.training.segment import run

    # An exception here ends the process: Tune starts the next segment in a new one.
    check_device()
    torch.set_num_threads(max(1, int(host.cpu)))
    go_to(host.working_directory)
    try:
        study = places.on_worker(host.folder, host.url)
        context = TuneContext(study, task, host.cache)
        with trial_log(host.folder / "logs" / "trials" / f"{task.trial}.log"):
            start = run if task.processes == 1 else worker_group.run
            start(task, context)
    except UserError as error:
        failed = {"outcome": Outcome.FAILED.value, "reason": str(error), "error": ""}
        tell("trial_ended", failed)
    except StorageFailed as error:
        tell("segment_lost", {"reason": str(error)})
    except Exception as error:
        if not is_full(error):
            raise
        # The trial is not the cause: the driver stops the study, which can be resumed.
        tell(DISK_FULL, {"reason": f"{type(error).__name__}: {error}"})


def go_to(folder: str) -> None:
    """Changes to the user's working directory, if it exists here, so that relative paths hold."""
    if os.path.isdir(folder):
        os.chdir(folder)


@contextmanager
def trial_log(path: Path) -> Iterator[None]:
    """Writes the log messages of all libraries during a segment to the trial's log file."""
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


Send = Callable[[Message], None]
"""Sends one message to the driver."""


def preflight(study: StudyDefinition, cache: str, probing: bool) -> Iterator[Message]:
    """Runs preflight on this worker.

    Args:
        cache: path of the cache folder.
        probing: whether to probe the values of the space as well.

    Yields:
        Progress, then the probe's results, then findings; or `Refused` with the problems.
    """

    def work(send: Send) -> None:
        from tune_app.training.preflight import preflight as checks

        checks.check_names(study)
        probed = checks.probe(study, Path(cache)) if probing else []
        impossible = checks.impossible(study.space, probed)
        send(ProbeResults(tuple(impossible), tuple(probed)))
        send(checks.prepare(study, Path(cache), lambda line: send(Progress(line)), impossible))

    yield from streamed(work, study)


def probe(study: StudyDefinition, cache: str) -> Iterator[Message]:
    """Probes the space's values on this worker; yields which values cannot run."""

    def work(send: Send) -> None:
        from tune_app.training.preflight import preflight as checks

        probed = checks.probe(study, Path(cache))
        send(ProbeResults(tuple(checks.impossible(study.space, probed)), tuple(probed)))

    yield from streamed(work, study)


def profile(study: StudyDefinition, cache: str, cpu: float) -> Iterator[Message]:
    """Profiles some configurations of a prepared space on this worker, with `cpu` threads."""

    def work(send: Send) -> None:
        import torch

        from tune_app.training import trainable
        from tune_app.training.arguments import use_cpu
        from tune_app.training.preflight import profiling

        torch.set_num_threads(max(1, int(cpu)))
        chosen = profiling.choose(study.space, trainable.load(study.trainable).default)
        send(ProfilingPlan(len(chosen), min(len(chosen), profiling.MOST)))
        ran = []
        for params in chosen[: profiling.MOST]:
            measured = profiling.measure(study, params, Path(cache))
            send(measured)
            ran += [] if measured.error else [params]
        if ran and not use_cpu(study.accelerator):
            send(LargestBatch(profiling.largest_batch(study, ran[-1], Path(cache))))

    yield from streamed(work, study)


def streamed(work: Callable[[Send], None], study: StudyDefinition) -> Iterator[Message]:
    """Runs `work` in a thread; yields its messages, and `Refused` if it raises."""
    messages: queue.Queue[Message | None] = queue.Queue()

    def guarded() -> None:
        try:
            go_to(study.working_directory)
            work(messages.put)
        except UserError as error:
            messages.put(Refused(error.problems, traceback.format_exc()))
        except (Exception, SystemExit) as error:
            # Whatever the trainable raised reaches the user as one message.
            messages.put(Refused((_raised(error, study.trainable),), traceback.format_exc()))
        finally:
            messages.put(None)

    threading.Thread(target=guarded, daemon=True).start()
    while (message := messages.get()) is not None:
        yield message


def _raised(error: BaseException, trainable: str) -> Problem:
    what = f"raised before the first trial: {type(error).__name__}: {error}".rstrip(": ")
    return Problem(what, f"trainable {trainable}", fix="add --debug to see the traceback")
