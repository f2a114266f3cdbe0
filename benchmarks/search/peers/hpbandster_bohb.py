"""HpBandSter's BOHB with its defaults: its own master, iterations and generator in one process.

Only the dispatcher, which would hand jobs to workers over the network, is replaced: it trains on
the table at once. Budgets are 50/27, 50/9, 50/3 and 50 levels of 50, rounded. The worker of its
examples trains anew for each budget (`scratch`); one that keeps checkpoints by config id pays the
difference (`resumed`). A loss that is no number is a job without a result, which counts as the
worst. A job's configuration is the proposal: a worker has no way to say otherwise.

The package is unmaintained; it runs with ConfigSpace 0.7.1 and numpy 1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import ConfigSpace as cs
import hpbandster.core.master
from _bench import Param, Run, Session, main
from hpbandster.core.dispatcher import Job
from hpbandster.optimizers import BOHB


def hyperparameter(param: Param) -> Any:
    if param.choices:
        return cs.CategoricalHyperparameter(param.name, list(param.choices))
    return cs.UniformFloatHyperparameter(param.name, param.low, param.high, log=param.log)


class Dispatcher:
    """Trains a job when it is submitted and calls back before it returns."""

    session: Session
    resumes: bool

    def __init__(self, callback: Callable[[Job], None], **network: Any) -> None:
        self.callback = callback
        self.runs: dict[Any, Run] = {}

    def run(self) -> None:
        """Would listen for workers."""

    def number_of_workers(self) -> int:
        return 1

    def submit_job(self, id: Any, **kwargs: Any) -> None:
        job = Job(id, **kwargs)
        if id not in self.runs:
            self.runs[id] = self.session.start(kwargs["config"])
        elif not self.resumes:
            self.session.restart(self.runs[id])
        run = self.runs[id]
        loss = self.session.train(run, round(kwargs["budget"]))
        if run.failed:
            job.exception = "the loss is no number"
        else:
            job.result = {"loss": loss, "info": None}
        self.callback(job)


def bohb(session: Session, seed: int, resumes: bool) -> None:
    logging.disable(logging.WARNING)
    space = cs.ConfigurationSpace(seed=seed)
    space.add_hyperparameters([hyperparameter(param) for param in session.table.params])
    Dispatcher.session, Dispatcher.resumes = session, resumes
    hpbandster.core.master.Dispatcher = Dispatcher
    master = BOHB(configspace=space, run_id="peer", min_budget=1, max_budget=session.table.top)
    master.adjust_queue_size(1)
    master.run(n_iterations=10_000)


if __name__ == "__main__":
    main(
        "hpbandster",
        {
            "hpbandster_bohb_scratch": lambda session, seed: bohb(session, seed, resumes=False),
            "hpbandster_bohb_resumed": lambda session, seed: bohb(session, seed, resumes=True),
        },
    )
