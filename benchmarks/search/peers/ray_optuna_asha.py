"""Ray Tune: OptunaSearch with AsyncHyperBandScheduler (ASHA), both with their defaults.

Tune's own loop is not run: searcher and scheduler are called as its controller calls them with one
worker, without a cluster. ASHA's `max_t` is the number of levels, the rest is default (grace period
1, reduction factor 4, one bracket), as in Tune's examples. A trial stopped early is told to the
searcher as complete with its last result, as Tune does; a loss that is no number is an error of the
trial. Optuna's parameters are the proposal: Tune has no way to say otherwise.
"""

from __future__ import annotations

import itertools
import logging
from typing import Any

import optuna
from _bench import Param, Session, main
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

METRIC, MODE = "eval_loss", "min"


def domain(param: Param) -> Any:
    if param.choices:
        return tune.choice(list(param.choices))
    return (tune.loguniform if param.log else tune.uniform)(param.low, param.high)


def asha(session: Session, seed: int) -> None:
    logging.disable(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {param.name: domain(param) for param in session.table.params}
    searcher = OptunaSearch(space, metric=METRIC, mode=MODE, seed=seed)
    scheduler = AsyncHyperBandScheduler(metric=METRIC, mode=MODE, max_t=session.table.top)
    for number in itertools.count():
        name = f"{number:05}"
        config = searcher.suggest(name)
        trial = Trial("peer", config=config, trial_id=name, stub=True)
        scheduler.on_trial_add(None, trial)
        run = session.start(config)
        decision, result = TrialScheduler.CONTINUE, {}
        while decision == TrialScheduler.CONTINUE and run.level < session.table.top:
            loss = session.advance(run)
            if run.failed:
                break
            result = {METRIC: loss, "training_iteration": run.level, "config": config}
            decision = scheduler.on_trial_result(None, trial, result)
            if decision == TrialScheduler.CONTINUE:
                searcher.on_trial_result(name, result)
        if run.failed:
            scheduler.on_trial_error(None, trial)
            searcher.on_trial_complete(name, error=True)
        else:
            scheduler.on_trial_complete(None, trial, result)
            searcher.on_trial_complete(name, result=result)


if __name__ == "__main__":
    main("ray", {"ray_optuna_asha": asha})
