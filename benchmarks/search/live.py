"""Real training: our search beside W&B's engine, on the quickstart's space and corpus.

    python benchmarks/search/live.py [--seeds 3] [--tokens 200000] [--full-runs 25] [--folder DIR]

For each seed W&B's `bayes` does its full runs, then our default search (`auto` and `auto`) has the
same space until it has a completed trial as good as W&B's best. Both run under `tune_app`, on the
same workers, without an untuned baseline. Prints tokens and wall-clock time to
W&B's final best: both searches', when W&B itself first had it, and what W&B paid for all its runs.
Studies that DIR already holds and that have ended are not run again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean

from tune_app.core import journal
from tune_app.core.state import StudyState

HERE = Path(__file__).resolve().parent
STUDY = HERE.parents[1] / "search_spaces" / "quickstart.yaml"
TRIALS_A_FULL_RUN = 8
"""More than our search can pay for: with four rungs 27 trials cost four full runs."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What all trials together have cost, and the best value of those that ran to the end."""

    tokens: int
    seconds: float
    best: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=200_000, help="of a full run")
    parser.add_argument("--full-runs", type=int, default=25)
    parser.add_argument("--concurrent", type=int, default=1, help="trials at a time")
    parser.add_argument("--folder", type=Path, default=Path("live"), help="of the studies")
    args = parser.parse_args()
    print("| seed | W&B's best | W&B: all it spent | had it at | ours at | fewer tokens, sooner |")
    print("|--:|--:|--:|--:|--:|--:|", flush=True)
    ratios = []
    for seed in range(args.seeds):
        whole, first, ours = pair(args, seed)
        row = f"| {seed} | {whole.best:.4f} | {told(whole)} | {told(first)} | {told(ours)} |"
        if ours is None or ours.tokens > whole.tokens:
            print(row, "not reached |", flush=True)
            continue
        ratios.append((whole.tokens / ours.tokens, whole.seconds / ours.seconds))
        print(row, f"{ratios[-1][0]:.1f}, {ratios[-1][1]:.1f} |", flush=True)
    print(f"\nreached with {len(ratios)} of {args.seeds} seeds")
    if ratios:
        tokens, seconds = (geometric_mean(values) for values in zip(*ratios, strict=True))
        print(f"geometric means: {tokens:.1f} times fewer tokens, {seconds:.1f} times sooner")


def pair(args: argparse.Namespace, seed: int) -> tuple[Moment, Moment | None, Moment | None]:
    """The end of W&B's search, and when it and ours had its best."""
    engine = f"searcher={HERE / 'wandb_bayes.py'}"
    theirs = searched(args, f"wandb-{seed}", seed, args.full_runs, engine, "scheduler=fifo")
    target = theirs[-1].best
    most = TRIALS_A_FULL_RUN * args.full_runs
    ours = searched(args, f"ours-{seed}", seed, most, f"metric.target={target!r}")
    return theirs[-1], reached(theirs, target), reached(ours, target)


def searched(
    args: argparse.Namespace, name: str, seed: int, trials: int, *settings: str
) -> list[Moment]:
    """A study's moments, from its journal; it is run unless that is there."""
    path = args.folder / name / journal.FILE_NAME
    changes = [
        f"budget.tokens={args.tokens}",
        f"budget.trials={trials}",
        f"resources.concurrent={args.concurrent}",
        "baseline=false",
        "trackers=[]",
        *settings,
    ]
    if not path.exists():
        words = [sys.executable, "-m", "tune_app.run", str(STUDY), "--name", name]
        words += ["--storage", str(args.folder), "--seed", str(seed)]
        words += [word for change in changes for word in ("--set", change)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return moments(path)


def moments(path: Path) -> list[Moment]:
    """What had been spent and found after each event since the first trial."""
    state, found = StudyState(), []
    for event in journal.read(path)[0]:
        state.apply(event)
        if state.trials:
            best, begun = state.best(), next(iter(state.trials.values())).created
            tokens = sum(trial.tokens for trial in state.trials.values())
            value = None if best is None else state.final_value(best)
            found.append(Moment(tokens, event["time"] - begun, value))
    return found


def reached(history: list[Moment], target: float | None) -> Moment | None:
    """The first moment with a completed trial as good as `target`."""
    assert target is not None
    good = (moment for moment in history if moment.best is not None and moment.best <= target)
    return next(good, None)


def told(moment: Moment | None) -> str:
    if moment is None:
        return "-"
    return f"{moment.tokens / 1e6:.2f}M tokens, {moment.seconds / 60:.1f} min"


if __name__ == "__main__":
    main()
