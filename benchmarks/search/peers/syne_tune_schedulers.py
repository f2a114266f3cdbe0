"""Syne Tune: ASHA, BOHB and CQR, the last with ASHA and with full runs, all with their defaults.

The schedulers are driven as the tuner drives them: suggest, on_trial_add, on_trial_result until
they say STOP, then on_trial_remove; on_trial_complete after a full run; on_trial_error for a loss
that is no number. The trial handed over carries the actual configuration, which the searchers then
learn. ASHA is of the stopping kind there and never resumes a trial.
"""

from __future__ import annotations

import datetime
import itertools
import logging
from collections.abc import Callable
from typing import Any

from _bench import Param, Session, main
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, loguniform, uniform
from syne_tune.optimizer.baselines import ASHA, ASHACQR, BOHB, CQR
from syne_tune.optimizer.scheduler import SchedulerDecision, TrialScheduler

METRIC, TIME = "eval_loss", "level"
Make = Callable[[dict[str, Any], int, int], TrialScheduler]


def domain(param: Param) -> Any:
    if param.choices:
        return choice(list(param.choices))
    return (loguniform if param.log else uniform)(param.low, param.high)


def multi_fidelity(scheduler: type[TrialScheduler]) -> Make:
    return lambda space, top, seed: scheduler(
        space, metric=METRIC, time_attr=TIME, max_t=top, random_seed=seed
    )


def full_runs(space: dict[str, Any], top: int, seed: int) -> TrialScheduler:
    return CQR(space, metric=METRIC, random_seed=seed)


def drive(session: Session, scheduler: TrialScheduler) -> None:
    for number in itertools.count():
        run = session.start(scheduler.suggest().config)
        trial = Trial(number, dict(session.point(run)), datetime.datetime.now())
        scheduler.on_trial_add(trial)
        decision, result = SchedulerDecision.CONTINUE, {}
        while decision == SchedulerDecision.CONTINUE and run.level < session.table.top:
            loss = session.advance(run)
            if run.failed:
                break
            result = {METRIC: loss, TIME: run.level}
            decision = scheduler.on_trial_result(trial, result)
        if run.failed:
            scheduler.on_trial_error(trial)
        elif decision == SchedulerDecision.CONTINUE:
            scheduler.on_trial_complete(trial, result)
        else:
            scheduler.on_trial_remove(trial)


def search(make: Make) -> Callable[[Session, int], None]:
    def engine(session: Session, seed: int) -> None:
        logging.disable(logging.WARNING)
        space = {param.name: domain(param) for param in session.table.params}
        drive(session, make(space, session.table.top, seed))

    return engine


if __name__ == "__main__":
    main(
        "syne-tune",
        {
            "syne_tune_asha": search(multi_fidelity(ASHA)),
            "syne_tune_bohb": search(multi_fidelity(BOHB)),
            "syne_tune_asha_cqr": search(multi_fidelity(ASHACQR)),
            "syne_tune_cqr": search(full_runs),
        },
    )
