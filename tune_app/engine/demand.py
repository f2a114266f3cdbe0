"""Requests machines from a cluster with an autoscaler, and waits for the first one."""

from __future__ import annotations

import time
from collections.abc import Callable

import ray

from tune_app.core.state import StudyState
from tune_app.core.trial import Status
from tune_app.engine.cluster import Cluster
from tune_app.engine.resources import TrialResources
from tune_app.errors import Problem, UserError

PATIENCE_S = 1800.0
"""The longest wait for the first machine: a spot machine can be sold out for a while."""

POLL_S = 2.0

AGAIN_S = 10.0
"""The shortest time between requests.

Tasks that are placed at once block a trial for a moment; an autoscaler polls every five seconds.
"""


class Demand:
    """Pending tasks as large as a trial, for which an autoscaler starts machines.

    A task ends as soon as it is placed, so that it blocks no trial. Unlike a request with Ray's
    `request_resources` it disappears when the driver ends, however that happens: no machine is
    started for a killed study.
    """

    def __init__(
        self,
        cluster: Cluster,
        trial: TrialResources,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._next = clock()
        # All processes of a trial share a node, so the autoscaler sees them as one large task.
        cpus, gpus = trial.cpu * trial.processes, trial.gpu * trial.processes
        self._knock = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_knock)
        self._pending: list[ray.ObjectRef] = []

    def ask(self, missing: int) -> None:
        """Sets the number of trials for which machines are missing; it may also shrink."""
        if not self._cluster.grows:
            return
        if self._pending:
            _, self._pending = ray.wait(self._pending, num_returns=len(self._pending), timeout=0)
        while len(self._pending) > max(missing, 0):
            ray.cancel(self._pending.pop())
        if missing <= len(self._pending) or self._clock() < self._next:
            return
        self._next = self._clock() + AGAIN_S
        while len(self._pending) < missing:
            self._pending.append(self._knock.remote())


def _knock() -> None:
    """Does nothing: the task only has to be placed."""


def runnable_trials(state: StudyState) -> int:
    """The number of trials that could run now if there were a slot for each.

    Counts running, interrupted and new trials. Paused ones wait for other trials, not for a
    machine.
    """
    rankings = state.rankings
    ready = len(rankings.with_status(Status.RUNNING)) + len(rankings.due())
    return ready + max(0, state.trials_planned - len(state.trials))


def wait_for_a_machine(
    cluster: Cluster,
    trial: TrialResources,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Waits until a trial with these resources fits on a node.

    Raises:
        UserError: no such machine has come within `PATIENCE_S`.
    """
    say(f"waiting for the cluster to start a machine for a trial with {trial} …")
    demand, begun = Demand(cluster, trial), clock()
    while cluster.slots(trial) == 0:
        if clock() - begun > PATIENCE_S:
            what = f"no machine for a trial with {trial} has come in {PATIENCE_S / 60:g} minutes"
            fix = "see `ray status` on the head: sold out, over a quota, or not in the file"
            raise UserError(Problem(what, "tune.resources", fix=fix))
        demand.ask(1)
        time.sleep(POLL_S)
    demand.ask(0)
