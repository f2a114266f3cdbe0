"""What the W&B mirror costs, against a server on loopback.

    python -m benchmarks.wandb_mirror memory [TRIALS]    # 1,000: time, peak memory, open runs
    python -m benchmarks.wandb_mirror peer [TRIALS]      # 50 toys, Ray's WandbLoggerCallback beside

Each prints one JSON object a line. Run from the root of the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.support.story import DOCUMENT, Story
from tests.support.wandb_server import Server, serving
from tune_app.trackers import wandb as wandb_tracker

ROOT = Path(__file__).parents[1]
MIRROR = [sys.executable, "-m", "tune_app.trackers._wandb_mirror"]
TRIALS = 1000
TOYS = 50
REPORTS = 9


def show(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


class Watch:
    """The peak number and memory of the processes below one."""

    def __init__(self, pid: int) -> None:
        self.processes = 0
        self.peak_mb: dict[str, float] = {}
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.3):
            total: dict[str, float] = {}
            count = 0
            for process in [self._root, *self._root.children(recursive=True)]:
                try:
                    mb = process.memory_info().rss / 2**20
                    name = process.name()[:15]
                except psutil.Error:
                    continue
                count += 1
                total[name] = total.get(name, 0.0) + mb
                total["all"] = total.get("all", 0.0) + mb
            self.processes = max(self.processes, count)
            for name, mb in total.items():
                self.peak_mb[name] = round(max(mb, self.peak_mb.get(name, 0.0)))

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def memory(trials: int) -> None:
    """A journal of so many trials, and of a tenth of them, mirrored in one go."""
    for mode in ("offline", "online"):
        for count in (trials // 10, trials):
            with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
                story = Story(Path(name))
                story.start()
                for number in range(count):
                    trial = story.begin(number)
                    for step in range(1, REPORTS + 1):
                        story.report(trial, 10 * step, 4 - step / 5, 2 if step == REPORTS else None)
                    story.end(trial, "completed")
                story.tell("study_ended", reason="done")
                environment = {**os.environ, **server.environment, "WANDB_MODE": mode}
                begun = time.monotonic()
                process = subprocess.Popen(
                    [*MIRROR, name], stdin=subprocess.DEVNULL, env=environment, cwd=ROOT
                )
                watch = Watch(process.pid)
                code = process.wait()
                took = time.monotonic() - begun
                watch.end()
                on_server = sum(run.complete for run in server.runs(DOCUMENT["project"]).values())
            show(
                mode=mode,
                trials=count,
                exit=code,
                seconds=round(took, 1),
                runs_on_server=on_server,
                peak_mb=watch.peak_mb,
                processes=watch.processes,
            )


def peer(trials: int) -> None:
    """The same toy trials in Ray Tune with no tracker, Ray's own callback, and ours."""
    for kind in ("none", "ray", "ours"):
        show(kind=kind, **_toys(kind, trials))


def _toys(kind: str, trials: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        environment = {**os.environ, **server.environment, "RAY_AUTH_MODE": "token"}
        environment["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        command = [sys.executable, "-m", "benchmarks.wandb_mirror", "toys", kind, str(trials), name]
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        watch = Watch(process.pid)
        out, _ = process.communicate()
        watch.end()
        facts: dict[str, Any] = json.loads(out.splitlines()[-1])
        _wait_for_mirror(Path(name))
        peaks = {"processes": watch.processes, "peak_mb": watch.peak_mb["all"]}
        return {**facts, **_points(server), **peaks}


def _wait_for_mirror(folder: Path) -> None:
    """Ours may go on after the study."""
    import fcntl

    path = folder / "wandb" / "mirror.lock"
    if path.exists():
        with open(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)


def _points(server: Server) -> dict[str, int]:
    runs = list(server.runs("toys").values())
    steps = [[row["step"] for row in run.history if "step" in row] for run in runs]
    return {
        "runs": len(runs),
        "complete": sum(run.complete for run in runs),
        "lost_points": sum(len(set(range(1, REPORTS + 1)) - set(found)) for found in steps),
        "double_points": sum(len(found) - len(set(found)) for found in steps),
    }


def toy(config: dict[str, Any]) -> None:
    """Nine reports; one of the trials fails half-way, the first time."""
    from ray import tune

    failed = Path(config["folder"]) / "failed"
    for step in range(1, REPORTS + 1):
        time.sleep(0.2)
        tune.report({"eval_loss": 4 - step / 5, "step": step, "tokens": 100 * step})
        if config["number"] == 7 and step == 5 and not failed.exists():
            failed.touch()
            raise RuntimeError("once")


def toys(kind: str, trials: int, folder: Path) -> None:
    import ray
    from ray import tune

    ray.init(
        "local", num_cpus=8, include_dashboard=False, logging_level="ERROR", log_to_driver=False
    )
    ends: list[float] = []
    callbacks: list[Any] = [_stopwatch(ends)]
    close: Callable[[], None] = lambda: None  # noqa: E731
    if kind == "ray":
        from ray.air.integrations.wandb import WandbLoggerCallback

        callbacks.append(WandbLoggerCallback(project="toys", group="toys", log_config=False))
    if kind == "ours":
        tracker = wandb_tracker.create(folder)
        callbacks.append(_ours(folder, tracker))
        close = lambda: tracker.close(5.0)  # noqa: E731
    begun = time.monotonic()
    tuner = tune.Tuner(
        tune.with_resources(toy, {"cpu": 2}),
        param_space={"number": tune.grid_search(list(range(trials))), "folder": str(folder)},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(folder / "ray"),
            callbacks=callbacks,
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
    tuner.fit()
    close()
    over = time.monotonic()
    show(seconds=round(over - begun, 1), end_delay_s=round(over - ends[-1], 1))


def _stopwatch(ends: list[float]) -> Any:
    from ray import tune

    class Stopwatch(tune.Callback):  # type: ignore[misc]
        def on_trial_result(self, *_: Any, **__: Any) -> None:
            ends.append(time.monotonic())

        def __reduce__(self) -> tuple[type[object], tuple[()]]:
            """Tune pickles its plug-ins for a restore that is never asked for."""
            return object, ()

    return Stopwatch()


def _ours(folder: Path, tracker: Any) -> Any:
    """Tells Tune's trials to a journal, as our driver does, and to the tracker."""
    from ray import tune

    story = Story(folder, tracker)
    story.tell("study_started", study={**DOCUMENT, "project": "toys"}, software={}, machine={})

    class Teller(tune.Callback):  # type: ignore[misc]
        def __reduce__(self) -> tuple[type[object], tuple[()]]:
            """Tune pickles its plug-ins for a restore that is never asked for."""
            return object, ()

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            number = trial.config["number"]
            name = f"{number:04d}"
            if name not in story.state.trials:
                story.begin(number)
            else:
                story.tell("segment_lost", trial=name, reason="raised")
                story.tell("segment_started", trial=name, segment=2, checkpoint=None)

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            name, step = f"{trial.config['number']:04d}", result["step"]
            last = step == REPORTS
            story.report(name, step, result["eval_loss"], 2 if last else None)
            if last:
                story.end(name, "completed")

        def on_experiment_end(self, trials: Any, **_: Any) -> None:
            story.tell("study_ended", reason="done")

    return Teller()


def main() -> None:
    match sys.argv[1:]:
        case ["memory", *trials] if len(trials) <= 1:
            memory(int(trials[0]) if trials else TRIALS)
        case ["peer", *trials] if len(trials) <= 1:
            peer(int(trials[0]) if trials else TOYS)
        case ["toys", kind, trials, folder]:
            toys(kind, int(trials), Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
