"""How the searchers' answers slow down, and their memory grows, with the trials of a study.

    python benchmarks/search/growth.py [--searcher NAME ...] [--trials N ...]

Prints for each searcher and number of trials the median and the 95th percentile of the seconds that
a suggestion takes with 64 trials pending, and the memory of state and searcher together.
"""

from __future__ import annotations

import argparse
import math
import random
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.plugins import make
from tune_app.space.domains import Choice, Float, Space, sample, to_document

PENDING = 64
ASKED = 60
SPACE: Space = {
    "learning_rate": Float(1e-5, 1e-1, log=True),
    "weight_decay": Float(1e-4, 1.0, log=True),
    "warmup": Float(0.0, 0.3),
    "beta2": Float(0.9, 0.999),
    "batch_size": Choice((4, 8, 16, 32, 64)),
    "accumulation": Choice((1, 2, 4)),
    "scheduler": Choice(("linear", "cosine", "constant")),
    "bf16": Choice((True, False)),
}
SHARES = (1 / 64, 1 / 16, 1 / 4, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searcher", action="append", default=None)
    parser.add_argument("--trials", action="append", type=int, default=None)
    args = parser.parse_args()
    print(f"{'searcher':<12} {'trials':>7} {'median s':>9} {'p95 s':>9} {'memory MB':>10}")
    for name in args.searcher or ["auto", "tpe", "gp", "bohb", "quasirandom", "random"]:
        for trials in args.trials or [100, 1_000, 10_000]:
            print(row(name, trials), flush=True)


def row(name: str, trials: int) -> str:
    """One line of the table."""
    tracemalloc.start()
    state = study(name, trials)
    searcher = make.searcher(state.definition)
    searcher.suggest(state, len(state.trials))
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    taken = sorted(timed(searcher, state, trials + PENDING + index) for index in range(ASKED))
    median, p95 = taken[ASKED // 2], taken[math.ceil(0.95 * ASKED) - 1]
    return f"{name:<12} {trials:>7} {median:>9.4f} {p95:>9.4f} {megabytes:>10.1f}"


def timed(searcher: Any, state: StudyState, number: int) -> float:
    """Seconds of one suggestion; its trial is created, and reports at the lowest rung."""
    begun = time.perf_counter()
    params = searcher.suggest(state, number)
    taken = time.perf_counter() - begun
    for event in trial(number, params, random.Random(number), reached=0):
        state.apply(event)
    return taken


def study(name: str, trials: int) -> StudyState:
    """A study with so many trials that have been at rungs, and pending ones."""
    rng = random.Random(0)
    state = StudyState()
    document = {
        "name": "growth",
        "metric": {"name": "eval_loss", "goal": "minimize"},
        "parameters": {key: to_document(domain) for key, domain in SPACE.items()},
        "budget": {"unit": "tokens", "amount": 1e6, "trials": 10**6, "evaluations": 4},
        "searcher": {"name": name},
        "scheduler": {"name": "auto"},
        "rungs": list(SHARES),
        "seed": 0,
        "baseline": False,
    }
    state.apply({"event": "study_started", "time": 0.0, "study": document})
    for number in range(trials + PENDING):
        params = {key: sample(domain, rng) for key, domain in SPACE.items()}
        reached = -1 if number >= trials else min(int(-math.log(rng.random()) / math.log(4)), 3)
        for event in trial(number, params, rng, reached):
            state.apply(event)
    return state


def trial(number: int, params: dict[str, Any], rng: random.Random, reached: int) -> Iterator[Event]:
    """The events of one trial up to a rung; -1 for none."""
    name = f"{number:04d}"
    created = {"trial": name, "number": number, "kind": "search", "params": params}
    yield {"event": "trial_created", "time": float(number), **created}
    yield {"event": "segment_started", "time": float(number), "trial": name, "checkpoint": None}
    off = abs(math.log10(params["learning_rate"]) + 3) + abs(params["warmup"] - 0.1)
    for rung in range(reached + 1):
        loss = 3 + off * (1 + rung) + rng.gauss(0, 0.1)
        yield {
            "event": "report",
            "time": float(number),
            "trial": name,
            "step": 10**rung,
            "tokens": 1000 * 10**rung,
            "fraction": SHARES[rung],
            "seconds": 1.0,
            "metrics": {"eval_loss": loss},
            "rung": rung,
            "checkpoint": None,
        }
    if reached >= 0:
        yield {
            "event": "decision",
            "time": 0.0,
            "trial": name,
            "rung": reached,
            "decision": "pause",
        }


if __name__ == "__main__":
    main()
