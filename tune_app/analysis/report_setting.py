"""The section of a report about the settings of the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tune_app.analysis import format
from tune_app.analysis import markdown as md
from tune_app.analysis.report_cells import cell, short
from tune_app.core.definition import PlugIn, StudyDefinition
from tune_app.core.state import StudyState
from tune_app.space import domains


def setting(state: StudyState) -> str:
    """How the study was run: space, budget, plug-ins, data, software, machine."""
    space = state.definition.space
    kinds = {name: type(domain).__name__.lower() for name, domain in space.items()}
    rows = [
        [md.code(name), kinds[name], short(domains.describe(domain))]
        for name, domain in space.items()
    ]
    parts = [md.table(["hyper-parameter", "kind", "values"], rows), md.table(["", ""], _run(state))]
    for title, values in (
        ("Data", state.definition.data),
        ("Software", state.software),
        ("Machine", state.machine),
    ):
        if values:
            table = md.table(["", ""], [[md.text(key), cell(values, key)] for key in values])
            parts.append(f"### {title}\n\n{table}")
    return "\n\n".join(parts)


def _run(state: StudyState) -> list[list[str]]:
    study, budget = state.definition, state.definition.budget
    facts = {
        "objective": f"{study.metric.name}, {study.metric.goal}",
        "budget of a trial": f"{_amount(budget.amount)} {budget.unit}",
        "trials": format.count(budget.trials),
        "evaluations of a full trial": format.count(budget.evaluations),
        "rungs": ", ".join(format.share(rung) for rung in study.rungs),
        "trainable": study.trainable,
        "searcher": _plug_in(study.searcher),
        "scheduler": _plug_in(study.scheduler),
        "a trial's resources": _options(asdict(study.resources)),
        "seed": format.value(study.seed),
        "drivers": format.count(len(state.sessions)),
        **_constraints(study),
    }
    return [[md.text(name), md.text(text)] for name, text in facts.items()]


def _constraints(study: StudyDefinition) -> dict[str, str]:
    """Constraints, conditions, beliefs and earlier runs, as far as the study has them."""
    beliefs = [f"{name} {_options(asdict(belief))}" for name, belief in study.beliefs.items()]
    if study.step_law_octaves is not None:
        beliefs.append(f"step_law octaves={format.value(study.step_law_octaves)}")
    texts = {
        "constraints": list(study.required),
        "conditions": [f"{name} if {text}" for name, text in study.when.items()],
        "prior": beliefs,
    }
    rows = {name: "; ".join(lines) for name, lines in texts.items() if lines}
    runs = len(study.earlier_runs)
    return rows | ({"earlier runs": format.count(runs)} if runs else {})


def _plug_in(plug_in: PlugIn) -> str:
    return f"{plug_in.name} {_options(plug_in.options)}".strip()


def _options(options: Mapping[str, Any]) -> str:
    return format.params({name: item for name, item in options.items() if item is not None})


def _amount(number: float) -> str:
    return format.count(number) if number == int(number) else format.value(number)
