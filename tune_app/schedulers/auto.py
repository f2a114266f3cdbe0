"""ASHA with a reduction factor and rungs that suit the number of trials.

Promotion ASHA with eta 3. Replayed on tables of learning curves, rungs at 1/27, 1/9, 1/3 and 1 of
the budget did well on all of them; a first rung at 1/64 was as good on text classifiers and misled
the search in pretraining. Each rung but the last is to be passed by one trial in three, so with
fewer than 27 trials there are three rungs, with fewer than 9 two, and with fewer than 3 every trial
runs to the end. A budget in steps has no rung before its first step.

A rung may lie within the warm-up of the learning rate; `plan` tells of that. It is not moved: the
warm-up may itself be searched, and all trials must be compared at the same share of the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_app.budget import Unit
from tune_app.schedulers.asha import Asha

ETA, MAX_RUNGS = 3, 4


def create(budget: Mapping[str, Any]) -> Asha:
    """The scheduler; it has no options."""
    has_steps = budget["unit"] == Unit.STEPS
    powers = range(MAX_RUNGS - 1, 0, -1)
    shares = [
        1 / ETA**power
        for power in powers
        if budget["trials"] >= ETA**power and (not has_steps or budget["amount"] >= ETA**power)
    ]
    return Asha(ETA, (*shares, 1.0))
