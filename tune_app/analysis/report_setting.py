"""The part of a report that says how the study was run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_app.analysis import format
from tune_app.analysis import markdown as md
from tune_app.analysis.report_cells import cell, short, space_of
from tune_app.core.state import StudyState
from tune_app.space import domains


def setting(state: StudyState) -> str:
    """How the study was run: space, budget, plug-ins, data, software, machine."""
    document = state.document
    space = space_of(state)
    kinds = {name: type(domain).__name__.lower() for name, domain in space.items()}
    rows = [
        [md.code(name), kinds[name], short(domains.describe(domain))]
        for name, domain in space.items()
    ]
    parts = [md.table(["hyper-parameter", "kind", "values"], rows), md.table(["", ""], _run(state))]
    for title, values in (
        ("Data", document.get("data") or {}),
        ("Software", state.software),
        ("Machine", state.machine),
    ):
        if values:
            table = md.table(["", ""], [[md.text(key), cell(values, key)] for key in values])
            parts.append(f"### {title}\n\n{table}")
    return "\n\n".join(parts)


def _run(state: StudyState) -> list[list[str]]:
    document, budget = state.document, state.document["budget"]
    rungs = ", ".join(format.share(rung) for rung in document["rungs"])
    facts = {
        "objective": f"{state.metric}, {document['metric']['goal']}",
        "budget of a trial": f"{_amount(budget['amount'])} {budget['unit']}",
        "trials": format.count(budget["trials"]),
        "evaluations of a full trial": format.count(budget["evaluations"]),
        "rungs": rungs,
        "trainable": document["trainable"],
        "searcher": _plug_in(document["searcher"]),
        "scheduler": _plug_in(document["scheduler"]),
        "a trial's resources": _given(document["resources"]),
        "seed": format.value(document["seed"]),
        "drivers": format.count(len(state.sessions)),
        **_relations(document),
    }
    return [[md.text(name), md.text(str(told))] for name, told in facts.items()]


def _relations(document: Mapping[str, Any]) -> dict[str, str]:
    """Constraints, conditions, beliefs and earlier runs, as far as the study has them."""
    when = [f"{name} if {text}" for name, text in (document.get("when") or {}).items()]
    beliefs = [
        f"{name} {_given(belief)}"
        for name, belief in (document.get("prior") or {}).items()
        if belief
    ]
    told = {
        "constraints": document.get("constraints") or [],
        "conditions": when,
        "prior": beliefs,
    }
    relations = {name: "; ".join(texts) for name, texts in told.items() if texts}
    earlier = document.get("warm_start")
    return relations | ({"earlier runs": format.count(len(earlier))} if earlier else {})


def _plug_in(section: Mapping[str, Any]) -> str:
    options = {name: item for name, item in section.items() if name != "name"}
    return f"{section['name']} {_given(options)}".strip()


def _given(options: Mapping[str, Any]) -> str:
    return format.params({name: item for name, item in options.items() if item is not None})


def _amount(number: float) -> str:
    return format.count(number) if number == int(number) else format.value(number)
