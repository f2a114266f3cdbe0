"""A wide prior for pretraining a causal language model, from a published law.

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
"""The law comes from models of hundreds of millions of parameters; below this it is a guess."""


def learning_rate(parameters: int, tokens: float) -> float:
    """The law's best peak learning rate."""
    return float(1.79 * parameters**-0.713 * tokens**0.307)


def batch_tokens(tokens: float) -> float:
    """The law's best number of tokens in one optimiser step."""
    return float(0.58 * tokens**0.571)


def fill_in(
    study: StudyDefinition, loaded: Trainable, epoch: Epoch
) -> tuple[dict[str, Belief], list[str]]:
    """The study's prior with the law's beliefs in it, and what a person is told of them.

    `epoch` is that of a trial with the untuned defaults. A belief from the file comes first.

    Raises:
        UserError: the trainable does not tell how many parameters it has.
    """
    given, octaves, budget = dict(study.beliefs), study.step_law_octaves, study.budget
    if octaves is None:
        return given, []
    parameters, varying = _parameters(study, loaded)
    tokens = budget.amount * (epoch.tokens if budget.unit is Unit.EPOCHS else 1)
    values = {
        RATE: learning_rate(parameters, tokens),
        BATCH: batch_tokens(tokens)
        / (epoch.accumulation * epoch.processes * epoch.tokens_per_sample),
    }
    open_to_it = {
        name: domain for name, domain in searched(study.space).items() if name not in given
    }
    beliefs, told = _beliefs(values, open_to_it, octaves)
    within = f" within a factor of {2**octaves:g}" if beliefs else ""
    note = (
        f"prior from Step Law (Li et al. 2025, arXiv 2503.04715) for {parameters:,} parameters "
        f"outside of embeddings and {tokens:,.0f} tokens: "
        f"{', '.join(told) or f'neither {RATE} nor {BATCH} is open to it'}{within}"
    )
    if parameters < FAR_SMALLER:
        note += "; the law was measured on far larger models"
    if varying:
        note += f"; the number of parameters varies with {', '.join(varying)}"
    return {**given, **beliefs}, [note]


def _beliefs(
    values: Mapping[str, float], space: Space, octaves: float
) -> tuple[dict[str, Belief], list[str]]:
    """The law's values as beliefs about the parameters of `space`, and how each is told."""
    beliefs, told = {}, []
    for name, value in values.items():
        if name not in space:
            continue
        belief = Belief(float(f"{value:.4g}"), octaves=octaves)
        against = complaint(space[name], belief)
        if against is None:
            beliefs[name] = belief
            told.append(f"{name} around {value:.3g}{_outside(space[name], value)}")
        else:
            told.append(f"nothing for {name}, because {against[0]}")
    return beliefs, told


def _parameters(study: StudyDefinition, loaded: Trainable) -> tuple[int, list[str]]:
    """Parameters outside of the embeddings, and the searched names that change their number."""
    count = getattr(loaded.module, "parameters", None)
    if count is None:
        what = f"the trainable {study.trainable} does not tell how many parameters it has"
        expected = "a function parameters(config) -> int in it, embeddings left out"
        fix = "add it, or give the prior of each parameter yourself"
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
