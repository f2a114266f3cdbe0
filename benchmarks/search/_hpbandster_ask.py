"""Asks HpBandSter's BOHB generator for its model; runs in its environment, see `bohb_generator.py`.

Reads {"runs": [{"params": …, "loss": …}], "rows": [params, …], "draws": N} from standard input and
writes {"good": [log densities of the rows], "bad": […], "proposals": [params, …]}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import ConfigSpace as cs
import numpy as np
from hpbandster.core.dispatcher import Job
from hpbandster.optimizers.config_generators.bohb import BOHB

asked = json.load(sys.stdin)
np.random.seed(0)
space = cs.ConfigurationSpace(seed=0)
for name in ("x", "y"):
    space.add_hyperparameter(cs.UniformFloatHyperparameter(name, 0.0, 1.0))
space.add_hyperparameter(cs.UniformFloatHyperparameter("rate", 1e-5, 1e-1, log=True))
space.add_hyperparameter(cs.CategoricalHyperparameter("optim", ["a", "b", "c"]))
generator = BOHB(space, random_fraction=0.0)
for number, run in enumerate(asked["runs"]):
    job = Job(number, config=run["params"], budget=1.0)
    job.result = {"loss": run["loss"]}
    generator.new_result(job)
models = generator.kde_models[1.0]


def log_densities(kind: str) -> list[float]:
    points = [cs.Configuration(space, row).get_array() for row in asked["rows"]]
    return [float(np.log(models[kind].pdf(point))) for point in points]


def plain(params: dict[str, Any]) -> dict[str, Any]:
    return {name: v if isinstance(v, str) else float(v) for name, v in params.items()}


proposals = [plain(generator.get_config(1.0)[0]) for _ in range(asked["draws"])]
json.dump(
    {"good": log_densities("good"), "bad": log_densities("bad"), "proposals": proposals}, sys.stdout
)
