"""The standard deviation between seeds, if a study ran the same values with several seeds.

Only runs that were not selected by their results give an unbiased estimate. A scheduler that
compares trials lets lucky seeds run to the end, so that their spread is too small, even where all
seeds of a set of values were promoted. So a set counts only if no scheduler has judged any of its
runs. Runs that were lost, failed, ran out of memory or have not ended are left out of their set, as
that does not depend on their results. A diverged run has no value, and its whole set is left out.
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
    """The objective at the full budget; None if there is none, or none yet."""
    is_judged: bool
    """Whether a scheduler has compared it with others, with any decision."""
    has_diverged: bool


def spread(runs: Iterable[Run]) -> SeedSpread | None:
    """The standard deviation of final values between seeds, pooled over sets of values.

    None if no two runs differ in the seed alone.
    """
    by_values: dict[str, dict[str, Run]] = {}
    for run in runs:
        if SEED in run.params:
            others = {name: value for name, value in run.params.items() if name != SEED}
            by_values.setdefault(identity(others), {})[identity(run.params[SEED])] = run
    repeated = [list(by_seed.values()) for by_seed in by_values.values() if len(by_seed) > 1]
    if not repeated:
        return None
    unjudged = [runs for runs in repeated if not any(run.is_judged for run in runs)]
    whole = [runs for runs in unjudged if not any(run.has_diverged for run in runs)]
    values = [[run.value for run in runs if run.value is not None] for runs in whole]
    measured = [finals for finals in values if len(finals) > 1]
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
    """The caveat for a comparison of two trials."""
    return description(spread) or UNKNOWN


def limit(spread: SeedSpread | None) -> str:
    """The caveat for the ranking of trials."""
    text = description(spread)
    if text is None:
        return (
            "Every trial is one run with one seed. Differences as small as those between seeds of "
            "the same values mean nothing, and how large these are was not measured here."
        )
    return (
        f"{text} Differences as small as those between seeds mean nothing, and the best trial may "
        "owe its rank to its seed."
    )


def description(spread: SeedSpread | None) -> str | None:
    """The spread as a sentence; None if it has nothing to report."""
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
