"""SMAC3's multi-fidelity facade (Hyperband with a random forest) with its defaults, ask and tell.

Only `deterministic` is set, for a table has no noise, and the budgets, 1 to the number of levels;
those asked for are 50/27, 50/9, 50/3 and 50 levels of 50, rounded. SMAC says nothing of checkpoints
and its examples train anew for each budget (`scratch`); `resumed` pays the difference alone. A loss
that is no number is told as CRASHED with the worst finite loss of the table: at the default crash
cost, which is infinite, its forest fails. The configuration told is the one asked for: SMAC takes
no other for it. `n_trials`, which sets the size of the initial design, stays at 100; asking goes on
beyond it until the clock ends the search.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Param, Run, Session, main
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, UniformFloatHyperparameter
from smac import MultiFidelityFacade, Scenario
from smac.runhistory import StatusType, TrialValue


def hyperparameter(param: Param) -> Any:
    if param.choices:
        return CategoricalHyperparameter(param.name, list(param.choices))
    return UniformFloatHyperparameter(param.name, param.low, param.high, log=param.log)


def hyperband(session: Session, seed: int, resumes: bool) -> None:
    logging.disable(logging.WARNING)
    space = ConfigurationSpace(seed=seed)
    space.add([hyperparameter(param) for param in session.table.params])
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space,
            deterministic=True,
            min_budget=1,
            max_budget=session.table.top,
            seed=seed,
            output_directory=Path(folder),
        )
        smac = MultiFidelityFacade(
            scenario, lambda config, seed, budget: 0.0, overwrite=True, logging_level=False
        )
        worst = float(np.nanmax(session.table.curves))
        crashed = TrialValue(cost=worst, status=StatusType.CRASHED)
        runs: dict[Any, Run] = {}
        while True:
            info = smac.ask()
            if info.config not in runs:
                runs[info.config] = session.start(dict(info.config))
            elif not resumes:
                session.restart(runs[info.config])
            run = runs[info.config]
            loss = session.train(run, round(info.budget))
            smac.tell(info, crashed if run.failed else TrialValue(cost=loss), save=False)


if __name__ == "__main__":
    main(
        "smac",
        {
            "smac_hyperband_scratch": lambda session, seed: hyperband(session, seed, False),
            "smac_hyperband_resumed": lambda session, seed: hyperband(session, seed, True),
        },
    )
