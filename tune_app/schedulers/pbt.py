"""Population based training: during training, the worst trials copy the best and perturb values.

Jaderberg et al., "Population Based Training of Neural Networks", 2017
(https://arxiv.org/abs/1711.09846), with truncation selection and perturbation. The population is
all trials of the study but the baseline. After each interval a trial in the worst quantile resumes
from the checkpoint of one in the best, with all of its values, some of them changed: numbers by a
factor of 0.8 or 1.2, and at least by one step if they have steps; choices are drawn again.

Unlike in the paper, a trial waits at each interval until all trials have reached it. So trials are
compared at the same share of the budget, the copied checkpoint is from exactly there, and which
trial copies which depends neither on the number of workers nor on their speed.

`mutate` may only name values that can change on resuming from a checkpoint: not those of the
architecture, and not the optimiser or the batch size. The values of a trial then vary over time;
the report shows the last ones.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping
from typing import Any

from tune_app.core.definition import StudyDefinition
from tune_app.core.ports import Exploit, SchedulerContext
from tune_app.core.rankings import Ranking
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, Status, TrialState
from tune_app.errors import Problem, UserError, nearest
from tune_app.space.domains import (
    Domain,
    Drawn,
    Float,
    Int,
    contains,
    sample,
    searched,
    snap,
)

MUTABLE = (
    "learning_rate",
    "weight_decay",
    "max_grad_norm",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
)
"""Parameters that change by default, if they are searched."""
FIXED = ("per_device_train_batch_size", "gradient_accumulation_steps", "optim", "seed")
"""Parameters that cannot change on resuming from a checkpoint, with any trainable."""
FACTORS = (0.8, 1.2)
ATTEMPTS = 20
"""Number of random changes that are tried until the constraints allow one."""
MAX_INTERVALS = 100


class Pbt:
    """A population that is compared at rungs `interval` (a share of the budget) apart."""

    def __init__(self, interval: float, quantile: float, mutate: tuple[str, ...]) -> None:
        count = math.ceil(1 / interval - 1e-9)
        self.rungs = (*(interval * (index + 1) for index in range(count - 1)), 1.0)
        self.quantile = quantile
        self.mutate = mutate

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """Pauses every trial: it waits for the others."""
        return Decision.PAUSE

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        """The worst trial that waits at the lowest rung, once all have reached that rung.

        The best ones continue last, as the others need their checkpoints.
        """
        if not draining and len(state.trials) < state.trials_planned:
            return None
        rankings = state.rankings
        for rung in range(state.full_rung):
            if waiting := rankings.waiting(rung):
                arrived = len(rankings.reached(rung)) - len(rankings.ended(rung))
                return waiting[-1] if arrived == len(rankings.open()) else None
        return None

    def hopeless(self, state: StudyState) -> list[TrialState]:
        return []

    def exploit(self, state: StudyState, trial: TrialState) -> Exploit | None:
        """What a trial copies if it is in the worst quantile of its rung, else None."""
        rung = trial.top_rung or 0
        reached = state.rankings.reached(rung)
        size = _quantile_size(reached, self.quantile)
        if reached.rank(trial) < len(reached) - size:
            return None
        best = [other for other in reached[:size] if other.checkpoint and _waits(other, rung)]
        if not best:
            return None
        rng = _stream(state.definition.seed, trial.number, rung)
        source = rng.choice(best)
        return Exploit(source, self._changed(state.definition, source.params, rng))

    def _changed(
        self, study: StudyDefinition, params: Mapping[str, Any], rng: random.Random
    ) -> dict[str, Any]:
        """The values with some of them changed; unchanged if constraints allow no change.

        A change can activate a parameter, whose value is then drawn at random.
        """
        space, constraints = study.space, study.constraints
        names = [name for name in self.mutate if name in params and name in space]
        absent = [name for name in searched(space) if name not in params]
        for _ in range(ATTEMPTS):
            new = {name: _perturbed(space[name], params[name], rng) for name in names}
            new |= {name: sample(space[name], rng) for name in absent}
            if constraints.allows({**params, **new}):
                return constraints.active({**params, **new})
        return dict(params)


def _waits(trial: TrialState, rung: int) -> bool:
    """Whether a trial waits at this rung, so that its checkpoint is from there."""
    return trial.status is Status.PAUSED and not trial.due and trial.top_rung == rung


def _quantile_size(reached: Ranking, quantile: float) -> int:
    """The size of the best and of the worst quantile: at least one of two trials."""
    return min(math.ceil(len(reached) * quantile), len(reached) // 2)


def _stream(seed: int, number: int, rung: int) -> random.Random:
    text = f"{seed}:pbt:{number}:{rung}"
    return random.Random(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _perturbed(domain: Domain, value: Any, rng: random.Random) -> Any:
    """A number times a factor, or one step away if that is more; other values are drawn again."""
    if not isinstance(domain, (Float, Int, Drawn)):
        return sample(domain, rng)
    factor = rng.choice(FACTORS)
    moved = _nearest(domain, value * factor)
    step = _step(domain)
    if moved == value and step is not None:
        moved = _nearest(domain, value + math.copysign(step, factor - 1))
    return moved if contains(domain, moved) else value


def _nearest(domain: Float | Int | Drawn, value: float) -> Any:
    if isinstance(domain, Drawn):
        inside = min(max(value, domain.low), domain.high) if domain.bounded else value
        return domain.rounded(inside)
    step = _step(domain)
    if step is None:
        return min(max(value, domain.low), domain.high)
    moved = snap(value, domain.low, domain.high, step)
    return int(moved) if isinstance(domain, Int) else moved


def _step(domain: Float | Int | Drawn) -> float | None:
    """The step of a domain, None if it is continuous."""
    if isinstance(domain, Drawn):
        return domain.q
    return domain.step or (1 if isinstance(domain, Int) else None)


def create(
    context: SchedulerContext,
    *,
    interval: float = 0.1,
    quantile: float = 0.25,
    mutate: list[str] | None = None,
) -> Pbt:
    """The scheduler.

    Args:
        context: of the study, for the names of its parameters.
        interval: share of the budget between comparisons.
        quantile: share of the trials that count as the best, and as the worst.
        mutate: parameters that change when a trial copies another; by default learning_rate,
            weight_decay, max_grad_norm and Adam's constants, where they are searched.

    Raises:
        UserError: an option is out of range, or `mutate` names a parameter that cannot change.
    """
    problems = []
    if not isinstance(interval, (int, float)) or not 1 / MAX_INTERVALS <= interval <= 1:
        what, expected = (
            f"{interval!r} is not an interval",
            f"a share from {1 / MAX_INTERVALS} to 1",
        )
        problems.append(Problem(what, "tune.scheduler.interval", expected))
    if not isinstance(quantile, (int, float)) or not 0 < quantile <= 0.5:
        what, expected = f"{quantile!r} is not a quantile", "a number above 0, at most 0.5"
        problems.append(Problem(what, "tune.scheduler.quantile", expected))
    names = MUTABLE if mutate is None else mutate
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        problems.append(Problem(f"{mutate!r} is not a list of names", "tune.scheduler.mutate"))
    else:
        problems += [
            Problem(f"{name} cannot change on a checkpoint", "tune.scheduler.mutate")
            for name in names
            if name in FIXED
        ]
        problems += [
            Problem(
                f"no parameter is called {name!r}",
                "tune.scheduler.mutate",
                fix=nearest(name, sorted(context.parameters)),
            )
            for name in mutate or ()
            if name not in context.parameters and name not in FIXED
        ]
    if problems:
        raise UserError(problems)
    return Pbt(interval, quantile, tuple(names))
