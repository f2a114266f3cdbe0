"""Whether a real study waits for a W&B server that takes connections and never answers.

    python -m benchmarks.wandb_stalled [--pairs 4] [--trials 7]

Studies of real training with such a server and without W&B, in pairs of changing order, each with
all its processes anew and the prepared data at hand. Prints one JSON object a line: a study's wall
seconds, those from its first to its last event, the load of the machine before it and the processor
seconds of the mirror; at the end the ratios of the pairs, which go up and down with the load. Run
from the root of the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.support.wandb_server import Trouble, serving
from tune_app.core.journal import FILE_NAME, read

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "tests" / "system" / "small.yaml"
FOR_EVER_S = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=7, help="of a study")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        server.trouble = Trouble(delay_s=FOR_EVER_S)
        kinds = {"stalled": server.environment, "none": {"WANDB_MODE": "disabled"}}
        _study(Path(name), "warm-up", kinds["none"], args.trials)
        ratios = []
        for number in range(args.pairs):
            order = list(kinds) if number % 2 == 0 else list(kinds)[::-1]
            pair = {k: _study(Path(name), f"{k}-{number}", kinds[k], args.trials) for k in order}
            ratios.append([a / b for a, b in zip(pair["stalled"], pair["none"], strict=True)])
    for title, found in zip(
        ("wall", "first to last event"), zip(*ratios, strict=True), strict=True
    ):
        rounded = [round(ratio, 2) for ratio in found]
        print(json.dumps({title: rounded, "median": round(statistics.median(found), 2)}))


def _study(
    folder: Path, name: str, environment: dict[str, str], trials: int
) -> tuple[float, float]:
    """Wall seconds of one study, and those between its events."""
    words = ["run", str(STUDY), "--name", name, "--set", "resources.concurrent=1"]
    words += ["--set", f"budget.trials={trials}"]
    own = {"TUNE_APP_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    load, begun = os.getloadavg()[0], time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "tune_app", *words],
        cwd=folder,
        env={**os.environ, **environment, **own},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall = time.monotonic() - begun
    times = [event["time"] for event in read(folder / "studies" / name / FILE_NAME)[0]]
    facts = {
        "wall_s": wall,
        "events_s": times[-1] - times[0],
        "load": load,
        "mirror_cpu_s": _end_mirror(folder / "studies" / name),
    }
    print(json.dumps({"study": name} | {k: round(v, 1) for k, v in facts.items()}), flush=True)
    return wall, times[-1] - times[0]


def _end_mirror(folder: Path) -> float:
    """Ends what would go on for ten minutes beside the next study; its processor seconds."""
    spent = 0.0
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in (process.info["cmdline"] or []):
            for part in [*process.children(recursive=True), process]:
                spent += sum(part.cpu_times()[:2])
                part.kill()
    return spent


if __name__ == "__main__":
    main()
