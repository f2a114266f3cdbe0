"""The `tune` section of a study file, for settings that W&B lacks, as pydantic models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from tune_app.budget import Unit
from tune_app.errors import Problem, nearest
from tune_app.space.prior import STEP_LAW
from tune_app.study import yaml_source
from tune_app.study.lenient import as_number, as_truth, replaced
from tune_app.study.yaml_source import KeyPath, Source

TUNE = "tune"
"""The key of the section in a study file."""
DEFAULT_SCHEDULER = "auto"
WHOLE = "fifo"
"""The scheduler that runs every trial to its end."""
SCHEDULER_OF_OPTIONS = "asha"
"""The scheduler if only options such as eta are given."""


def _whole(value: Any) -> Any:
    """Accepts large whole numbers such as 2e7, which YAML reads as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class BudgetSection(_Section):
    """The budget of a trial, in at most one unit, and the number of trials and evaluations."""

    tokens: Whole | None = Field(None, gt=0)
    steps: Whole | None = Field(None, gt=0)
    epochs: float | None = Field(None, gt=0)
    seconds: float | None = Field(None, gt=0)
    trials: Whole | None = Field(None, gt=0)
    evaluations: Whole = Field(9, gt=0, le=1000)

    @model_validator(mode="after")
    def _one_unit(self) -> BudgetSection:
        units = [unit.value for unit in Unit if getattr(self, unit.value) is not None]
        if len(units) > 1:
            raise ValueError(f"{' and '.join(units)} given; a budget has one unit")
        return self


class ResourcesSection(_Section):
    """The resources of one trial, on one node; `cpu` and `gpu` are for each process."""

    processes: Whole = Field(1, gt=0)
    """They train one model, each on its own part of every batch (data-parallel)."""
    cpu: float = Field(1, gt=0)
    gpu: float | None = Field(None, ge=0)
    """None: one GPU if the cluster has any, else none. A fraction lets trials share one GPU."""
    concurrent: Whole | None = Field(None, gt=0)
    """At most this many trials at once; None: as many as fit."""

    @model_validator(mode="after")
    def _a_gpu_for_each_process(self) -> ResourcesSection:
        gpu, processes = self.gpu or 0, self.processes
        if gpu > 1 or 0 < gpu < 1 < processes:
            fix = f"write processes: {math.ceil(gpu * processes)}, gpu: 1"
            raise ValueError(f"gpu: {gpu:g} with processes: {processes} cannot be; {fix}")
        return self


class CheckpointsSection(_Section):
    """Which checkpoints stay once trials have ended, and how much disk space all may take."""

    keep: Whole = Field(3, ge=0)
    """The last checkpoints of this many of the best completed trials stay."""
    disk_gb: float | None = Field(None, gt=0)
    """Limit for all checkpoints of the study, in GB; the ones of `keep` are deleted first."""


class PlugInSection(_Section):
    """A plug-in by name, with its options as further keys."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class BeliefSection(_Section):
    """The prior of one parameter: its most likely value, and the width or weight."""

    value: Any
    octaves: float | None = Field(None, gt=0)
    """Of a number: the standard deviation of a normal distribution, in factors of two."""
    width: float | None = Field(None, gt=0)
    """The same, in the parameter's own units."""
    weight: float | None = Field(None, gt=0)
    """Of a choice: the value is this many times as likely as each other one."""

    @model_validator(mode="after")
    def _one_form(self) -> BeliefSection:
        forms = ("octaves", "width", "weight")
        present = [name for name in forms if getattr(self, name) is not None]
        if len(present) != 1:
            got = " and ".join(present) or "neither octaves, width nor weight"
            raise ValueError(f"{got} given; a belief has one of them")
        return self


class StepLawSection(_Section):
    """The prior of learning rate and batch size from Step Law, at least one octave wide."""

    octaves: float = Field(2, ge=1)


class PriorSection(_Section):
    """Beliefs by parameter, and whether Step Law adds its own."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, BeliefSection] = Field(init=False)
    step_law: StepLawSection | None = None

    @property
    def beliefs(self) -> dict[str, BeliefSection]:
        return dict(self.__pydantic_extra__ or {})


class TuneSection(_Section):
    """The `tune` section."""

    trainable: str = "causal_lm"
    budget: BudgetSection = BudgetSection(epochs=1.0)
    searcher: PlugInSection | None = None
    scheduler: PlugInSection = PlugInSection(name=DEFAULT_SCHEDULER)
    resources: ResourcesSection = ResourcesSection()
    checkpoints: CheckpointsSection = CheckpointsSection()
    trackers: tuple[PlugInSection, ...] = (
        PlugInSection(name="wandb"),
        PlugInSection(name="optuna"),
    )
    seed: Whole = Field(0, ge=0, lt=2**31)
    prompt: str = ""
    baseline: bool = True
    drop_impossible: bool = False
    constraints: tuple[str, ...] = ()
    """Expressions over parameters that every trial must fulfil."""
    when: dict[str, str] = Field(default_factory=dict)
    """By parameter, the expression under which it is active; otherwise a trial has no value."""
    prior: PriorSection = PriorSection()
    warm_start: tuple[str, ...] = ()
    """Tables of finished runs and folders of studies for the warm-start prior."""
    accelerator: Literal["auto", "cpu"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _names_become_plugins(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        value = dict(value)
        for key in ("searcher", "scheduler"):
            if isinstance(value.get(key), str):
                value[key] = {"name": value[key]}
        if isinstance(value.get("scheduler"), dict):
            value["scheduler"] = {"name": SCHEDULER_OF_OPTIONS, **value["scheduler"]}
        if isinstance(value.get("trackers"), list):
            as_plugin = [{"name": t} if isinstance(t, str) else t for t in value["trackers"]]
            value["trackers"] = tuple(as_plugin)
        for key in ("constraints", "warm_start"):
            if isinstance(value.get(key), str):
                value[key] = (value[key],)
            if isinstance(value.get(key), list):
                value[key] = tuple(value[key])
        if value.get("prior") == STEP_LAW:
            value["prior"] = {STEP_LAW: {}}
        return value


def read(data: Any, source: Source) -> tuple[TuneSection | None, list[Problem], list[Problem]]:
    """The section, its problems, and the warnings of lenient parsing.

    A section with problems is returned without the wrong keys; None if that is not possible.
    """
    if data is None:
        return TuneSection(), [], []
    if not isinstance(data, dict):
        what = f"{data!r} is not a mapping"
        return None, [Problem(what, source.where((TUNE,)), "keys below it")], []
    data, warnings = _parsed_leniently(data, source)
    mistakes = _mistakes(data)
    problems = [_tune_problem(item, source) for item in mistakes]
    sound = _without(data, [item["loc"] for item in mistakes])
    section = None if _mistakes(sound) else TuneSection.model_validate(sound)
    return section, problems, warnings


def _mistakes(data: dict[str, Any]) -> list[Any]:
    """The validation errors of a section."""
    try:
        TuneSection.model_validate(data)
    except ValidationError as error:
        return list(error.errors())
    return []


_READERS = {"int_type": as_number, "float_type": as_number, "bool_type": as_truth}


def _parsed_leniently(data: dict[str, Any], source: Source) -> tuple[dict[str, Any], list[Problem]]:
    """The section with numbers and booleans in place of texts that represent them, and warnings."""
    texts = [(tuple(item["loc"]), item["type"], item["input"]) for item in _mistakes(data)]
    texts += [(path, "float_type", value) for path, value in _believed(data.get("prior"))]
    readings = {
        path: _READERS[kind](value, source.where((TUNE, *path)))
        for path, kind, value in texts
        if kind in _READERS
    }
    parsed = {path: reading for path, reading in readings.items() if reading is not None}
    changed = replaced(data, [(path, value) for path, (value, _) in parsed.items()])
    return changed, [warning for _, warning in parsed.values()]


def _believed(prior: Any) -> Iterator[tuple[KeyPath, Any]]:
    """The values of beliefs that must be numbers, with their key paths."""
    for name, belief in prior.items() if isinstance(prior, dict) else ():
        if isinstance(belief, dict) and "value" in belief and {"octaves", "width"} & belief.keys():
            yield ("prior", name, "value"), belief["value"]


def _without(data: dict[str, Any], locations: list[tuple[Any, ...]]) -> dict[str, Any]:
    """The section without the wrong keys, and lists without the wrong items."""
    rest = dict(data)
    for key in {location[0] for location in locations}:
        items = {loc[1] for loc in locations if loc[0] == key and len(loc) > 1}
        value = rest.pop(key, None)
        if isinstance(value, list) and all(isinstance(item, int) for item in items):
            rest[key] = [item for index, item in enumerate(value) if index not in items]
    return rest


def _tune_problem(item: Any, source: Source) -> Problem:
    location: KeyPath = tuple(item["loc"])
    where = source.where((TUNE, *location))
    if item["type"] == "extra_forbidden":
        section = _fields_at(location[:-1])
        return Problem(
            f"unknown key {location[-1]!r}", where, fix=nearest(str(location[-1]), section)
        )
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "missing":
        what = f"{yaml_source.dotted(location[:-1])} has no {location[-1]}"
        return Problem(what, where, expected=f"{location[-1]}: …")
    if item["type"] == "value_error":
        return Problem(message, where)
    return Problem(f"{item['input']!r} does not fit", where, expected=_expectation(message))


def _expectation(message: str) -> str:
    """What pydantic expects, in terms of YAML."""
    plain = message.removeprefix("Input should be ").removeprefix("a valid ")
    for start, words in _YAML_WORDS.items():
        if plain.startswith(start):
            return words
    return plain


_YAML_WORDS = {
    "tuple": "a list, such as [a, b]",
    "dictionary": "keys below it, such as {key: value}",
    "instance of": "keys below it, such as {key: value}",
    "boolean": "true or false",
    "integer": "a whole number",
    "string": "text",
}


def _fields_at(location: KeyPath) -> list[str]:
    sections: dict[KeyPath, type[BaseModel]] = {
        (): TuneSection,
        ("budget",): BudgetSection,
        ("resources",): ResourcesSection,
        ("checkpoints",): CheckpointsSection,
        ("prior", STEP_LAW): StepLawSection,
    }
    section = sections.get(location)
    if section is None and location[:1] == ("prior",):
        section = BeliefSection
    return list(section.model_fields) if section is not None else []
