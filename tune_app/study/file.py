"""A study file: a W&B sweep, with an optional `tune` section for settings that W&B lacks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from tune_app.core.definition import Metric
from tune_app.errors import Problem, UserError, nearest, once
from tune_app.history import warm
from tune_app.plugins import make
from tune_app.space import constraint_checks, wandb_sweep
from tune_app.space.domains import Domain
from tune_app.space.feasible import Verdict
from tune_app.space.prior import Belief
from tune_app.space.wandb_hyperband import Hyperband
from tune_app.storage.catalogue import name_problems
from tune_app.study import (
    foreign_space,
    lenient,
    overrides,
    plugin_checks,
    tune_section,
    yaml_source,
)
from tune_app.study.parsed import GRID, ParsedStudy, plug_in, searcher_of
from tune_app.study.tune_section import TUNE, WHOLE, PlugInSection, TuneSection
from tune_app.study.yaml_source import Source


@dataclass(frozen=True, slots=True)
class Read:
    """The result of reading a study file: a study unless there are problems, and messages."""

    study: ParsedStudy | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    """Values with another possible meaning."""
    notes: tuple[Problem, ...]
    """Keys that have no effect here, or another one than in W&B."""
    trainable: str | None = None
    """The trainable of the tune section, possibly the default; None for a file without section."""
    space: Mapping[str, Domain] = field(default_factory=dict)
    """The parameters that could be read."""
    metric: Metric = field(default_factory=lambda: Metric(""))


def load(
    path: Path, changes: Sequence[str] = (), name: str | None = None, now: datetime | None = None
) -> ParsedStudy:
    """Reads a study file, with the `changes` KEY=VALUE applied.

    Raises:
        UserError: with every mistake in the file, the overrides and the plug-ins it names.
    """
    result = read(path, changes, name, now)
    if result.study is None:
        raise UserError(result.problems)
    return result.study


def read(
    path: Path, changes: Sequence[str] = (), name: str | None = None, now: datetime | None = None
) -> Read:
    """Reads a study file as `load` does, and returns its problems instead of raising them.

    Raises:
        UserError: there is no such file, it is not YAML, or an override cannot be applied.
    """
    space = foreign_space.read(path)
    if space is None and not path.is_file():
        raise UserError(_missing(path))
    # A space of another library has no method: it is searched as a sweep of method bayes.
    source = yaml_source.load(path) if space is None else Source(str(path), {"method": "bayes"})
    overrides.apply(source, changes)
    has_section = TUNE in source.data
    tune_data = source.data.pop(TUNE, None)
    misplaced = _misplaced(source)
    parsed = wandb_sweep.parse(source.data, source.where, space)
    tune, tune_problems, readings = tune_section.read(tune_data, source)
    sweep, warnings = parsed.sweep, [*source.warnings, *parsed.warnings, *readings]
    verdict = Verdict() if tune is None else _checked_constraints(sweep, tune, source)
    stamp = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
    chosen = name or f"{_as_name(sweep.name or path.stem)}-{stamp}"
    warnings += [Problem(text) for text in verdict.notes]
    problems = [*source.problems, *misplaced, *parsed.problems, *tune_problems, *verdict.problems]
    problems += name_problems(chosen, "--name")
    if tune is None:
        return Read(None, once(problems), once(warnings), once(parsed.notes))
    tune, readings = _with_numbers(tune, source)
    warnings += readings
    tune, scheduler_notes = _with_scheduler(sweep, tune, source)
    notes = parsed.notes + scheduler_notes
    study = ParsedStudy(chosen, str(path), sweep, tune, sweep.parameters, str(Path.cwd()))
    problems += plugin_checks.problems(study, source, try_out=not problems)
    if tune.warm_start and not problems:
        warnings += _unused(study, source)
        earlier = _earlier(study, source)
        problems += earlier.problems
        warnings += earlier.warnings
        study = replace(study, earlier=earlier.runs)
    lines = tuple(item.in_one_line() for item in once(warnings + notes))
    study = replace(study, notes=lines)
    return Read(
        None if problems else study,
        once(problems),
        once(warnings),
        once(notes),
        tune.trainable if has_section else None,
        sweep.parameters,
        Metric(sweep.metric, sweep.goal, sweep.target),
    )


def _unused(study: ParsedStudy, source: Source) -> list[Problem]:
    """A warning if the study has earlier runs but its searcher does not use them."""
    if make.learns_from_history(plug_in(study.searcher), study.space, study.tune.seed):
        return []
    what = f"not used: {study.searcher.name} does not learn from earlier runs"
    fix = "use searcher: auto"
    return [Problem(what, source.where((TUNE, "warm_start")), fix=fix)]


def _earlier(study: ParsedStudy, source: Source) -> warm.Gathered:
    """The runs that `warm_start` names."""
    sweep, where = study.sweep, source.where((TUNE, "warm_start"))
    gathered = warm.gather(
        study.tune.warm_start, study.space, study.constraints, sweep.metric, sweep.goal
    )

    def placed(items: list[Problem]) -> list[Problem]:
        return [replace(item, what=f"{item.where}: {item.what}", where=where) for item in items]

    return warm.Gathered(gathered.runs, placed(gathered.problems), placed(gathered.warnings))


def _misplaced(source: Source) -> list[Problem]:
    """Problems of tune keys on the top level; removes these keys from it."""
    tune_keys = TuneSection.model_fields.keys() - wandb_sweep.UNUSED_KEYS.keys()
    keys = [key for key in source.data if key in tune_keys]
    for key in keys:
        del source.data[key]
    fix = "write it below tune:"
    return [
        Problem(f"{key} is a key of the tune section", source.where((key,)), fix=fix)
        for key in keys
    ]


def _with_numbers(tune: TuneSection, source: Source) -> tuple[TuneSection, list[Problem]]:
    """The section with numbers for quoted options of searcher and scheduler, and warnings."""
    changed, warnings = {}, []
    for kind in ("searcher", "scheduler"):
        section: PlugInSection = getattr(tune, kind) or PlugInSection(name="")
        parsed = lenient.of_options(kind, section.name, section.options)
        if parsed:
            changed[kind] = section.model_copy(update={name: n for name, (n, _) in parsed.items()})
        warnings += [
            replace(warning, where=source.where((TUNE, kind, name)))
            for name, (_, warning) in parsed.items()
        ]
    return tune.model_copy(update=changed), warnings


def _with_scheduler(
    sweep: wandb_sweep.Sweep, tune: TuneSection, source: Source
) -> tuple[TuneSection, list[Problem]]:
    """Adds the scheduler that the sweep implies, unless the section names one."""
    hyperband, where = sweep.early_terminate, source.where(("early_terminate",))
    if "scheduler" in tune.model_fields_set:
        return tune, [Problem("not used: tune.scheduler is given", where)] if hyperband else []
    if hyperband is not None:
        return _with_hyperband(hyperband, tune, where)
    if searcher_of(sweep, tune).name == GRID:
        path = (TUNE, "searcher") if tune.searcher else ("method",)
        what = "a grid runs completely: no trial is stopped early (scheduler fifo)"
        note = Problem(what, source.where(path), fix="name a tune.scheduler to stop some early")
        return tune.model_copy(update={"scheduler": PlugInSection(name=WHOLE)}), [note]
    return tune, []


def _with_hyperband(
    hyperband: Hyperband, tune: TuneSection, where: str
) -> tuple[TuneSection, list[Problem]]:
    """Adds the scheduler for `early_terminate`."""
    evaluations = tune.budget.evaluations
    rungs = hyperband.rungs(evaluations)
    scheduler = PlugInSection(name="asha", eta=hyperband.eta, rungs=list(rungs))
    shares = ", ".join(f"{100 * rung:.3g} %" for rung in rungs)
    total = f"max_iter {hyperband.max_iter}" if hyperband.max_iter else f"{evaluations} evaluations"
    what = f"read as asha with rungs at {shares} of the budget, which is {total}"
    if len(rungs) == 1:
        what += ": nothing is stopped early; raise tune.budget.evaluations"
    return tune.model_copy(update={"scheduler": scheduler}), [Problem(what, where)]


def _checked_constraints(sweep: wandb_sweep.Sweep, tune: TuneSection, source: Source) -> Verdict:
    """Checks constraints, conditions and beliefs."""
    parameters = source.data.get("parameters")
    verdict = constraint_checks.check(
        sweep.parameters,
        constraints=tune.constraints,
        when=tune.when,
        beliefs={name: Belief(**item.model_dump()) for name, item in tune.prior.beliefs.items()},
        where=lambda path: source.where((TUNE, *path)),
        declared=map(str, parameters) if isinstance(parameters, dict) else (),
    )
    budget = tune.budget
    if tune.prior.step_law is None or (budget.steps is None and budget.seconds is None):
        return verdict
    what = "step_law needs the number of training tokens of a trial"
    problem = Problem(what, source.where((TUNE, "prior")), "a budget in tokens or epochs")
    return replace(verdict, problems=(*verdict.problems, problem))


def _as_name(text: str) -> str:
    """`text`, which may be any name of W&B, with characters replaced that no folder may have."""
    return re.sub(r"[^A-Za-z0-9А-Яа-яЁё_.-]+", "-", text)[:80].strip("-._") or "study"


def _missing(path: Path) -> Problem:
    folder = path.parent if path.parent.is_dir() else Path()
    files = [item.name for item in folder.glob("*.y*ml")]
    hint = f"in {folder}: {nearest(path.name, files)}" if files else "give the path of a YAML file"
    return Problem("no such study file", str(path), "a W&B sweep or study file", hint)
