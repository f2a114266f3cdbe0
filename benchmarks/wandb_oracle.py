"""Compares our reading of each W&B distribution with W&B's own engine.

    python benchmarks/wandb_oracle.py

The engine, `sweeps` 0.2.0 of the Python package index, is installed into an environment of its own
in a temporary folder. Both draw 10,000 values from each parameter; a two-sample Kolmogorov-Smirnov
test (by scipy, which `sweeps` needs) and the ends of both samples say whether they are the same.
Exit code 1 if any p-value is below 0.001 or the values that can be drawn differ.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tune_app.space import wandb_sweep
from tune_app.space.domains import sample
from tune_app.study import yaml_source

DRAWS = 10_000

PARAMETERS = {
    "uniform": {"min": -1.5, "max": 3.0},
    "uniform of one whole end": {"min": 1, "max": 3.5},
    "int_uniform": {"min": 3, "max": 16},
    "int_uniform below 0": {"min": -4, "max": 2, "distribution": "int_uniform"},
    "q_uniform 3..16 q 8": {"distribution": "q_uniform", "min": 3, "max": 16, "q": 8},
    "q_uniform q 0.25": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25},
    "q_uniform without q": {"distribution": "q_uniform", "min": 0.6, "max": 7.4},
    "log_uniform": {"distribution": "log_uniform", "min": -9.2, "max": -4.6},
    "log_uniform_values": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
    "q_log_uniform": {"distribution": "q_log_uniform", "min": 0, "max": 4, "q": 2},
    "q_log_uniform_values": {"distribution": "q_log_uniform_values", "min": 3, "max": 300, "q": 8},
    "inv_log_uniform": {"distribution": "inv_log_uniform", "min": 2, "max": 8},
    "inv_log_uniform_values": {"distribution": "inv_log_uniform_values", "min": 1e-4, "max": 0.5},
    "normal": {"distribution": "normal", "mu": 2.0, "sigma": 0.5},
    "normal by default": {"distribution": "normal"},
    "q_normal": {"distribution": "q_normal", "mu": 10, "sigma": 4, "q": 2},
    "log_normal": {"distribution": "log_normal", "mu": -3.0, "sigma": 1.0},
    "q_log_normal": {"distribution": "q_log_normal", "mu": 3.0, "sigma": 1.0, "q": 5},
    "beta": {"distribution": "beta", "a": 2, "b": 5},
    "q_beta": {"distribution": "q_beta", "a": 2, "b": 5, "q": 0.1},
    "categorical": {"values": [4, 8, 16]},
    "categorical, one twice": {"values": [4, 8, 16, 8]},
    "categorical_w_probabilities": {"values": [4, 8, 16], "probabilities": [0.2, 0.5, 0.3]},
}

BOUNDED_STEPS = {name for name in PARAMETERS if name.startswith(("q_uniform", "q_log_uniform"))}
"""Where both must have drawn every value that there is, ends included."""

ENGINE = """
import json, random, sys
import numpy as np
from scipy.stats import ks_2samp
from sweeps.params import HyperParameter

asked = json.load(open(sys.argv[1]))
for name, (entry, ours, both_ends) in asked.items():
    random.seed(1)
    parameter = HyperParameter(name, entry)
    theirs = [parameter.sample() for _ in ours]
    # The same number to a person: 0.3 is 0.30000000000000004 to them.
    theirs = [float(f"{value:.12g}") for value in theirs]
    test = ks_2samp(theirs, ours)
    same = not both_ends or np.allclose(sorted(set(ours)), sorted(set(theirs)))
    print(json.dumps([name, test.statistic, test.pvalue, min(theirs), max(theirs), bool(same)]))
"""


def ours(name: str) -> list[float]:
    """Draws from a parameter as a sweep file with it alone is read."""
    text = json.dumps({"method": "random", "parameters": {"p": PARAMETERS[name]}})
    source = yaml_source.parse(text, name)
    parsed = wandb_sweep.parse(source.data, source.where)
    assert not parsed.problems, parsed.problems
    rng = random.Random(name)
    return [float(sample(parsed.sweep.parameters["p"], rng)) for _ in range(DRAWS)]


def main() -> int:
    asked = {n: (entry, ours(n), n in BOUNDED_STEPS) for n, entry in PARAMETERS.items()}
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        install = [python, "-m", "pip", "install", "--quiet", "sweeps==0.2.0"]
        subprocess.run(install, check=True)
        path = Path(folder, "asked.json")
        path.write_text(json.dumps(asked))
        command = [python, "-c", ENGINE, str(path)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"{'parameter':<28} {'KS':>7} {'p':>7}   W&B's ends, ours")
    failed = 0
    for line in output.splitlines():
        name, statistic, p, low, high, same = json.loads(line)
        values = asked[name][1]
        ends = f"{low:.4g} … {high:.4g}, {min(values):.4g} … {max(values):.4g}"
        good = p >= 1e-3 and same
        failed += not good
        print(f"{name:<28} {statistic:>7.4f} {p:>7.3f}   {ends}{'' if good else '   DIFFERS'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
