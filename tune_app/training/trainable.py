"""The contract of a trainable: a module that says what is trained, and with which parameters.

    @dataclass(frozen=True, kw_only=True)
    class Config: ...                                   every field has its untuned default
    def prepare(config, cache: Path, log) -> Data       once a node; quick when the cache is warm
    def build(config, data, args) -> Trainer            a fresh model for each trial
    def sample(trainer, data, prompt) -> str            optional: a continuation of the prompt
    def parameters(config) -> int                       optional: without embeddings, for Step Law
    METRICS = {"eval_accuracy": "maximize"}             optional: all metrics besides eval_loss

A parameter of a study is a field of `Config`, or of `transformers.TrainingArguments`, or of both: a
field of `Config` that is also a training argument is passed on, with the default of `Config`.
The budget, evaluation, checkpoints, logging and devices belong to the engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from transformers import TrainingArguments

from tune_app import plugins
from tune_app.errors import Problem, UserError, nearest
from tune_app.space.domains import nested

OWNED = {
    "max_steps": "it follows from tune.budget",
    "num_train_epochs": "set tune.budget.epochs",
    "do_train": "a trial always trains",
    "do_eval": "a trial always evaluates",
    "do_predict": "a trial trains and evaluates",
    "output_dir": "checkpoints go to the study's folder",
    "resume_from_checkpoint": "use the verb resume",
    "load_best_model_at_end": "the last model at the full budget is what is compared",
    "report_to": "set tune.trackers",
    "run_name": "the trial's id names its run",
    "disable_tqdm": "the study's table shows progress",
    "use_cpu": "set tune.accelerator",
    "local_rank": "set tune.resources.processes",
    "ddp_backend": "it follows from tune.accelerator",
    "ddp_timeout": "a trial that hangs is ended, however many processes it has",
    "auto_find_batch_size": "the batch size that is asked for is the one that runs",
    "per_device_eval_batch_size": "the same evaluation for every trial",
    "dataloader_drop_last": "every step of every trial has the same number of tokens",
    "include_num_input_tokens_seen": "tokens are always counted",
    "remove_unused_columns": "the trainable decides",
}
OWNED_PREFIXES = {
    "eval_": "evaluation points follow from tune.budget",
    "save_": "checkpoints follow from the rungs",
    "logging_": "reports follow from tune.budget",
    "push_to_hub": "nothing is uploaded",
    "hub_": "nothing is uploaded",
}
GOALS = ("minimize", "maximize")

_NONE = object()


def owned_by_engine(name: str) -> str | None:
    """Why a training argument is not a parameter of a study, None if it may be one."""
    by_prefix = (why for prefix, why in OWNED_PREFIXES.items() if name.startswith(prefix))
    return OWNED.get(name) or next(by_prefix, None)


@dataclasses.dataclass(frozen=True, slots=True)
class Trainable:
    """A trainable module and the names it understands."""

    module: ModuleType
    config_fields: dict[str, Any]
    argument_fields: dict[str, Any]
    types: dict[str, str]
    """The annotation of every field as text, e.g. `int` or `bool | None`."""
    metrics: dict[str, str] | None = None
    """Goals of the metrics that it declares besides `eval_loss`; None without a declaration."""

    def defaults(self, names: Iterable[str]) -> dict[str, Any]:
        """The untuned values of parameters, without those names that have none."""
        whole = self.argument_fields | self.config_fields
        defaults: dict[str, Any] = {}
        for name in names:
            value: Any = whole
            for key in name.split("."):
                value = value.get(key, _NONE) if isinstance(value, Mapping) else _NONE
            if value is not _NONE:
                defaults[name] = value
        return defaults

    def default(self, name: str) -> Any:
        """The untuned value of a parameter, None where there is none."""
        return self.defaults([name]).get(name)

    def config(self, params: Mapping[str, Any]) -> Any:
        """The trainable's `Config` for a trial's parameters."""
        whole = nested(params)
        return self.module.Config(**{k: v for k, v in whole.items() if k in self.config_fields})

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The training arguments for a trial's parameters, the trainable's defaults included."""
        both = {k: v for k, v in self.config_fields.items() if k in self.argument_fields}
        asked = {k: v for k, v in nested(params).items() if k in self.argument_fields}
        return both | asked

    def name_problems(self, names: Iterable[str]) -> list[Problem]:
        """Parameters that this trainable does not know, or that are not the study's to set."""
        problems = []
        for full in names:
            # Only the libraries know the keys of a mapping, as in `lr_scheduler_kwargs.num_cycles`.
            where, name = f"parameters.{full}", full.partition(".")[0]
            why = owned_by_engine(name)
            if name in self.config_fields:
                continue
            if name not in self.argument_fields:
                what = f"the trainable has no parameter {name!r}"
                expected = "a field of its Config or of transformers.TrainingArguments"
                problems.append(Problem(what, where, expected, self._nearest(name)))
            elif why is not None:
                problems.append(Problem(f"{name} is not for a study to set: {why}", where))
        return problems

    def _nearest(self, name: str) -> str:
        """A hint with similar names that a study may set; without any, the fields of `Config`."""
        arguments = (item for item in self.argument_fields if owned_by_engine(item) is None)
        hint = nearest(name, {*self.config_fields, *arguments})
        return hint if hint.startswith("did you mean") else nearest(name, self.config_fields)


def load(reference: str) -> Trainable:
    """Imports a trainable and checks that it fulfils the contract.

    Raises:
        UserError: it is not found or lacks a part, a field has no default, or METRICS is invalid.
    """
    module = plugins.load("trainable", reference, "tune.trainable")
    missing = [name for name in ("Config", "prepare", "build") if not hasattr(module, name)]
    if missing:
        what = f"the trainable {reference!r} lacks {', '.join(missing)}"
        fix = "see CONTRIBUTING.md, 'A trainable'"
        raise UserError(Problem(what, "tune.trainable", "Config, prepare and build", fix))
    metrics = getattr(module, "METRICS", None)
    problems = _config_problems(module.Config, reference) + _metrics_problems(metrics, reference)
    if problems:
        raise UserError(problems)
    types = _types(TrainingArguments) | _types(module.Config)
    return Trainable(module, _defaults(module.Config), _defaults(TrainingArguments), types, metrics)


def _config_problems(cls: Any, reference: str) -> list[Problem]:
    """Why a class is not a valid `Config`: the defaults of its fields are the study's baseline."""
    where = f"trainable {reference}"
    if not dataclasses.is_dataclass(cls):
        fix = "put @dataclass(frozen=True, kw_only=True) above it"
        return [Problem("Config is no dataclass", where, fix=fix)]
    return [
        Problem(f"the field {item.name!r} of Config has no default", where, "its untuned value")
        for item in dataclasses.fields(cls)
        if item.init
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]


def _metrics_problems(metrics: Any, reference: str) -> list[Problem]:
    """Why a trainable's `METRICS` is not a valid declaration."""
    if metrics is None or (
        isinstance(metrics, dict)
        and all(isinstance(name, str) and name.startswith("eval_") for name in metrics)
        and all(goal in GOALS for goal in metrics.values())
    ):
        return []
    what = f"METRICS is {metrics!r}"
    expected = f"a dictionary from names that begin with eval_ to {' or '.join(GOALS)}"
    return [Problem(what, f"trainable {reference}", expected)]


def _types(cls: Any) -> dict[str, str]:
    return {
        item.name: item.type.__name__ if isinstance(item.type, type) else str(item.type)
        for item in dataclasses.fields(cls)
    }


def _defaults(cls: Any) -> dict[str, Any]:
    """Field names of a dataclass with their defaults; None in place of a default factory."""
    return {
        item.name: None if item.default is dataclasses.MISSING else item.default
        for item in dataclasses.fields(cls)
        if item.init
    }
