"""What searchers share: what ran already, and random streams that depend on nothing else."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from typing import Any

from tune_app.core.state import StudyState
from tune_app.core.trial import Params, TrialState
from tune_app.space import feasible
from tune_app.space.constraints import Constraints
from tune_app.space.domains import Space, fixed, identity

NO_CONSTRAINTS = Constraints()


def stream(seed: int, *parts: object) -> int:
    """A 32-bit seed for one use, e.g. one trial; the same in every process."""
    text = ":".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


class Seen:
    """Identities of all configurations that have a trial, worked out once per trial."""

    def __init__(self, space: Space) -> None:
        self._constants = fixed(space)
        self._known: dict[str, tuple[Params, str]] = {}

    def __call__(self, state: StudyState) -> set[str]:
        """All of a state, fixed values included."""
        return {self._identity(trial) for trial in state.trials.values()}

    def _identity(self, trial: TrialState) -> str:
        known = self._known.get(trial.id)
        if known is None or known[0] is not trial.params:
            known = trial.params, identity({**self._constants, **trial.params})
            self._known[trial.id] = known
        return known[1]


def is_new(params: Mapping[str, Any], space: Space, seen: set[str]) -> bool:
    """Whether no trial has these values yet."""
    return identity({**fixed(space), **params}) not in seen


def fresh(
    params: Mapping[str, Any], space: Space, seen: set[str], constraints: Constraints
) -> dict[str, Any] | None:
    """What a trial with these values would run with, None where it may not or already did.

    Values that differ in inactive parameters only are the same trial.
    """
    if not constraints.allows(params):
        return None
    active = constraints.active(params)
    return active if is_new(active, space, seen) else None


def first_fresh(
    proposed: Iterable[dict[str, Any]], space: Space, seen: set[str], constraints: Constraints
) -> dict[str, Any] | None:
    """The first that a trial can run with, None where there is none."""
    found = (fresh(params, space, seen, constraints) for params in proposed)
    return next((params for params in found if params is not None), None)


def first_untried(
    space: Space, seen: set[str], constraints: Constraints = NO_CONSTRAINTS
) -> dict[str, Any] | None:
    """The first new allowed combination in the order of the file, the last parameter fastest.

    None where all were tried, or where a parameter has too many values to list.
    """
    return _first_new(feasible.in_file_order(space, constraints), space, seen)


def any_untried(
    space: Space, seen: set[str], constraints: Constraints, rng: random.Random
) -> dict[str, Any] | None:
    """Any new allowed combination, for where draws seldom hit one; None if none is found."""
    return _first_new(feasible.shuffled(space, constraints, rng), space, seen)


def _first_new(
    listing: Iterable[dict[str, Any]] | None, space: Space, seen: set[str]
) -> dict[str, Any] | None:
    return next((params for params in listing or () if is_new(params, space, seen)), None)
