"""Asks W&B's own sweep engine for the next run; runs in its environment, see `wandb_bayes.py`.

Each line of standard input is {"sweep": …, "runs": [{"params": …, "value": … or null}], "seed": …};
its answer is a line with the values of the next run.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy
import sweeps


def as_run(number: int, run: dict[str, Any], metric: str) -> sweeps.SweepRun:
    """A finished run as the service knew it, or a failed one."""
    history = [] if run["value"] is None else [{metric: run["value"]}]
    return sweeps.SweepRun(
        name=str(number),
        state="finished" if history else "failed",
        config={name: {"value": value} for name, value in run["params"].items()},
        sampledHistory=history,
        summaryMetrics=history[-1] if history else {},
    )


for line in sys.stdin:
    asked = json.loads(line)
    numpy.random.seed(asked["seed"])
    metric = asked["sweep"]["metric"]["name"]
    runs = [as_run(number, run, metric) for number, run in enumerate(asked["runs"])]
    proposed = sweeps.next_run(asked["sweep"], runs)
    print(json.dumps({name: entry["value"] for name, entry in proposed.config.items()}), flush=True)
