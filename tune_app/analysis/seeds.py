"""What the seed alone changes, where a study ran the same values with several seeds.

Only runs that nobody chose by their values say how far seeds lie apart. A scheduler that compares
trials lets the lucky seeds run to the end: their spread is too small, also where all seeds of a set
of values came through, for that is why they did. So a set counts if no scheduler has judged any of
its runs. Runs that were lost, failed, did not fit or are not done yet are left out of their set:
that has nothing to do with their values. A diverged one has no value that a spread could be told
from, and its set is left out as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_app.analysis import format
from tune_app.analysis.facts import SeedSpread
from tune_app.space.domains import identity
from tune_app.space.nuisance import SEED

UNKNOWN = (
    "Each is one run with one seed: this does not show that the difference is larger than "
    "seed noise."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of some values with one seed."""

    params: Mapping[str, Any]
    value: float | None
    """At the full budget; None where it has none, or none yet."""
    is_judged: bool
    """Whether a scheduler has compared it with others, whatever it decided."""
    has_diverged: bool


def spread(runs: Iterable[Run]) -> SeedSpread | None:
    """The standard deviation of final values between seeds, pooled over sets of values.

    None where no two runs differ in the seed alone.
    """
    by_values: dict[str, dict[str, Run]] = {}
    for run in runs:
        if SEED in run.params:
            others = {name: value for name, value in run.params.items() if name != SEED}
            by_values.setdefault(identity(others), {})[identity(run.params[SEED])] = run
    repeated = [list(by_seed.values()) for by_seed in by_values.values() if len(by_seed) > 1]
    if not repeated:
        return None
    unjudged = [found for found in repeated if not any(run.is_judged for run in found)]
    whole = [found for found in unjudged if not any(run.has_diverged for run in found)]
    values = [[run.value for run in found if run.value is not None] for found in whole]
    measured = [found for found in values if len(found) > 1]
    return SeedSpread(
        deviation=_pooled(measured) if measured else None,
        sets=len(measured),
        runs=sum(map(len, measured)),
        repeated=len(repeated),
        judged=len(repeated) - len(unjudged),
        diverged=len(unjudged) - len(whole),
    )


def _pooled(sets: list[list[float]]) -> float:
    """The standard deviation within sets of at least two values each."""
    away = [value - sum(values) / len(values) for values in sets for value in values]
    return math.hypot(*away) / math.sqrt(len(away) - len(sets))


def caution(spread: SeedSpread | None) -> str:
    """What two values of one run each must be read with."""
    return told(spread) or UNKNOWN


def limit(spread: SeedSpread | None) -> str:
    """What differences between trials do not mean."""
    known = told(spread)
    if known is None:
        return (
            "Every trial is one run with one seed. Differences as small as those between seeds of "
            "the same values mean nothing, and how large these are was not measured here."
        )
    return (
        f"{known} Differences as small as those between seeds mean nothing, and the best trial may "
        "owe its rank to its seed."
    )


def told(spread: SeedSpread | None) -> str | None:
    """What is known of the spread between seeds; None where values were not run twice over."""
    if spread is None:
        return None
    if spread.deviation is not None:
        diverged = spread.diverged
        beside = f"; in {_sets(diverged)} more a seed diverged" if diverged else ""
        return (
            f"Runs that differ in the seed alone have a standard deviation of "
            f"{format.loss(spread.deviation)} ({spread.runs} runs of {_sets(spread.sets)} of "
            f"values{beside})."
        )
    if spread.judged:
        return (
            "The spread between seeds was not measured: early stopping compared the runs of "
            f"{spread.judged} of {_sets(spread.repeated)} of values that ran with several "
            "seeds, and what it lets run to the end lies closer together than all would. Use "
            "scheduler: fifo."
        )
    return None


def _sets(count: int) -> str:
    return "one set" if count == 1 else f"{count} sets"
