"""A wide prior for pretraining a causal language model, from a published scaling law.

Step Law: Li et al. 2025, "Predictable Scale: Part I", https://arxiv.org/abs/2503.04715. With N
parameters outside of the embeddings and D training tokens the best learning rate is
1.79 N^-0.713 D^0.307 and the best batch 0.58 D^0.571 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_app.budget import Epoch, Unit
from tune_app.core.definition import StudyDefinition
from tune_app.errors import Problem, UserError
from tune_app.space.domains import Choice, Space, searched
from tune_app.space.prior import PRIOR, STEP_LAW, Belief, complaint
from tune_app.training.preflight.values import ends
from tune_app.training.trainable import Trainable

RATE, BATCH = "learning_rate", "per_device_train_batch_size"
FAR_SMALLER = 10_000_000
"""The law was fitted to models of hundreds of millions of parameters: a guess below this size."""


def learning_rate(parameters: int, tokens: float) -> float:
    """The law's best peak learning rate, for parameters without embeddings and training tokens."""
    return float(1.79 * parameters**-0.713 * tokens**0.307)


def batch_tokens(tokens: float) -> float:
    """The law's best tokens per optimiser step, for this many training tokens."""
    return float(0.58 * tokens**0.571)


def fill_in(
    study: StudyDefinition, loaded: Trainable, epoch: Epoch
) -> tuple[dict[str, Belief], list[str]]:
    """The study's prior completed with the law's beliefs, and notes about them for the user.

    `epoch` is that of a trial with the untuned defaults. Beliefs of the study file take precedence.

    Raises:
        UserError: the trainable has no function `parameters`.
    """
    own, octaves, budget = dict(study.beliefs), study.step_law_octaves, study.budget
    if octaves is None:
        return own, []
    parameters, varying = _parameters(study, loaded)
    tokens = budget.amount * (epoch.tokens if budget.unit is Unit.EPOCHS else 1)
    values = {
        RATE: learning_rate(parameters, tokens),
        BATCH: batch_tokens(tokens)
        / (epoch.accumulation * epoch.processes * epoch.tokens_per_sample),
    }
    without_belief = {
        name: domain for name, domain in searched(study.space).items() if name not in own
    }
    beliefs, notes = _beliefs(values, without_belief, octaves)
    within = f" within a factor of {2**octaves:g}" if beliefs else ""
    note = (
        f"prior from Step Law (Li et al. 2025, arXiv 2503.04715) for {parameters:,} parameters "
        f"outside of embeddings and {tokens:,.0f} tokens: "
        f"{', '.join(notes) or f'neither {RATE} nor {BATCH} is searched without a prior'}{within}"
    )
    if parameters < FAR_SMALLER:
        note += "; the law was measured on far larger models"
    if varying:
        note += f"; the number of parameters varies with {', '.join(varying)}"
    return {**own, **beliefs}, [note]


def _beliefs(
    values: Mapping[str, float], space: Space, octaves: float
) -> tuple[dict[str, Belief], list[str]]:
    """The law's values as beliefs about the parameters of `space`, and a note on each."""
    beliefs, notes = {}, []
    for name, value in values.items():
        if name not in space:
            continue
        belief = Belief(float(f"{value:.4g}"), octaves=octaves)
        against = complaint(space[name], belief)
        if against is None:
            beliefs[name] = belief
            notes.append(f"{name} around {value:.3g}{_outside(space[name], value)}")
        else:
            notes.append(f"nothing for {name}, because {against[0]}")
    return beliefs, notes


def _parameters(study: StudyDefinition, loaded: Trainable) -> tuple[int, list[str]]:
    """The number of parameters without embeddings, and the searched parameters that change it."""
    count = getattr(loaded.module, "parameters", None)
    if count is None:
        what = f"the trainable {study.trainable} does not tell how many parameters it has"
        expected = "a function parameters(config) -> int in it, embeddings left out"
        fix = "add it, or write the prior of each parameter yourself"
        raise UserError(Problem(what, f"tune.{PRIOR}.{STEP_LAW}", expected, fix))
    constants = study.constants
    number = int(count(loaded.config(constants)))
    varying = [
        name
        for name, domain in searched(study.space).items()
        if name in loaded.config_fields
        and any(count(loaded.config({**constants, name: v})) != number for v in ends(domain))
    ]
    return number, varying


def _outside(domain: Any, value: float) -> str:
    values = domain.values if isinstance(domain, Choice) else (domain.low, domain.high)
    low, high = min(values), max(values)
    return "" if low <= value <= high else f" (outside of the searched {low:g} to {high:g})"
