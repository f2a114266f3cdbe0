"""A study: all that defines a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tune_app.budget import Unit
from tune_app.history import warm
from tune_app.plugins import make
from tune_app.space import domains, feasible, wandb_sweep
from tune_app.space.constraints import Constraints, read_constraints
from tune_app.space.domains import Domain, grid_size
from tune_app.study.tune_section import PlugInSection, TuneSection

GRID = "grid"
SEARCHER_OF_METHOD = {"bayes": "auto", "custom": "auto", "random": "random", "grid": GRID}
DEFAULT_TRIALS = 20


def searcher_of(sweep: wandb_sweep.Sweep, tune: TuneSection) -> PlugInSection:
    """The searcher that a study names, or that its method stands for."""
    return tune.searcher or PlugInSection(name=SEARCHER_OF_METHOD[sweep.method])


@dataclass(frozen=True, slots=True)
class Study:
    """What a study file says. `to_document` is what the journal keeps of it."""

    name: str
    source: str
    sweep: wandb_sweep.Sweep
    tune: TuneSection
    space: dict[str, Domain]
    working_directory: str
    """What relative paths in the file are relative to."""
    notes: tuple[str, ...] = ()
    earlier: warm.Scored = field(default_factory=list)
    """Values and scores of the runs that `warm_start` names."""

    @property
    def unit(self) -> Unit:
        budget = self.tune.budget
        return next((unit for unit in Unit if getattr(budget, unit.value) is not None), Unit.EPOCHS)

    @property
    def amount(self) -> float:
        return getattr(self.tune.budget, self.unit.value) or 1

    @property
    def trials(self) -> int:
        """As W&B does, a grid runs to its end when nothing limits it."""
        given = self.tune.budget.trials or self.sweep.run_cap
        if given is not None:
            return given
        combinations = self._combinations() if self.searcher.name == GRID else None
        return DEFAULT_TRIALS if combinations is None else combinations + self.tune.baseline

    def _combinations(self) -> int | None:
        """How many trials a grid has; at most so many where constraints make it hard to count."""
        if not self.constraints:
            return grid_size(self.space)
        return feasible.count(self.space, self.constraints) or grid_size(self.space)

    @property
    def constraints(self) -> Constraints:
        return read_constraints(self.space, self.tune.constraints, self.tune.when)[0]

    @property
    def searcher(self) -> PlugInSection:
        return searcher_of(self.sweep, self.tune)

    @property
    def budget(self) -> dict[str, Any]:
        """The budget as the document has it."""
        return {
            "unit": self.unit.value,
            "amount": self.amount,
            "trials": self.trials,
            "evaluations": self.tune.budget.evaluations,
        }

    @property
    def known_to_schedulers(self) -> dict[str, Any]:
        """The parts of the document that a scheduler may be made from."""
        return {"budget": self.budget, "parameters": self.space}

    def to_document(self) -> dict[str, Any]:
        """The study as plain JSON; everything after this works from it."""
        tune = self.tune.model_dump(mode="json", exclude={"budget", "searcher"})
        return {
            "name": self.name,
            "project": self.sweep.project or self.name,
            "entity": self.sweep.entity,
            "description": self.sweep.description,
            "source": self.source,
            "working_directory": self.working_directory,
            "method": self.sweep.method,
            "metric": {
                "name": self.sweep.metric,
                "goal": self.sweep.goal,
                "target": self.sweep.target,
            },
            "parameters": {key: domains.to_document(item) for key, item in self.space.items()},
            "budget": self.budget,
            "searcher": self.searcher.model_dump(),
            "rungs": list(make.scheduler({**tune, **self.known_to_schedulers}).rungs),
            **tune,
            "warm_start": self.earlier,
        }
