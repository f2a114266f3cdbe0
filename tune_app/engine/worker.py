"""The worker's side: runs segments in a Ray actor and talks to the driver through Tune."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune

from tune_app.core.heartbeat import ALIVE
from tune_app.core.trial import Outcome
from tune_app.engine import worker_group
from tune_app.errors import Problem, UserError
from tune_app.storage import places
from tune_app.storage.disk_faults import is_full
from tune_app.storage.store import StorageFailed
from tune_app.storage.study import Study

DISK_FULL = "disk_full"
"""What a worker sends, outside the journal, when it cannot write any more."""


class TuneContext:
    """`TrialContext` over `ray.tune.report`, which returns when the driver has answered."""

    def __init__(self, study: Study, trial: str) -> None:
        self._study = study
        self._trial = trial
        self.checkpoints = study.folder / "checkpoints" / trial
        self.checkpoints.mkdir(parents=True, exist_ok=True)

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
    """The function that Ray Tune runs. torch is imported here, once for each worker process."""
    tell(ALIVE, {})
    folder, segment = Path(config["folder"]), config["task"]
    worker_group.assemble(config["cpu"], config["gpu"], segment["processes"])
    import torch

    from tune_app.training.device import check_device
    from tune_app.training.segment import Task, run

    # What is raised here ends the process: Tune begins the next segment in a new one.
    check_device()
    torch.set_num_threads(max(1, int(config["cpu"])))
    go_to(config["working_directory"])
    try:
        study = places.on_worker(folder, config["url"])
        context = TuneContext(study, segment["trial"])
        checkpoint = segment["checkpoint"]
        paths = {
            "checkpoint": study.checkpoints.fetch(checkpoint) if checkpoint else None,
            "cache": Path(segment["cache"]),
        }
        with trial_log(folder / "logs" / "trials" / f"{segment['trial']}.log"):
            start = run if segment["processes"] == 1 else worker_group.run
            start(Task(**{**segment, **paths}), context)
    except UserError as refused:
        context.send("trial_ended", outcome=Outcome.FAILED.value, reason=str(refused), error="")
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


Say = Callable[[dict[str, Any]], None]
"""Sends one item to the driver."""


def preflight(document: dict[str, Any], cache: str, probing: bool) -> Iterator[str]:
    """Runs preflight on this worker; yields JSON: progress lines, then the findings or problems."""

    def work(say: Say) -> None:
        from tune_app.training.preflight import preflight as checks

        checks.check_names(document)
        probed = checks.probe(document, Path(cache)) if probing else []
        impossible = checks.impossible(document, probed)
        say({"impossible": impossible, "probed": [asdict(row) for row in probed]})
        found = checks.prepare(document, Path(cache), lambda line: say({"line": line}), impossible)
        say({"findings": checks.as_plain(found)})

    yield from streamed(work, document)


def probe(document: dict[str, Any], cache: str) -> Iterator[str]:
    """Tries the space's values on this worker alone; yields what cannot run, as JSON."""

    def work(say: Say) -> None:
        from tune_app.training.preflight import preflight as checks

        say({"impossible": checks.impossible(document, checks.probe(document, Path(cache)))})

    yield from streamed(work, document)


def measure(document: dict[str, Any], cache: str, cpu: float) -> Iterator[str]:
    """Measures the corners of a prepared space on this worker; yields each as JSON."""

    def work(say: Say) -> None:
        import torch

        from tune_app.space.domains import from_document
        from tune_app.training import trainable
        from tune_app.training.arguments import use_cpu
        from tune_app.training.preflight import profiling

        torch.set_num_threads(max(1, int(cpu)))
        loaded = trainable.load(document["trainable"])
        space = {name: from_document(item) for name, item in document["parameters"].items()}
        chosen = profiling.choose(space, loaded.default)
        say({"corners": len(chosen), "most": profiling.MOST})
        measured = []
        for params in chosen[: profiling.MOST]:
            measured.append(profiling.measure(document, space, params, Path(cache)))
            say({"corner": asdict(measured[-1])})
        ran = [corner.params for corner in measured if not corner.error]
        if ran and not use_cpu(document["accelerator"]):
            size = profiling.largest_batch(document, space, ran[-1], Path(cache))
            say({"largest_batch": size})

    yield from streamed(work, document)


def streamed(work: Callable[[Say], None], document: dict[str, Any]) -> Iterator[str]:
    """What `work` says, as JSON, and the problems it ends with; it runs in a thread."""
    lines: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def guarded() -> None:
        try:
            go_to(document["working_directory"])
            work(lines.put)
        except UserError as error:
            lines.put(_as_plain(error.problems))
        except (Exception, SystemExit) as error:
            # It must reach the person as one message, wherever in the trainable it was raised.
            lines.put(_as_plain([_raised(error, document["trainable"])]))
        finally:
            lines.put(None)

    threading.Thread(target=guarded, daemon=True).start()
    while (item := lines.get()) is not None:
        yield json.dumps(item)


def _as_plain(problems: Iterable[Problem]) -> dict[str, Any]:
    """Problems, and the traceback of what is being handled, as plain data."""
    return {
        "problems": [asdict(problem) for problem in problems],
        "traceback": traceback.format_exc(),
    }


def _raised(error: BaseException, trainable: str) -> Problem:
    what = f"raised before the first trial: {type(error).__name__}: {error}".rstrip(": ")
    return Problem(what, f"trainable {trainable}", fix="add --debug to see the traceback")
