"""What searchers share: what ran already, and random streams that depend on nothing else."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

from tune_app.space.domains import Space, fixed, grid, identity, searched
from tune_app.state import StudyState


def stream(seed: int, *parts: object) -> int:
    """A 32-bit seed for one use, e.g. one trial; the same in every process."""
    text = ":".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def tried(state: StudyState, space: Space) -> set[str]:
    """Identities of all configurations that have a trial, fixed values included."""
    constants = fixed(space)
    return {identity({**constants, **trial.params}) for trial in state.trials.values()}


def is_new(params: Mapping[str, Any], space: Space, seen: set[str]) -> bool:
    """Whether no trial has these values yet."""
    return identity({**fixed(space), **params}) not in seen


def first_untried(space: Space, seen: set[str]) -> dict[str, Any] | None:
    """The first new combination in the order of the file, the last parameter fastest.

    None where all were tried, or where a parameter has too many values to list.
    """
    listed = {name: grid(domain) for name, domain in searched(space).items()}
    values = [items for items in listed.values() if items is not None]
    if len(values) < len(listed):
        return None
    for combination in itertools.product(*values):
        params = dict(zip(listed, combination, strict=True))
        if is_new(params, space, seen):
            return params
    return None
