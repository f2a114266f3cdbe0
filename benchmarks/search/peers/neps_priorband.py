"""NePS's PriorBand with its defaults, ask and tell.

No prior is given, for none is known here: NePS then says itself that it samples evenly, besides
around the incumbent, and that Hyperband would do. A promoted configuration continues from its
checkpoint, as NePS offers by the folder of the previous trial, and pays the difference. A loss that
is no number is told as an exception. The configuration told is the one asked for. The fidelity is
an integer, the level, from 1.
"""

from __future__ import annotations

import logging
from typing import Any

import neps
import torch
from _bench import Param, Run, Session, main

FIDELITY = "level"


def domain(param: Param) -> Any:
    if param.choices:
        return neps.Categorical(choices=param.choices)
    return neps.Float(lower=param.low, upper=param.high, log=param.log)


def priorband(session: Session, seed: int) -> None:
    logging.disable(logging.WARNING)
    torch.manual_seed(seed)
    parts = {param.name: domain(param) for param in session.table.params}
    parts[FIDELITY] = neps.IntegerFidelity(lower=1, upper=session.table.top)
    space = type("Space", (neps.PipelineSpace,), parts)()
    optimizer = neps.AskAndTell(neps.algorithms.priorband(space))
    runs: dict[str, Run] = {}
    while True:
        trial = optimizer.ask()
        config = dict(trial.config)
        level = int(config.pop(FIDELITY))
        previous = trial.metadata.previous_trial_id
        run = session.start(config) if previous is None else runs[previous]
        runs[trial.metadata.id] = run
        loss = session.train(run, level)
        optimizer.tell(trial.metadata.id, ValueError("NaN") if run.failed else loss)


if __name__ == "__main__":
    main("neural-pipeline-search", {"neps_priorband": priorband})
