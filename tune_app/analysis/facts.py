"""What a study amounts to: for the closing lines, `show --json` and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tune_app.core.journal import encode

if TYPE_CHECKING:
    from tune_app.analysis.importance import Importance

Values = Mapping[str, Any]
"""Of the searched parameters, by name."""


@dataclass(frozen=True, slots=True)
class Best:
    """The trial with the best value at the full budget."""

    trial: str
    value: float
    params: Values
    tokens: int
    step: int
    effective: Values
    """What its worker recorded of itself."""
    checkpoint: str | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """The trial with the untuned defaults."""

    trial: str
    value: float | None
    """At the full budget, None where it has none."""
    params: Values


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The best trial at the highest rung that a searched trial has reached."""

    trial: str
    value: float
    fraction: float
    """The share of the budget at which the value was measured."""
    params: Values


@dataclass(frozen=True, slots=True)
class Improvement:
    """The best trial against the untuned defaults, both at the full budget.

    The numbers are None where there is nothing to compare.
    """

    absolute: float | None
    """In the unit of the objective; positive when the best is better, whatever the goal."""
    relative: float | None
    """The same as a share of the defaults' value."""
    text: str


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """How far runs of the same values with different seeds lie apart."""

    deviation: float | None
    """The standard deviation, pooled over sets of values; None where no set can be used."""
    sets: int
    """Sets of values that it is measured on."""
    runs: int
    """Of these sets."""
    repeated: int
    """Sets that were begun with several seeds."""
    judged: int
    """Of these, sets with a run that a scheduler compared with others."""
    diverged: int
    """Of the others, sets in which a seed diverged."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a study cost."""

    tokens: int
    full_runs: float
    """In runs to the full budget."""
    trials: int
    """That were started."""
    saved_share: float
    """What early stopping saved, of all started trials run to the end."""
    short_share: float
    """What trials did not spend that ended for another reason."""
    text: str


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial in the table of all."""

    trial: str
    kind: str
    rank: int | None
    """None for a trial without a finite value at the full budget."""
    outcome: str
    """Its status where it has not ended."""
    params: Values
    tokens: int
    fraction: float
    value: float | None
    """The last one reported."""
    value_fraction: float | None
    """The share of the budget at which it was measured."""
    best_value: float | None
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Samples:
    """Continuations of the study's prompt."""

    prompt: str
    untrained: str | None
    best: str | None


@dataclass(frozen=True, slots=True)
class DroppedChoice:
    """A choice that could not run."""

    parameter: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Importances:
    """Which hyper-parameters matter."""

    trials: int
    """That it is told from."""
    parameters: tuple[Importance, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """All of it."""

    name: str
    status: str
    reason: str
    """Why the study ended; empty while it can go on."""
    metric: str
    goal: str
    outcomes: Mapping[str, int]
    """How many trials ended in each way."""
    running: int
    paused: int
    best: Best | None
    baseline: Baseline | None
    incumbent: Incumbent | None
    improvement: Improvement
    seeds: SeedSpread | None
    spent: Spent
    trials: tuple[TrialRow, ...]
    samples: Samples | None
    dropped: tuple[DroppedChoice, ...]
    findings: tuple[str, ...]
    elapsed_s: float
    importance: Importances | None = None
    """None where it was not worked out."""

    def to_document(self) -> dict[str, Any]:
        """The same as strict JSON: what is not finite is written as in the journal."""
        document: dict[str, Any] = json.loads(encode(asdict(self)))
        if self.importance is None:
            del document["importance"]
        return document
