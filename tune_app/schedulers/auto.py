"""ASHA with a number of rungs that suits the number of trials.

Promotion ASHA with eta 3. In replays of tables of learning curves, rungs at 1/27, 1/9, 1/3 and 1 of
the budget did well on all of them; a first rung at 1/64 was as good on text classifiers but misled
the search in pretraining. One trial in three passes each rung but the last, so there are three
rungs with fewer than 27 trials, two with fewer than 9, and with fewer than 3 every trial runs to
the end.

No rung is before the second optimiser step of any trial, including those with the largest batch. On
our pretraining curves a first rung at 2 to 32 steps, depending on the batch size, was the best or
as good as a later one, and one at 1 to 11 steps was worse (docs/log.md, 2026-11-25).

A rung may lie within the warm-up of the learning rate; `plan` has a note on that. The rung is not
moved: the warm-up may be searched, and all trials must be compared at the same share of the budget.
"""

from __future__ import annotations

from tune_app.core.ports import SchedulerContext
from tune_app.schedulers.asha import Asha

ETA, MAX_RUNGS = 3, 4
FEWEST_STEPS = 2
"""Optimiser steps that every trial must have before the first rung."""


def create(context: SchedulerContext) -> Asha:
    """The scheduler; it has no options."""
    most: float = context.trials
    if context.fewest_steps is not None:
        most = min(most, context.fewest_steps / FEWEST_STEPS)
    shares = [1 / ETA**power for power in range(MAX_RUNGS - 1, 0, -1) if most >= ETA**power]
    return Asha(ETA, (*shares, 1.0))
