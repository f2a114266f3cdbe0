"""Whether a study of thousands of trials costs its driver no more for the last than for the first.

    python benchmarks/stress.py [--trials 2000] [--workers 64]     without Ray: 64 small processes
    python benchmarks/stress.py --ray [--trials 600] [--workers 8]

Trials are those of `chaos/toy.py`, and one in ten raises. Without Ray the conductor, the journal on
disk, the deletion of checkpoints and the screen are the product's, and one message in a hundred is
the last of its worker, which kills itself. With `--ray` all is the product's but the training. 64
actors of Ray take some 10 GB, so that fewer are asked for there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.chaos import disturb, toy
from tune_app.console import screens
from tune_app.core.conductor import Conductor
from tune_app.core.journal import Event, Journal, follow
from tune_app.core.ports import LocalPaths, TrialContext
from tune_app.core.recorder import Recorder
from tune_app.core.state import StudyState
from tune_app.core.tracking import TrackerGroup
from tune_app.core.trial import Decision
from tune_app.plugins import make
from tune_app.storage.checkpoints import FolderCheckpoints
from tune_app.storage.retention import Retention
from tune_app.study import file as study_file

STUDY = """
method: random
metric: {{name: final_eval_loss, goal: minimize}}
parameters:
  x: {{min: 0.0, max: 1.0}}
  y: {{min: 0.0, max: 1.0}}
tune:
  budget: {{steps: 72, trials: {trials}}}
  scheduler: {{name: asha, eta: 3, rungs: 3}}
  resources: {{concurrent: {workers}, cpu: {cpu}}}
  trackers: []
  baseline: false
"""

PARTS = 4
BUG_SHARE = 0.1
DEATH_SHARE = 0.01


class Row:
    """What the driver had used when a part of the trials had ended."""

    def __init__(self, ended: int, cpu_s: float, memory_mb: float) -> None:
        self.ended, self.cpu_s, self.memory_mb = ended, cpu_s, memory_mb
        self.time = time.monotonic()


class Meter:
    """A tracker that notes time and memory as trials end, and prints them by parts."""

    def __init__(self, trials: int) -> None:
        self._each = trials // PARTS
        self._ended = self.losses = 0
        self.rows = [self._now(psutil.Process())]

    def on_event(self, event: Event, state: StudyState) -> None:
        self.note(event, psutil.Process())

    def note(self, event: Event, driver: psutil.Process) -> None:
        self.losses += event["event"] == "segment_lost"
        if event["event"] == "trial_ended":
            self._ended += 1
            if self._ended % self._each == 0:
                self.rows.append(self._now(driver))

    def _now(self, driver: psutil.Process) -> Row:
        used = driver.cpu_times()
        return Row(self._ended, used.user + used.system, driver.memory_info().rss / 1e6)

    def close(self, timeout_s: float) -> None:
        print(
            f"{self.losses} workers lost\n| trials | driver ms/trial | wall ms/trial | driver MB |"
        )
        for before, after in zip(self.rows, self.rows[1:], strict=False):
            count = after.ended - before.ended
            cpu, wall = after.cpu_s - before.cpu_s, after.time - before.time
            print(
                f"| {before.ended}-{after.ended} | {1000 * cpu / count:.1f} "
                f"| {1000 * wall / count:.1f} | {after.memory_mb:.0f} |"
            )


def work(line: Connection, folder: Path, number: int) -> None:
    """A worker process: runs segments, and now and then dies in the middle of one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rng = random.Random(number)
    while True:
        task = line.recv()
        context: TrialContext = Line(line, folder, task.trial, rng)
        try:
            toy.train(context, folder, task)
        except ArithmeticError as error:
            context.send("trial_ended", outcome="failed", reason=str(error), error="")
        except SystemExit:
            pass
        line.send(None)


class Line:
    """`TrialContext` over a pipe."""

    def __init__(self, line: Connection, folder: Path, trial: str, rng: random.Random) -> None:
        self._line, self._rng = line, rng
        self.paths = LocalPaths(folder / "checkpoints" / trial, folder / "cache")
        self.paths.checkpoints.mkdir(parents=True, exist_ok=True)

    def send(self, event: str, **fields: Any) -> None:
        self._line.send((event, fields))
        if self._rng.random() < DEATH_SHARE:
            os.kill(os.getpid(), signal.SIGKILL)
        if not self._line.recv():
            raise SystemExit

    def publish(self, folder: Path, step: int) -> str:
        raise AssertionError("toys write their checkpoints under the final name themselves")

    def interrupted(self) -> bool:
        return False


class Pool:
    """Worker processes under a conductor, in the place of Ray."""

    def __init__(self, conductor: Conductor, folder: Path, workers: int) -> None:
        self._conductor, self._folder = conductor, folder
        self._lines: dict[Connection, str | None] = {}
        self._processes: list[multiprocessing.Process] = []
        for _ in range(workers):
            self._spawn()

    def _spawn(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        arguments = (theirs, self._folder, len(self._processes))
        process = multiprocessing.Process(target=work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        self._lines[ours] = None

    def run(self) -> None:
        while not self._conductor.finished:
            for line in [line for line, trial in self._lines.items() if trial is None]:
                task = self._conductor.next_segment()
                if task is None:
                    break
                self._lines[line] = task.trial
                line.send(task)
            if self._conductor.finished:
                # The question above has ended the study: no worker has anything left to say.
                return
            for ready in wait(list(self._lines)):
                assert isinstance(ready, Connection)
                self._hear(ready)

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.join()

    def _hear(self, line: Connection) -> None:
        trial = self._lines[line]
        try:
            message = line.recv()
        except (EOFError, ConnectionError):
            del self._lines[line]
            self._spawn()
            self._leave(trial, "its worker process died")
            return
        if message is None:
            self._lines[line] = None
            self._leave(trial, "its worker ended without a message")
            return
        event, fields = message
        decision = self._conductor.on_message(str(trial), event, fields)
        # One that has died meanwhile is heard of next.
        with suppress(BrokenPipeError):
            line.send(decision is Decision.CONTINUE)

    def _leave(self, trial: str | None, reason: str) -> None:
        """The end of a segment, unless the trial already runs its next one on another worker."""
        if trial is not None and trial not in self._lines.values():
            self._conductor.on_worker_gone(trial, reason)


def without_ray(home: Path, trials: int, workers: int) -> None:
    study = study_file.load(written(home, trials, workers), [], "stress").to_definition()
    folder, meter = home / "stress", Meter(trials)
    folder.mkdir()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        screen = screens.create(nowhere, folder)
        trackers = TrackerGroup([("screen", screen), ("meter", meter)])
        keeper = Retention(FolderCheckpoints(folder))
        recorder = Recorder(StudyState(), Journal(folder), trackers, keeper)
        conductor = Conductor(recorder, make.searcher(study), make.scheduler(study))
        conductor.record("study_started", study=study.to_document(), software={}, machine={})
        pool = Pool(conductor, folder, workers)
        pool.run()
        pool.close()
        recorder.close(0)


def with_ray(home: Path, trials: int, workers: int) -> None:
    written(home, trials, workers)
    run = disturb.Study(home, dict(os.environ))
    run.start("run", "study.yaml", "--name", disturb.NAME)
    run.wait(run.journal.exists)
    driver, meter = psutil.Process(run.driver.pid), Meter(trials)
    for event in follow(run.journal, poll_s=0.1):
        if event is None and not run.is_running():
            break
        if event is not None:
            meter.note(event, driver)
    meter.close(0)
    if len(meter.rows) <= PARTS:
        raise SystemExit((home / "output-1").read_text(encoding="utf-8"))


def written(home: Path, trials: int, workers: int) -> Path:
    path = home / "study.yaml"
    path.write_text(STUDY.format(trials=trials, workers=workers, cpu=1 / 8), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--workers", type=int)
    args = parser.parse_args()
    os.environ |= {toy.STEP_S: "0.001", toy.BUGS: str(BUG_SHARE)}
    run, trials, workers = (with_ray, 600, 8) if args.ray else (without_ray, 2000, 64)
    with tempfile.TemporaryDirectory(prefix="stress-") as home:
        run(Path(home), args.trials or trials, args.workers or workers)


if __name__ == "__main__":
    main()
