"""Shared by searchers: which configurations have a trial already, and reproducible seeds."""

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
    """A 32-bit seed for one purpose, e.g. one trial; the same in every process."""
    text = ":".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


class Seen:
    """The identities of all configurations that have a trial, computed once per trial."""

    def __init__(self, space: Space) -> None:
        self._constants = fixed(space)
        self._cache: dict[str, tuple[Params, str]] = {}

    def __call__(self, state: StudyState) -> set[str]:
        """The identities of all trials of a state, fixed values included."""
        return {self._identity(trial) for trial in state.trials.values()}

    def _identity(self, trial: TrialState) -> str:
        entry = self._cache.get(trial.id)
        if entry is None or entry[0] is not trial.params:
            entry = trial.params, identity({**self._constants, **trial.params})
            self._cache[trial.id] = entry
        return entry[1]


def is_new(params: Mapping[str, Any], space: Space, seen: set[str]) -> bool:
    """Whether no trial has these values yet."""
    return identity({**fixed(space), **params}) not in seen


def fresh(
    params: Mapping[str, Any], space: Space, seen: set[str], constraints: Constraints
) -> dict[str, Any] | None:
    """The active values of a new trial; None if they are not allowed or have a trial already.

    Values that differ in inactive parameters only are the same configuration.
    """
    if not constraints.allows(params):
        return None
    active = constraints.active(params)
    return active if is_new(active, space, seen) else None


def first_fresh(
    proposed: Iterable[dict[str, Any]], space: Space, seen: set[str], constraints: Constraints
) -> dict[str, Any] | None:
    """The first of the proposed configurations that is allowed and new, None without one."""
    checked = (fresh(params, space, seen, constraints) for params in proposed)
    return next((params for params in checked if params is not None), None)


def first_untried(
    space: Space, seen: set[str], constraints: Constraints = NO_CONSTRAINTS
) -> dict[str, Any] | None:
    """The first new allowed combination in file order, the last parameter varying fastest.

    None if all have a trial, or if a parameter has too many values to list.
    """
    return _first_new(feasible.in_file_order(space, constraints), space, seen)


def any_untried(
    space: Space, seen: set[str], constraints: Constraints, rng: random.Random
) -> dict[str, Any] | None:
    """Any new allowed combination, for when random draws rarely give one; None if not found."""
    return _first_new(feasible.shuffled(space, constraints, rng), space, seen)


def _first_new(
    listing: Iterable[dict[str, Any]] | None, space: Space, seen: set[str]
) -> dict[str, Any] | None:
    return next((params for params in listing or () if is_new(params, space, seen)), None)
