"""Optuna: TPESampler with HyperbandPruner, both with their defaults.

Only `max_resource` is given, the number of levels. A step at which a trial is pruned is reported
first, as in Optuna's examples. A loss that is no number makes the trial a FAIL, which the sampler
leaves out. A trial's parameters are the proposal: Optuna has no way to say otherwise.
"""

from __future__ import annotations

import optuna
from _bench import Param, Point, Session, Value, main
from optuna.trial import Trial, TrialState


def ask(trial: Trial, session: Session) -> Point:
    return {p.name: suggested(trial, p) for p in session.table.params}


def suggested(trial: Trial, param: Param) -> Value:
    if not param.choices:
        return trial.suggest_float(param.name, param.low, param.high, log=param.log)
    value = trial.suggest_categorical(param.name, param.choices)
    assert value is not None
    return value


def hyperband(session: Session, seed: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(max_resource=session.table.top),
        study_name=f"peers-{seed}",
    )
    while True:
        trial = study.ask()
        run = session.start(ask(trial, session))
        pruned, loss = False, 0.0
        while not pruned and run.level < session.table.top:
            loss = session.advance(run)
            if run.failed:
                break
            trial.report(loss, step=run.level)
            pruned = trial.should_prune()
        if run.failed:
            study.tell(trial, state=TrialState.FAIL)
        elif pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, loss)


if __name__ == "__main__":
    main("optuna", {"optuna_tpe_hyperband": hyperband})
