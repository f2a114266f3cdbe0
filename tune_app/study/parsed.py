"""The content of a study file, and its conversion to a `StudyDefinition`."""

from __future__ import annotations

from dataclasses import dataclass, field

from tune_app.budget import Unit
from tune_app.core.definition import (
    Budget,
    CheckpointPolicy,
    Metric,
    PlugIn,
    Resources,
    StudyDefinition,
)
from tune_app.history import warm
from tune_app.plugins import make
from tune_app.space import feasible, wandb_sweep
from tune_app.space.constraints import Constraints, read_constraints
from tune_app.space.domains import Domain, grid_size
from tune_app.space.prior import Belief
from tune_app.study.tune_section import PlugInSection, TuneSection

GRID = "grid"
SEARCHER_OF_METHOD = {"bayes": "auto", "custom": "auto", "random": "random", "grid": GRID}
DEFAULT_TRIALS = 20


def searcher_of(sweep: wandb_sweep.Sweep, tune: TuneSection) -> PlugInSection:
    """The searcher that the tune section names, else the one for the sweep's method."""
    return tune.searcher or PlugInSection(name=SEARCHER_OF_METHOD[sweep.method])


@dataclass(frozen=True, slots=True)
class ParsedStudy:
    """The content of a study file; the rest of the program uses `to_definition` of it."""

    name: str
    source: str
    sweep: wandb_sweep.Sweep
    tune: TuneSection
    space: dict[str, Domain]
    working_directory: str
    """The folder to which relative paths in the file refer."""
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
        """The number of trials; as in W&B, a grid without a limit runs all combinations."""
        given = self.tune.budget.trials or self.sweep.run_cap
        if given is not None:
            return given
        combinations = self._combinations() if self.searcher.name == GRID else None
        return DEFAULT_TRIALS if combinations is None else combinations + self.tune.baseline

    def _combinations(self) -> int | None:
        """The combinations of a grid, or an upper bound where constraints prevent counting."""
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
    def budget(self) -> Budget:
        return Budget(self.unit, self.amount, self.trials, self.tune.budget.evaluations)

    def to_definition(self) -> StudyDefinition:
        """The definition, as far as it is known before preflight."""
        tune, sweep = self.tune, self.sweep
        law = tune.prior.step_law
        return StudyDefinition(
            name=self.name,
            project=sweep.project or self.name,
            entity=sweep.entity,
            description=sweep.description,
            source=self.source,
            working_directory=self.working_directory,
            method=sweep.method,
            metric=Metric(sweep.metric, sweep.goal, sweep.target),
            space=self.space,
            budget=self.budget,
            rungs=make.scheduler_of(plug_in(tune.scheduler), self.budget, self.space).rungs,
            searcher=plug_in(self.searcher),
            scheduler=plug_in(tune.scheduler),
            trackers=tuple(map(plug_in, tune.trackers)),
            trainable=tune.trainable,
            seed=tune.seed,
            baseline=tune.baseline,
            required=tune.constraints,
            when=tune.when,
            beliefs={k: Belief(**item.model_dump()) for k, item in tune.prior.beliefs.items()},
            step_law_octaves=None if law is None else law.octaves,
            earlier_runs=tuple(self.earlier),
            resources=Resources(**tune.resources.model_dump()),
            checkpoints=CheckpointPolicy(**tune.checkpoints.model_dump()),
            accelerator=tune.accelerator,
            drop_impossible=tune.drop_impossible,
            prompt=tune.prompt,
        )


def plug_in(section: PlugInSection) -> PlugIn:
    """A plug-in section as a plain dataclass, without pydantic."""
    return PlugIn(section.name, section.options)
