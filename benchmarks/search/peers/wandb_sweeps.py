"""W&B's own sweep engine, `bayes`, with and without its Hyperband stopping.

`sweeps` is what ran behind `method: bayes`; it is given each finished run with its history, as the
service did. Proposals are told under the actual configuration: a run's config is what was logged.
A loss that is no number makes a `failed` run, to which the engine imputes the worst loss seen.
Without stopping every run is a full one. With it `min_iter: 1` is the only setting, eta is 3.
"""

from __future__ import annotations

from typing import Any

import sweeps
from _bench import Param, Point, Run, Session, main

METRIC = "eval_loss"


def parameter(param: Param) -> dict[str, Any]:
    if param.choices:
        return {"values": list(param.choices)}
    kind = "log_uniform_values" if param.log else "uniform"
    return {"distribution": kind, "min": param.low, "max": param.high}


def record(point: Point, losses: list[float], state: str, name: str) -> sweeps.SweepRun:
    """A run as the service knew it; under these names, for pydantic 2 drops those of the fields."""
    history = [{METRIC: loss} for loss in losses]
    run = sweeps.SweepRun(
        name=name,
        state=state,
        config={key: {"value": value} for key, value in point.items()},
        sampledHistory=history,
        summaryMetrics=history[-1] if history else {},
    )
    assert run.history == history
    return run


def bayes(session: Session, stopping: bool) -> None:
    sweep = {
        "method": "bayes",
        "metric": {"name": METRIC, "goal": "minimize"},
        "parameters": {p.name: parameter(p) for p in session.table.params},
    }
    if stopping:
        sweep["early_terminate"] = {"type": "hyperband", "min_iter": 1}
    done: list[sweeps.SweepRun] = []
    while True:
        proposed = sweeps.next_run(sweep, done)
        run = session.start({key: entry["value"] for key, entry in proposed.config.items()})
        losses, state = train(session, run, sweep, done if stopping else None)
        done.append(record(session.point(run), losses, state, str(run.row)))


def train(
    session: Session, run: Run, sweep: dict[str, Any], done: list[sweeps.SweepRun] | None
) -> tuple[list[float], str]:
    """Trains to the end, to the first loss that is no number, or until the sweep stops the run."""
    losses: list[float] = []
    while run.level < session.table.top:
        losses.append(session.advance(run))
        if run.failed:
            return losses[:-1], "failed"
        if done is not None:
            running = record(session.point(run), losses, "running", str(run.row))
            if sweeps.stop_runs(sweep, [*done, running]):
                return losses, "killed"
    return losses, "finished"


if __name__ == "__main__":
    main(
        "sweeps",
        {
            "wandb_bayes": lambda session, seed: bayes(session, stopping=False),
            "wandb_bayes_hyperband": lambda session, seed: bayes(session, stopping=True),
        },
    )
