"""The sections of a report as Markdown; empty if a section does not apply."""

from __future__ import annotations

import json
from typing import Any

from tune_app.analysis import format, seeds
from tune_app.analysis import markdown as md
from tune_app.analysis.facts import Baseline, Summary, TrialRow
from tune_app.analysis.report_cells import cell, short
from tune_app.analysis.scales import Numeric, most_varied
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Outcome, TrialState
from tune_app.space import domains

COLUMNS = 8
"""Hyper-parameters shown in the table of all trials, at most."""

_RIGHT_OUT = {
    Outcome.DIVERGED: "diverged",
    Outcome.OUT_OF_MEMORY: "did not fit into memory",
    Outcome.FAILED: "failed",
    Outcome.LOST: "was lost with its worker",
    Outcome.CANCELLED: "was cancelled",
}


def answer(facts: Summary) -> str:
    """One paragraph: the best trial, against the untuned defaults, and what it cost."""
    sentences: list[str] = []
    if facts.status != "ended":
        done = facts.outcomes["completed"]
        sentences.append(f"This study has not ended; {done} of its trials completed so far.")
    if facts.improvement.absolute is None and facts.best is not None:
        best = facts.best
        if facts.baseline is None or facts.baseline.trial != best.trial:
            sentences.append(
                f"Trial {best.trial} is the best with {facts.metric} "
                f"{format.loss(best.value)} at the full budget."
            )
    sentences.append(facts.improvement.text)
    spent = facts.spent
    sentences.append(
        f"{spent.text} ({format.count(spent.tokens)} tokens, {format.duration(facts.elapsed_s)})."
    )
    return md.text(" ".join(sentences))


def best_values(state: StudyState, facts: Summary) -> str:
    """The best trial's values next to the untuned defaults and the searched domains."""
    best, baseline = (
        facts.best,
        facts.baseline or Baseline("", None, {}),
    )
    if best is None:
        return ""
    same = best.trial == baseline.trial
    rows = []
    for name, domain in domains.searched(state.definition.space).items():
        row = [
            md.code(name),
            cell(baseline.params, name),
            short(domains.describe(domain)),
        ]
        rows.append(row if same else [row[0], f"**{cell(best.params, name)}**", *row[1:]])
    defaults = f"untuned defaults ({baseline.trial or 'not run'})"
    header = (
        ["", defaults, "searched"] if same else ["", f"best ({best.trial})", defaults, "searched"]
    )
    values = [format.loss(baseline.value), "at the full budget"]
    last = [
        md.code(facts.metric),
        *(values if same else [f"**{format.loss(best.value)}**", *values]),
    ]
    exact = json.dumps(best.params, ensure_ascii=False, indent=2)
    return f"{md.table(header, [*rows, last])}\n\nExactly:\n\n```json\n{exact}\n```"


def schedule(state: StudyState, trial: TrialState) -> str:
    """The values of a trial over time, if it copied other trials."""
    takeovers = trial.takeovers
    if not takeovers:
        return ""
    stages = [*(takeover.params for takeover in takeovers), trial.params]
    ends = [format.share(state.definition.rungs[takeover.rung]) for takeover in takeovers]
    sources = ["", *(takeover.source for takeover in takeovers)]
    names = [name for name in stages[-1] if len({json.dumps(s.get(name)) for s in stages}) > 1]
    header = ["until", "resumes from", *(md.code(format.shorten(name, 40)) for name in names)]
    rows = [
        [end, source, *(cell(stage, name) for name in names)]
        for end, source, stage in zip([*ends, "100 %"], sources, stages, strict=True)
    ]
    note = "Its values changed during training: a run with the last values alone is different."
    return f"{note}\n\n{md.table(header, rows)}"


def effective(state: StudyState, facts: Summary) -> str:
    """What really ran in the best trial, as its worker recorded it, and in the baseline."""
    best, baseline = facts.best, state.baseline()
    if best is None or not best.effective:
        return ""
    other = baseline.effective if baseline is not None and baseline.id != best.trial else {}
    names = list(dict.fromkeys([*best.effective, *other]))
    header = ["", f"best ({best.trial})"] + (["untuned defaults"] if other else [])
    rows = [
        [md.code(name), cell(best.effective, name)] + ([cell(other, name)] if other else [])
        for name in names
    ]
    return md.table(header, rows)


def trials(state: StudyState, facts: Summary) -> str:
    """All trials, ranked ones first; values of the others carry their share of the budget."""
    names = most_varied(state, COLUMNS)
    header = ["rank", "trial", "outcome", md.code(state.reported_metric)]
    header += [*(md.code(format.shorten(name, 40)) for name in names)]
    header += ["budget", "tokens", "time", "why"]
    rows = [_trial_row(row, names) for row in facts.trials]
    numbers = [0, 3, len(header) - 4, len(header) - 3, len(header) - 2]
    note = (
        "Only trials at the full budget are ranked. A value with a percentage was measured at "
        "that share of the budget and compares with values at the same share alone."
    )
    every = len(domains.searched(state.definition.space))
    if len(names) < every:
        note += f" Shown are the {len(names)} of {every} hyper-parameters with the most values."
    return f"{md.table(header, rows, numbers)}\n\n{note}"


def _trial_row(row: TrialRow, names: list[str]) -> list[str]:
    value = format.loss(row.value)
    if row.rank is None and row.value_fraction is not None:
        value += f" (at {format.share(row.value_fraction)})"
    kind = " (untuned defaults)" if row.kind == Kind.BASELINE else ""
    return [
        str(row.rank or ""),
        row.trial + kind,
        row.outcome.replace("_", " "),
        value,
        *(cell(row.params, name) for name in names),
        format.share(row.fraction),
        format.count(row.tokens),
        format.duration(row.seconds),
        short(row.reason),
    ]


def generations(facts: Summary) -> str:
    """Text of the model before training and of the best trial's model, side by side."""
    samples = facts.samples
    if samples is None:
        return ""
    best = f" (trial {facts.best.trial})" if facts.best else ""
    cells = [md.text(text or "") or format.NOTHING for text in (samples.untrained, samples.best)]
    table = md.table(["before training", f"the best{best}"], [cells])
    prompt = samples.prompt
    return f"Prompt: {md.text(prompt)}\n\n{table}" if prompt else table


def left_out(facts: Summary) -> str:
    """Values that could not run, and trials that ended without a usable result."""
    dropped = [
        f"{md.code(item.parameter)} = {short(format.value(item.value))}: "
        f"{md.text(str(item.reason))}"
        for item in facts.dropped
    ]
    broken = [
        f"trial {row.trial} {_RIGHT_OUT[Outcome(row.outcome)]}"
        + (f": {short(row.reason)}" if row.reason else "")
        for row in facts.trials
        if row.outcome in set(_RIGHT_OUT)
    ]
    return md.bullets(dropped + broken)


def limits(state: StudyState, facts: Summary) -> list[str]:
    """The limits of what the numbers show."""
    done, every = facts.outcomes["completed"], len(facts.trials)
    notes = [
        seeds.limit(facts.seeds),
        f"{done} of {every} trials reached the full budget.",
        "The best trial was chosen by the same evaluation data that its value is measured on: "
        "the value is slightly optimistic.",
    ]
    if facts.outcomes["stopped"]:
        shares = ", ".join(format.share(rung) for rung in state.definition.rungs[:-1])
        notes.append(
            f"Trials were stopped by their values at {shares} of the budget: one that starts "
            "slowly and ends well may be among them."
        )
    notes += [
        f"The best {md.code(name)} lies at the edge of what was searched: better values may lie "
        "beyond it."
        for name in at_edge(state, facts)
    ]
    return notes


def at_edge(state: StudyState, facts: Summary) -> list[str]:
    """Numeric parameters whose best value is within 5 % of an end of their searched range."""
    best = facts.best
    if best is None or best.trial == (facts.baseline and facts.baseline.trial):
        return []
    return [
        name
        for name, domain in domains.searched(state.definition.space).items()
        if not isinstance(domain, domains.Choice)
        and name in best.params
        and _is_near_end(domain, best.params[name])
    ]


def _is_near_end(domain: domains.Float | domains.Int | domains.Drawn, value: Any) -> bool:
    if domain.low == domain.high:
        return False
    at = Numeric(domain.low, domain.high, domain.log, whole=False).unit(value)
    return at is not None and not 0.05 <= at <= 0.95
