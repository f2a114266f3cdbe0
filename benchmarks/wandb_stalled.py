"""Whether a real study waits for a W&B server that takes connections and never answers.

    python -m benchmarks.wandb_stalled [--pairs 3]

Studies of real training, by turns with such a server and without W&B, each with all its processes
anew and the prepared data at hand. Prints one JSON object a line: a study's wall seconds, the load
of the machine before it and the processor seconds of the driver and what it waited for; at the end
the ratios of the pairs, which go up and down with the load. Run from the root of the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.unit.wandb_server import Trouble, serving

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "tests" / "system" / "small.yaml"
FOR_EVER_S = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        server.trouble = Trouble(delay_s=FOR_EVER_S)
        _study(Path(name), "warm-up", {"WANDB_MODE": "disabled"})
        ratios = []
        for number in range(args.pairs):
            stalled = _study(Path(name), f"stalled-{number}", server.environment)
            none = _study(Path(name), f"none-{number}", {"WANDB_MODE": "disabled"})
            ratios.append(round(stalled / none, 3))
    print(json.dumps({"ratios": ratios, "median": statistics.median(ratios)}))


def _study(folder: Path, name: str, environment: dict[str, str]) -> float:
    """Wall seconds of one study."""
    words = ["run", str(STUDY), "--name", name, "--set", "resources.concurrent=1"]
    load, before = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "tune_app", *words],
        cwd=folder,
        env={
            **os.environ,
            **environment,
            "TUNE_APP_CACHE": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
        },
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    _end_mirror(folder / "studies" / name)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    facts = {
        "study": name,
        "wall_s": round(wall, 1),
        "load": round(load, 1),
        "driver_cpu_s": round(own, 1),
    }
    print(json.dumps(facts), flush=True)
    return wall


def _end_mirror(folder: Path) -> None:
    """It would go on for ten minutes, beside the next study."""
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in (process.info["cmdline"] or []):
            process.kill()


if __name__ == "__main__":
    main()
