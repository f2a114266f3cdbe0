"""Our `bohb` beside HpBandSter's generator, the authors' own, on the same observations.

    python benchmarks/search/bohb_generator.py

Both see the same finished runs. Prints, point by point, how far the logarithms of the two models'
densities are apart (they may differ by a constant), and for each axis the two-sample
Kolmogorov-Smirnov test of what both propose from them.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from tune_app.core.state import StudyState
from tune_app.searchers import bohb
from tune_app.space.cube import Cube
from tune_app.space.domains import Choice, Float, Space, sample, to_document

HERE = Path(__file__).resolve().parent
SPACE: Space = {
    "x": Float(0.0, 1.0),
    "y": Float(0.0, 1.0),
    "rate": Float(1e-5, 1e-1, log=True),
    "optim": Choice(("a", "b", "c")),
}
RUNS, ROWS, DRAWS = 60, 300, 300


def main() -> None:
    rng = random.Random(0)
    runs = [{"params": drawn, "loss": loss(drawn)} for drawn in draws(rng, RUNS)]
    rows = list(draws(rng, ROWS))
    ours = bohb.create(SPACE, 0)
    state = told(runs)
    cube = Cube(SPACE)
    history = ours._observations.read(state, state.definition.constraints)
    densities = ours._densities(history)
    assert densities is not None
    points = np.array([cube.to_unit(row) for row in rows])
    bohb.RANDOM = 0.0
    proposed = [ours.suggest(state, RUNS + number) for number in range(DRAWS)]
    theirs = asked({"runs": runs, "rows": rows, "draws": DRAWS})
    print("| density | correlation | widest gap of logarithms |\n|---|--:|--:|")
    for name, density in zip(("good", "bad"), densities, strict=True):
        mine, other = density.log_density(points), np.array(theirs[name])
        gap = mine - other
        widest = np.abs(gap - np.median(gap)).max()
        print(f"| {name} | {np.corrcoef(mine, other)[0, 1]:.6f} | {widest:.2g} |")
    sides = ([p for p in proposed if p is not None], theirs["proposals"])
    units = [np.array([cube.to_unit(params) for params in side]) for side in sides]
    print("\n| axis | Kolmogorov-Smirnov | p |\n|---|--:|--:|")
    for index, name in enumerate(cube.axes):
        test = ks_2samp(units[0][:, index], units[1][:, index])
        print(f"| {name} | {test.statistic:.3f} | {test.pvalue:.2f} |")


def draws(rng: random.Random, count: int) -> Any:
    return ({name: sample(domain, rng) for name, domain in SPACE.items()} for _ in range(count))


def loss(params: dict[str, Any]) -> float:
    best = (params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2
    rate = 0.1 * abs(np.log10(params["rate"]) + 3)
    return float(best + rate + 0.2 * "bac".index(params["optim"]))


def told(runs: list[dict[str, Any]]) -> StudyState:
    """A study in which these runs have completed."""
    document = {
        "name": "told",
        "metric": {"name": "final_eval_loss", "goal": "minimize"},
        "parameters": {name: to_document(domain) for name, domain in SPACE.items()},
        "budget": {"unit": "steps", "amount": 1, "trials": len(runs), "evaluations": 1},
        "searcher": {"name": "bohb"},
        "scheduler": {"name": "fifo"},
        "rungs": [1.0],
    }
    state = StudyState()
    state.apply(
        {"event": "study_started", "time": 0, "study": document, "software": {}, "machine": {}}
    )
    for number, run in enumerate(runs):
        trial = f"{number:04d}"
        report = {"step": 1, "tokens": 1, "fraction": 1.0, "seconds": 1.0, "rung": 0}
        for event, fields in (
            ("trial_created", {"number": number, "kind": "search", "params": run["params"]}),
            ("segment_started", {"segment": 1, "checkpoint": None}),
            ("report", {**report, "metrics": {"eval_loss": run["loss"]}, "checkpoint": None}),
            ("trial_ended", {"outcome": "completed", "value": run["loss"], "tokens": 1}),
        ):
            state.apply(
                {
                    "event": event,
                    "time": number,
                    "trial": trial,
                    "reason": "",
                    "error": "",
                    **fields,
                }
            )
    return state


def asked(question: dict[str, Any]) -> dict[str, Any]:
    sys.path.append(str(HERE / "peers"))
    import run

    command = [str(run.environment("hpbandster_bohb")), str(HERE / "_hpbandster_ask.py")]
    answer = subprocess.run(command, input=json.dumps(question), text=True, capture_output=True)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
