"""The importance of parameters as text: for the report, the closing lines and W&B."""

from __future__ import annotations

from dataclasses import replace

from tune_app.analysis import format, seeds
from tune_app.analysis import markdown as md
from tune_app.analysis.effects import CONFIDENCE, LEVEL
from tune_app.analysis.facts import Importances, Summary
from tune_app.analysis.importance import Importance, importance
from tune_app.analysis.summary import seed_spread, summarise
from tune_app.core.state import StudyState
from tune_app.errors import UserError
from tune_app.plugins import make
from tune_app.space.domains import Fixed
from tune_app.space.nuisance import SEED

NAMED = 3
"""Parameters that a sentence names at most."""

LITTLE = 0.05
"""A share up to which a parameter is not worth tuning."""


def in_full(state: StudyState) -> Summary:
    """The facts of a study with the importance of its parameters; takes about a second."""
    count, items = importance(state)
    importances = Importances(count, tuple(items), sentence(count, items))
    return replace(summarise(state), importance=importances)


def sentence(count: int, items: list[Importance]) -> str:
    """A summary in one or two sentences; `count` is the number of trials in the analysis."""
    trials = f"{count} trial{'' if count == 1 else 's'}"
    named = [f"{item.parameter} ({_interval(item)})" for item in items if item.matters]
    if not named:
        return f"Which hyper-parameters matter cannot be determined from {trials}."
    shown, rest = named[:NAMED], len(items) - len(named)
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    text = f"What mattered for the order of {trials}: {', '.join(shown)}{more}."
    little = sum(_is_little(item) for item in items)
    counts = {"hardly mattered": little, "cannot be determined": rest - little}
    others = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    return f"{text} Of the others, {others}." if others else text


def section(state: StudyState) -> str:
    """A table of all searched parameters and how to read it, in Markdown."""
    count, items = importance(state)
    if not items:
        return md.text(sentence(count, items)) if state.trials else ""
    return f"{table(items)}\n\n{md.bullets(_notes(state, count))}"


def table(items: list[Importance]) -> str:
    """Shares and intervals, in Markdown."""
    header = ["hyper-parameter", "share of the order of trials", "between"]
    return md.table(header, [_row(item) for item in items], right=[1, 2])


def _row(item: Importance) -> list[str]:
    name = md.code(format.shorten(item.parameter, 40))
    if item.matters:
        return [name, f"**{format.share(item.share)}**", _interval(item)]
    return [name, "hardly any" if _is_little(item) else "cannot tell", _at_most(item)]


def _is_little(item: Importance) -> bool:
    return not item.matters and item.high <= LITTLE


def _at_most(item: Importance) -> str:
    return f"at most {format.share(item.high)}"


def _interval(item: Importance) -> str:
    return f"{format.share(item.low)} to {format.share(item.high)}"


def _prefers_good_values(state: StudyState) -> bool:
    """Whether the search tried good values more often than others; True if unknown."""
    try:
        study = state.definition
        believed = study.prior or study.step_law_octaves is not None
        return bool(believed) or make.learns_from_history(study.searcher, study.space, study.seed)
    except UserError:
        # The user's own searcher may be missing where the report is made.
        return True


def _notes(state: StudyState, count: int) -> list[str]:
    """The notes that explain the table."""
    notes = [
        f"From {count} trials, each pair compared at the highest rung that both have reached. A "
        "share is the part of the variance of ranks that the parameter explains by itself; "
        "interactions belong to no parameter. Intervals contain the share in the limit of many "
        f"such trials in about {format.share(CONFIDENCE)} of studies.",
        "Cannot tell: random permutations of the parameter's values explain as much in more than "
        f"{format.share(LEVEL)} of cases. So about one in {round(1 / LEVEL)} parameters without "
        "an effect is reported to matter.",
    ]
    if not isinstance(state.definition.space.get(SEED, Fixed(None)), Fixed):
        spread = seeds.description(seed_spread(state)) or "How much noise was not measured."
        notes.append(f"The seed is not ranked: its effect is noise. {spread}")
    if any(trial.fraction < 1 for trial in state.trials.values()):
        notes.append(
            "Trials that ended early count by their early values, and the importance early in "
            "training may differ from that at the full budget: for it, intervals are too narrow."
        )
    if _prefers_good_values(state):
        notes.append(
            "The search tried good values more often than others: a parameter whose good values "
            "were found soon has varied little since, and matters more in the whole space."
        )
    return notes
