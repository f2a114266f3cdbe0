"""What mattered, in words: for the report, the closing lines and W&B."""

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
"""So many parameters are named in a sentence."""

LITTLE = 0.05
"""A share that nobody would tune for."""


def in_full(state: StudyState) -> Summary:
    """The facts of a study with the importance of its parameters, which takes a second."""
    count, told = importance(state)
    importances = Importances(count, tuple(told), sentence(count, told))
    return replace(summarise(state), importance=importances)


def sentence(count: int, told: list[Importance]) -> str:
    """The whole of it in one or two sentences."""
    trials = f"{count} trial{'' if count == 1 else 's'}"
    known = [f"{item.parameter} ({_interval(item)})" for item in told if item.matters]
    if not known:
        return f"Which hyper-parameters matter cannot be told from {trials}."
    shown, rest = known[:NAMED], len(told) - len(known)
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    text = f"What mattered for the order of {trials}: {', '.join(shown)}{more}."
    little = sum(_is_little(item) for item in told)
    counts = {"hardly mattered": little, "cannot be told": rest - little}
    others = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    return f"{text} Of the others, {others}." if others else text


def section(state: StudyState) -> str:
    """A table of all searched parameters and how to read it, in Markdown."""
    count, told = importance(state)
    if not told:
        return md.text(sentence(count, told)) if state.trials else ""
    return f"{table(told)}\n\n{md.bullets(_notes(state, count))}"


def table(told: list[Importance]) -> str:
    """Shares and intervals, in Markdown."""
    header = ["hyper-parameter", "share of the order of trials", "between"]
    return md.table(header, [_row(item) for item in told], right=[1, 2])


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
    """Whether the search tried good values more often than others, as far as can be told."""
    try:
        study = state.definition
        believed = study.prior or study.step_law_octaves is not None
        return bool(believed) or make.learns_from_history(study.searcher, study.space, study.seed)
    except UserError:
        # A searcher of the user's own need not be where the report is read.
        return True


def _notes(state: StudyState, count: int) -> list[str]:
    """What has to be known to read the table."""
    notes = [
        f"From {count} trials, each two compared at the highest rung that both have been at. A "
        "share is the part of the differences in rank that goes with the parameter by itself; "
        "effects that two have only together belong to none. Intervals are meant to hold the share "
        f"that any number of such trials would show in {format.share(CONFIDENCE)} of studies.",
        "Cannot tell: the same values dealt out to the trials by chance do as well in more than "
        f"{format.share(LEVEL)} of cases. So about one in {round(1 / LEVEL)} parameters without "
        "any meaning is said to matter.",
    ]
    if not isinstance(state.definition.space.get(SEED, Fixed(None)), Fixed):
        known = seeds.told(seed_spread(state)) or "How much that is was not measured."
        notes.append(f"The seed is not ranked: what it changes is noise. {known}")
    if any(trial.fraction < 1 for trial in state.trials.values()):
        notes.append(
            "Trials that ended early count by their early values, and what matters early is not "
            "always what matters in the end: for the full budget intervals are too narrow."
        )
    if _prefers_good_values(state):
        notes.append(
            "The search tried good values more often than others: a parameter whose good values it "
            "found soon has varied little since, and matters more in the whole space than here."
        )
    return notes
