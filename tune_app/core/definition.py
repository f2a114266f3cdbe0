"""The definition of a study, parsed once from the journal's document.

The document is plain JSON: the field `study` of the event `study_started`, with the changes of
`study_prepared`. `to_document` writes it; `from_document` is its only reader, and accepts documents
of earlier versions, which lack some keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from tune_app.budget import Unit
from tune_app.errors import UserError
from tune_app.space import domains
from tune_app.space.constraints import Constraints, read_constraints
from tune_app.space.domains import Fixed, Space, fixed
from tune_app.space.prior import STEP_LAW, Belief

FINAL = "final_"
"""Prefix of a metric's name: the value at the full budget is meant."""

EarlierRun = tuple[dict[str, Any], float]
"""Parameter values and score of a run outside this study; a lower score is better."""


def reported_name(metric: str) -> str:
    """The key of a metric in reports: its name without the optional prefix `final_`."""
    return metric.removeprefix(FINAL)


@dataclass(frozen=True)
class Metric:
    """The objective."""

    name: str
    """As the user writes it, for example final_eval_loss."""
    goal: str = "minimize"
    """minimize or maximize."""
    target: float | None = None
    """The study ends when a completed trial is at least this good."""

    @property
    def reported(self) -> str:
        """Its key in reports."""
        return reported_name(self.name)

    @property
    def sign(self) -> int:
        """1 when it is minimised, -1 when it is maximised."""
        return 1 if self.goal == "minimize" else -1


@dataclass(frozen=True)
class Budget:
    """What a study may cost: `amount` of one unit for each trial, and the number of trials."""

    unit: Unit
    amount: float
    trials: int
    evaluations: int
    """How often a trial that runs to its end is evaluated."""
    fewest_steps: int | None = None
    """Optimiser steps of the shortest trial; None until preflight, and for a budget in seconds."""


@dataclass(frozen=True)
class Resources:
    """What one trial gets, on one node: `processes`, each with `cpu` CPUs and `gpu` GPUs."""

    cpu: float = 1.0
    gpu: float | None = None
    """None: one if the cluster has any."""
    processes: int = 1
    concurrent: int | None = None
    """The most trials at the same time; None: as many as fit."""


@dataclass(frozen=True)
class CheckpointPolicy:
    """Which checkpoints are kept once no trial needs them."""

    keep: int = 3
    """The number of best completed trials whose last checkpoint is kept."""
    disk_gb: float | None = None
    """Limit in GB for all checkpoints of the study together; None: no limit."""


@dataclass(frozen=True)
class PlugIn:
    """A plug-in by name, with its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | str) -> PlugIn:
        """Accepts the name alone, or a mapping with the key `name`; its other keys are options."""
        if isinstance(document, str):
            return cls(document)
        return cls(document["name"], {k: v for k, v in document.items() if k != "name"})

    def to_document(self) -> dict[str, Any]:
        """A mapping with the name and the options."""
        return {"name": self.name, **self.options}


@dataclass(frozen=True)
class StudyDefinition:
    """The complete definition of a study. Only `prepared` yields a changed one."""

    name: str
    metric: Metric
    space: Space
    budget: Budget
    rungs: tuple[float, ...]
    """Shares of the budget at which trials are compared, ascending; the last one is 1."""
    searcher: PlugIn
    scheduler: PlugIn
    trainable: str = ""
    trackers: tuple[PlugIn, ...] = ()
    seed: int = 0
    baseline: bool = True
    """Whether the first trial runs with the trainable's untuned defaults."""
    required: tuple[str, ...] = ()
    """Constraints: expressions that hold for every trial."""
    when: Mapping[str, str] = field(default_factory=dict)
    """By parameter, the condition under which it is active."""
    beliefs: Mapping[str, Belief] = field(default_factory=dict)
    """By parameter, the user's prior about its values."""
    step_law_octaves: float | None = None
    """The width in octaves of the prior from the step law; None: no such prior."""
    earlier_runs: tuple[EarlierRun, ...] = ()
    """Runs that warm-start the search."""
    resources: Resources = Resources()
    checkpoints: CheckpointPolicy = CheckpointPolicy()
    accelerator: str = "auto"
    drop_impossible: bool = False
    prompt: str = ""
    project: str = ""
    entity: str | None = None
    description: str = ""
    source: str = ""
    """Path of the study file."""
    working_directory: str = ""
    """Relative paths in the study file start here."""
    method: str = ""
    """The `method` of the W&B sweep."""
    baseline_params: Mapping[str, Any] | None = None
    """The untuned defaults of the searched parameters; None until preflight."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the trainable's data; empty until preflight."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> StudyDefinition:
        """Parses the document; keys that earlier versions did not write get their defaults.

        Raises:
            KeyError, TypeError, ValueError: it is not the document of a study.
        """
        prior = document.get("prior") or {}
        law = prior.get(STEP_LAW)
        plain = {key: document[key] for key in _PLAIN if document.get(key) is not None}
        return cls(
            metric=Metric(**document["metric"]),
            space=_space(document["parameters"]),
            budget=_budget(document["budget"]),
            rungs=tuple(document["rungs"]),
            searcher=PlugIn.from_document(document["searcher"]),
            scheduler=PlugIn.from_document(document["scheduler"]),
            trackers=tuple(map(PlugIn.from_document, document.get("trackers") or ())),
            required=tuple(document.get("constraints") or ()),
            when=document.get("when") or {},
            beliefs={k: Belief(**v) for k, v in prior.items() if k != STEP_LAW},
            step_law_octaves=law["octaves"] if law is not None else None,
            earlier_runs=tuple((run, score) for run, score in document.get("warm_start") or ()),
            resources=Resources(**document.get("resources") or {}),
            checkpoints=CheckpointPolicy(**document.get("checkpoints") or {}),
            **{"project": document["name"], **plain},
        )

    def to_document(self) -> dict[str, Any]:
        """The definition as plain JSON, for the journal."""
        law = self.step_law_octaves
        beliefs = {name: asdict(belief) for name, belief in self.beliefs.items()}
        prepared = () if self.baseline_params is None else ("baseline_params", "data")
        return {
            **{key: getattr(self, key) for key in _PLAIN if key not in ("baseline_params", "data")},
            **{key: dict(getattr(self, key)) for key in prepared},
            "metric": asdict(self.metric),
            "parameters": {k: domains.to_document(domain) for k, domain in self.space.items()},
            "budget": budget_document(self.budget),
            "rungs": list(self.rungs),
            "searcher": self.searcher.to_document(),
            "scheduler": self.scheduler.to_document(),
            "trackers": [tracker.to_document() for tracker in self.trackers],
            "constraints": list(self.required),
            "when": dict(self.when),
            "prior": {**beliefs, STEP_LAW: None if law is None else {"octaves": law}},
            "warm_start": [[params, score] for params, score in self.earlier_runs],
            "resources": asdict(self.resources),
            "checkpoints": asdict(self.checkpoints),
        }

    def prepared(self, event: Mapping[str, Any]) -> StudyDefinition:
        """The study with the changes that preflight made, from the event `study_prepared`."""
        document = self.to_document()
        changes = {key: event[key] for key in PREPARED if key in event}
        return StudyDefinition.from_document({**document, **changes})

    @property
    def full_rung(self) -> int:
        """The index of the last rung, where the whole budget is spent."""
        return len(self.rungs) - 1

    @cached_property
    def constants(self) -> dict[str, Any]:
        """The parameters that are not searched, with their values."""
        return fixed(self.space)

    @cached_property
    def constraints(self) -> Constraints:
        """Which combinations of values are allowed, and which parameters are active.

        Raises:
            UserError: an expression is invalid.
        """
        if not self.required and not self.when:
            return Constraints()
        constraints, problems = read_constraints(self.space, self.required, self.when)
        if problems:
            raise UserError(problems)
        return constraints

    @cached_property
    def prior(self) -> dict[str, Belief]:
        """The beliefs about searched parameters; those about fixed ones have no effect."""
        return {
            name: belief
            for name, belief in self.beliefs.items()
            if not isinstance(self.space[name], Fixed)
        }

    def all_values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """All active parameters of a trial: these searched values and the fixed parameters."""
        return self.constraints.active({**self.constants, **params})

    def with_trials(self, trials: int) -> StudyDefinition:
        """A copy with another number of trials."""
        return replace(self, budget=replace(self.budget, trials=trials))

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out cached properties: parsed expressions cannot be pickled."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


PREPARED = ("data", "baseline_params", "parameters", "prior", "budget", "rungs")
"""Keys of the document that preflight may change."""

_PLAIN = (
    *("name", "trainable", "seed", "baseline", "accelerator", "drop_impossible", "prompt"),
    *("project", "entity", "description", "source", "working_directory", "method"),
    *("baseline_params", "data"),
)
"""Fields that the document holds without conversion."""


def budget_document(budget: Budget) -> dict[str, Any]:
    """A budget as plain JSON, without `fewest_steps` where it is None."""
    document = {key: value for key, value in asdict(budget).items() if value is not None}
    return {**document, "unit": budget.unit.value}


def _budget(document: Mapping[str, Any]) -> Budget:
    return Budget(**{**document, "unit": Unit(document["unit"])})


def _space(parameters: Mapping[str, Any]) -> Space:
    return {name: domains.from_document(item) for name, item in parameters.items()}
