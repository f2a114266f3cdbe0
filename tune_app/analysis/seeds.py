"""What the seed alone changes, where a study ran the same values with several seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tune_app.analysis import format

SEED = "seed"
UNKNOWN = (
    "Each is one run with one seed: this does not show that the difference is larger than "
    "seed noise."
)


def spread(results: Iterable[tuple[Mapping[str, Any], float]]) -> dict[str, Any] | None:
    """The standard deviation of final values between seeds, pooled over sets of values.

    Args:
        results: hyper-parameters and final value of trials that ran to the end.

    Returns:
        `deviation`, in the unit of the values, and the `sets` and `runs` that it comes from; None
        where no two results differ in the seed alone.
    """
    sets: dict[str, dict[int, float]] = {}
    for params, value in results:
        if SEED in params:
            others = {name: value for name, value in params.items() if name != SEED}
            sets.setdefault(json.dumps(others, sort_keys=True), {})[params[SEED]] = value
    repeated = [list(by_seed.values()) for by_seed in sets.values() if len(by_seed) > 1]
    if not repeated:
        return None
    runs = sum(map(len, repeated))
    away = [value - sum(values) / len(values) for values in repeated for value in values]
    deviation = math.hypot(*away) / math.sqrt(runs - len(repeated))
    return {"deviation": deviation, "sets": len(repeated), "runs": runs}


def caution(found: Mapping[str, Any] | None) -> str:
    """What two values of one run each must be read with."""
    return f"{_told(found)}." if found else UNKNOWN


def limit(found: Mapping[str, Any] | None) -> str:
    """What differences between trials do not mean."""
    if found is None:
        return (
            "Every trial is one run with one seed. Differences as small as those between seeds of "
            "the same values mean nothing, and how large these are was not measured here."
        )
    return (
        f"{_told(found)}: differences as small as that mean nothing, and the best trial may owe "
        "its rank to its seed."
    )


def _told(found: Mapping[str, Any]) -> str:
    sets = "one set" if found["sets"] == 1 else f"{found['sets']} sets"
    return (
        f"Runs that differ in the seed alone have a standard deviation of "
        f"{format.loss(found['deviation'])} ({found['runs']} runs of {sets} of values)"
    )
