"""A plan: the facts about a study before its first trial, and its estimated cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tune_app.core.definition import StudyDefinition, budget_document
from tune_app.simulation.costs import Cost
from tune_app.simulation.profile import Profile
from tune_app.simulation.rehearsal import Schedule
from tune_app.space.domains import describe, grid_size, searched
from tune_app.training.preflight.messages import Impossible, Probed


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the verb `plan` shows."""

    study: StudyDefinition
    """The prepared study, with the changes of preflight."""
    left_out: tuple[Impossible, ...]
    probed: tuple[Probed, ...]
    findings: tuple[str, ...]
    examples: tuple[Mapping[str, Any], ...]
    """Values of the first trials, as the searcher would propose them."""
    machines: str
    slots: int
    """Trials that run at the same time."""
    cpu: float
    """CPUs of each process."""
    gpu: float
    """GPUs of each process."""
    processes: int
    """Processes of one trial."""
    profiles: tuple[Profile, ...]
    not_profiled: int
    largest_batch: int | None
    """The largest micro-batch that fits into a GPU's memory; None on a CPU."""
    schedule: Schedule | None
    cost: Cost | None
    """`schedule` and `cost` are None if no configuration could be profiled."""
    compiling: str
    """Whether `torch_compile` saves time, in words; empty if it was not measured."""

    def as_json(self) -> dict[str, Any]:
        """The plan as `plan --json` prints it."""
        study = self.study
        return {
            "study": study.source,
            "metric": asdict(study.metric),
            "budget": budget_document(study.budget),
            "searcher": study.searcher.name,
            "scheduler": study.scheduler.name,
            "data": dict(study.data),
            "space": {name: describe(domain) for name, domain in study.space.items()},
            "searched": list(searched(study.space)),
            "combinations": grid_size(study.space),
            "left_out": [asdict(item) for item in self.left_out],
            "probed": [asdict(row) for row in self.probed],
            "findings": list(self.findings),
            "examples": list(self.examples),
            "machines": self.machines,
            "slots": self.slots,
            "resources": {"cpu": self.cpu, "gpu": self.gpu, "processes": self.processes},
            "profiles": [asdict(profile) for profile in self.profiles],
            "not_profiled": self.not_profiled,
            "largest_batch": self.largest_batch,
            "schedule": None if self.schedule is None else asdict(self.schedule),
            "cost": None if self.cost is None else asdict(self.cost),
            "compiling": self.compiling,
        }
