"""Learning curves of language-model pretraining over a design of hyper-parameters, as a table.

    python benchmarks/lm_curves.py --out benchmarks/history/lm_pretraining_ru.parquet
    python benchmarks/lm_curves.py --out … --minutes 20        # a smaller table, or goes on later
    python benchmarks/lm_curves.py --out … --part 0/2          # half of it, beside a second process
    python benchmarks/lm_curves.py --out … --size micro        # eight times the weights

Each configuration of a scrambled Sobol design is trained three times, for budgets of B, B/3 and B/9
tokens whose schedules each end where the budget does, and evaluated at the same token counts. The
first N configurations are spread as evenly as all of them. What trains is what trains in a trial:
the same trainer, callback, checks and seed as in `tune_app.training.segment`, in this process, one
run after the other on one thread, without Ray and without checkpoints.

The three runs of a configuration take about 10 s of one core. Every finished run is a line of the
file beside the table that ends in `.runs.jsonl`, and is not made again; the table holds the
configurations that have all their runs. A run that diverges ends there with a row without losses.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tune_app.budget import Horizon
    from tune_app.training.trainable import Trainable

BUDGET = 27 * 4096
"""Tokens of the longest run. Every batch of the design divides a 27th of it."""
HORIZONS = (BUDGET, BUDGET // 3, BUDGET // 9)
EVALUATED = tuple(BUDGET / 3 ** (third / 3) for third in range(13))
"""Tokens at which runs are evaluated: B/81 to B, three times a factor 3, 13 times in all."""
LOGS = 36
"""Evenly spread steps at which the training loss is looked at, besides the evaluations."""

FIXED: dict[str, Any] = {
    "architecture": "gpt2",
    "size": "nano",
    "dataset": "ru",
    "vocab_size": 320,
    "block_size": 32,
    "eval_tokens": 4096,
}
SEARCHED: dict[str, Any] = {
    "learning_rate": (3e-5, 0.5),
    "warmup_steps": (0.0, 0.3),
    "lr_scheduler_type": ["linear", "constant_with_warmup", "cosine", "cosine_with_restarts"],
    "per_device_train_batch_size": [4, 8, 16],
    "gradient_accumulation_steps": [1, 2, 4],
    "optim": ["adamw_torch", "adafactor"],
    "bf16": [True, False],
    "weight_decay": [0.0, 0.01, 0.1],
}
"""Ranges in pairs, the learning rate's of equal factors; values in lists. A warm-up is a share."""
CYCLES = "lr_scheduler_kwargs.num_cycles"
"""Of cosine_with_restarts, which with one cycle would be cosine."""


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run."""

    trial: int
    horizon: int
    params: dict[str, Any]
    """The searched ones."""
    outcome: str
    seconds: float
    rows: list[dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="finished runs, if not beside the table")
    parser.add_argument("--configurations", type=int, default=384)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none later")
    parser.add_argument("--part", type=fraction, default=(0, 1), help="K/N: every Nth, from K on")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data, not the design")
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--longest-only", action="store_true", help="one run a configuration")
    alone.add_argument("--shortest-only", action="store_true", help="to see that it works")
    parser.add_argument("--size", default=FIXED["size"], help="of the model")
    args = parser.parse_args()
    with_worker_environment()
    FIXED["size"] = args.size
    path = args.work or args.out.with_suffix(".runs.jsonl")
    horizons = HORIZONS[:1] if args.longest_only else HORIZONS
    if args.shortest_only:
        horizons = HORIZONS[-1:]
    end = time.monotonic() + 60 * args.minutes
    wanted = range(args.part[0], args.configurations, args.part[1])
    for run in missing_runs(path, wanted, horizons, args.seed):
        print(f"{run.trial:4} {run.horizon:7,} {run.outcome} {run.seconds:.1f} s", flush=True)
        if time.monotonic() > end:
            break
    frame = table(read_runs(path), horizons)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(args.out, index=False)
    print(f"{args.out}: {frame.trial.nunique()} configurations, {len(frame):,} rows")


def fraction(text: str) -> tuple[int, int]:
    """K/N as two numbers."""
    part, of = map(int, text.split("/"))
    return part, of


def with_worker_environment() -> None:
    """Starts this command anew as a worker would run it: one thread, the workers' malloc."""
    from tune_app.engine.cluster import WORKER_ENVIRONMENT

    wanted = {**WORKER_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def missing_runs(path: Path, wanted: range, horizons: tuple[int, ...], seed: int) -> Iterator[Run]:
    """Makes and writes down the runs that the file lacks, one configuration after the other."""
    import torch

    torch.set_num_threads(1)
    done = {(run.trial, run.horizon) for run in read_runs(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        configurations = design(wanted.stop)
        for trial in wanted:
            for horizon in horizons:
                if (trial, horizon) not in done:
                    run = train(trial, horizon, configurations[trial], seed)
                    file.write(json.dumps(asdict(run)) + "\n")
                    file.flush()
                    yield run


def read_runs(path: Path) -> list[Run]:
    """All finished runs; a line that an interruption cut off is none."""
    runs = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            runs.append(Run(**json.loads(line)))
        except json.JSONDecodeError:
            continue
    return runs


def design(count: int) -> list[dict[str, Any]]:
    """The first `count` configurations of a scrambled Sobol sequence over the space."""
    from torch.quasirandom import SobolEngine

    sobol = SobolEngine(len(SEARCHED), scramble=True, seed=0)  # type: ignore[no-untyped-call]
    return [configuration(point) for point in sobol.draw(count).double().tolist()]


def configuration(point: Iterable[float]) -> dict[str, Any]:
    """The values at a point of the unit cube."""
    params: dict[str, Any] = {}
    for (name, domain), at in zip(SEARCHED.items(), point, strict=True):
        if isinstance(domain, list):
            params[name] = domain[min(int(at * len(domain)), len(domain) - 1)]
        elif name == "learning_rate":
            params[name] = float(f"{domain[0] * (domain[1] / domain[0]) ** at:.4g}")
        else:
            params[name] = round(domain[0] + (domain[1] - domain[0]) * at, 4)
    if params["lr_scheduler_type"] == "cosine_with_restarts":
        params[CYCLES] = 2
    return params


def train(trial: int, tokens: int, params: dict[str, Any], seed: int) -> Run:
    """Trains one configuration for a budget of tokens, as a trial does."""
    from tune_app.training import segment, trainable
    from tune_app.training.reporter import Diverged

    loaded, begin, outcome = trainable.load("causal_lm"), time.monotonic(), "completed"
    with segment.clean_process(), tempfile.TemporaryDirectory() as folder:
        context = Listener(Path(folder))
        try:
            _train(loaded, {**FIXED, **params}, tokens, seed, context)
        except Diverged:
            outcome = "diverged"
    rows = [row for row in context.rows if "eval_loss" in row]
    if outcome == "diverged" and "eval_loss" not in context.rows[-1]:
        rows.append({**context.rows[-1], "eval_loss": float("nan")})
    return Run(trial, tokens, params, outcome, round(time.monotonic() - begin, 3), rows)


def _train(
    loaded: Trainable, params: Mapping[str, Any], tokens: int, seed: int, context: Listener
) -> None:
    from tune_app.budget import Unit, steps_for
    from tune_app.cache import cache_folder
    from tune_app.training import segment
    from tune_app.training.reporter import HeartbeatSender, Reporter
    from tune_app.training.step_check import StepCheck

    data = loaded.module.prepare(loaded.config(params), cache_folder(), lambda line: None)
    epoch = segment.epoch_of(loaded, params, data)
    max_steps = steps_for(Unit.TOKENS, tokens, epoch)
    trainer = segment.make_trainer(
        loaded,
        params,
        data,
        output_dir=context.paths.checkpoints,
        max_steps=max_steps,
        seed=seed,
        accelerator="cpu",
    )

    check = StepCheck(trainer, loaded.arguments(params), epoch, context)
    plan = evaluations(max_steps, epoch.tokens_per_step)
    trainer.add_callback(Reporter(context, plan, 0.0, check, HeartbeatSender(context)))
    trainer.train()


def evaluations(max_steps: int, tokens_per_step: int) -> Horizon:
    """When a run of so many steps is evaluated; without rungs, so without checkpoints."""
    from tune_app.budget import Horizon

    wanted = {max(1, round(tokens / tokens_per_step)) for tokens in EVALUATED}
    eval_steps = frozenset(step for step in wanted if step <= max_steps)
    logged = {max(1, round(max_steps * (index + 1) / LOGS)) for index in range(LOGS)}
    return Horizon(max_steps, tokens_per_step, (), eval_steps, eval_steps | logged)


class Listener:
    """A driver that only listens."""

    def __init__(self, folder: Path) -> None:
        from tune_app.core.ports import LocalPaths

        self.paths = LocalPaths(folder, folder)
        self.rows: list[dict[str, float]] = []

    def send(self, event: str, **fields: Any) -> None:
        if event == "report":
            known = {name: fields[name] for name in ("tokens", "step")}
            self.rows.append({**known, **fields["metrics"]})

    def publish(self, folder: Path, step: int) -> str:
        """A run of more than five minutes saves; nobody goes on from there."""
        return str(folder)

    def interrupted(self) -> bool:
        return False


def table(runs: list[Run], horizons: tuple[int, ...]) -> pd.DataFrame:
    """One row a report, of the configurations that have a run of every horizon."""
    import pandas as pd

    found: dict[int, dict[int, Run]] = {}
    for run in runs:
        found.setdefault(run.trial, {})[run.horizon] = run
    complete = [found[trial] for trial in sorted(found) if set(horizons) <= set(found[trial])]
    rows = [
        {
            "trial": run.trial,
            "context.horizon_tokens": run.horizon,
            **{f"config.{name}": run.params.get(name) for name in (*SEARCHED, CYCLES)},
            **{name: row.get(name) for name in COLUMNS},
        }
        for of_trial in complete
        for run in (of_trial[horizon] for horizon in horizons)
        for row in run.rows
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({name: kind for name, kind in COLUMNS.items() if name in frame})


COLUMNS = {
    "tokens": "int64",
    "step": "int64",
    "eval_loss": "float64",
    "train_loss": "float64",
    "grad_norm": "float64",
}

if __name__ == "__main__":
    main()
