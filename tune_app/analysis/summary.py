"""Works out the facts of a study from its state.

Values are only compared at the full budget; earlier values come with the share of the budget at
which they were measured.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from tune_app.analysis import format, seeds
from tune_app.analysis.facts import (
    Baseline,
    Best,
    DroppedChoice,
    Improvement,
    Incumbent,
    Samples,
    SeedSpread,
    Spent,
    Summary,
    TrialRow,
)
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Outcome, Status, TrialState


def summarise(state: StudyState) -> Summary:
    """The facts of a study, without the importance of its parameters."""
    return Summary(
        name=state.name,
        status=status(state),
        reason=state.ended or "",
        metric=state.metric,
        goal=state.definition.metric.goal,
        outcomes=_outcomes(state),
        running=len(state.with_status(Status.RUNNING)),
        paused=len(state.with_status(Status.PAUSED)),
        best=_best(state),
        baseline=_baseline(state),
        incumbent=incumbent(state),
        improvement=improvement(state),
        seeds=seed_spread(state),
        spent=spent(state),
        trials=tuple(rows(state)),
        samples=_samples(state),
        dropped=tuple(
            DroppedChoice(event["parameter"], event.get("value"), event.get("reason", ""))
            for event in state.dropped
        ),
        findings=tuple(state.findings),
        elapsed_s=state.elapsed_s,
    )


def status(state: StudyState) -> str:
    """ended, running or interrupted, by the journal: a killed driver leaves "running"."""
    if state.ended is not None:
        return "ended"
    return "running" if state.with_status(Status.RUNNING) else "interrupted"


def ranked(state: StudyState) -> list[TrialState]:
    """Trials with a finite objective at the full budget, best first; ties by number."""
    values = {
        trial.id: final
        for trial in state.trials.values()
        if (final := state.final_value(trial)) is not None and math.isfinite(final)
    }
    done = [state.trials[name] for name in values]
    return sorted(done, key=lambda trial: (state.sign * values[trial.id], trial.number))


def evaluations(state: StudyState, trial: TrialState) -> list[tuple[float, int, float]]:
    """The reported objectives of a trial: (share of the budget, tokens, value) each."""
    metric = state.reported_metric
    return [
        (report.fraction, report.tokens, report.metrics[metric])
        for report in trial.reports
        if metric in report.metrics
    ]


def rows(state: StudyState) -> list[TrialRow]:
    """One row for each trial: ranked ones best first, then the others by their spent budget."""
    order = ranked(state)
    ranks = {trial.id: rank for rank, trial in enumerate(order, start=1)}
    others = [trial for trial in state.trials.values() if trial.id not in ranks]
    others.sort(key=lambda trial: (-trial.fraction, trial.number))
    return [_row(state, trial, ranks.get(trial.id)) for trial in order + others]


def seed_spread(state: StudyState) -> SeedSpread | None:
    """The spread between runs that differ in the seed alone, see `seeds.spread`."""
    return seeds.spread(
        seeds.Run(
            trial.params,
            state.final_value(trial),
            is_judged=trial.decided_rung is not None or trial.outcome is Outcome.STOPPED,
            has_diverged=trial.outcome is Outcome.DIVERGED,
        )
        for trial in state.trials.values()
        if trial.segments and not trial.takeovers
    )


def improvement(state: StudyState) -> Improvement:
    """The best trial against the untuned defaults, both at the full budget."""
    order, baseline = ranked(state), state.baseline()
    if baseline is None or baseline not in order or order == [baseline]:
        return Improvement(None, None, _why_not_compared(state, order, baseline))
    if order[0] is baseline:
        return Improvement(0.0, 0.0, _baseline_wins(state, order))
    best, default = (_final(state, trial) for trial in (order[0], baseline))
    absolute = state.sign * (default - best)
    relative = absolute / abs(default) if default != 0 else None
    side = "lower" if best < default else "higher"
    percent = "" if relative is None else f" ({format.share(relative)})"
    text = (
        f"Trial {order[0].id} reached {state.metric} {format.loss(best)} at the full budget, "
        f"{format.loss(absolute)}{percent} {side} than the untuned defaults "
        f"({format.loss(default)}). {seeds.caution(seed_spread(state))}"
    )
    return Improvement(absolute, relative, text)


def spent(state: StudyState) -> Spent:
    """What the study cost, in tokens and in runs to the full budget."""
    started = [trial for trial in state.trials.values() if trial.segments or trial.reports]
    short = [trial for trial in started if _ended_short(trial)]
    number = len(started)
    saved = sum(1 - trial.fraction for trial in started if trial.outcome is Outcome.STOPPED)
    cost = Spent(
        tokens=sum(trial.tokens for trial in started),
        full_runs=sum(trial.fraction for trial in started),
        trials=number,
        saved_share=saved / number if number else 0.0,
        short_share=sum(1 - trial.fraction for trial in short) / number if number else 0.0,
        text="",
    )
    return replace(cost, text=_spent_text(state, cost, short))


def _ended_short(trial: TrialState) -> bool:
    ended = trial.outcome not in (None, Outcome.COMPLETED, Outcome.STOPPED)
    return ended and trial.fraction < 1


def _spent_text(state: StudyState, cost: Spent, short: list[TrialState]) -> str:
    number = cost.trials
    trials = f"{number} trial{'' if number == 1 else 's'}"
    runs = f"{cost.full_runs:.1f} full runs"
    if state.ended is None:
        return f"{trials} cost {runs} so far"
    parts = []
    if cost.saved_share:
        parts.append(f"early stopping saved {format.share(cost.saved_share)}")
    if cost.short_share:
        kinds = Counter(str(trial.outcome).replace("_", " ") for trial in short)
        names = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        parts.append(
            f"trials that broke off ({names}) left {format.share(cost.short_share)} unspent"
        )
    if not parts:
        return f"{trials} cost {runs}: none was stopped early"
    return f"{trials} cost {runs} instead of {number}: {', '.join(parts)}"


def incumbent(state: StudyState) -> Incumbent | None:
    """The best trial so far at the highest rung that a searched trial reached."""
    for rung in range(state.full_rung, -1, -1):
        if leaders := state.rankings.leaders(rung):
            baseline = state.baseline()
            if baseline is not None and rung in baseline.rung_values:
                leaders.append(baseline)
            best = min(leaders, key=lambda t: (state.sign * t.rung_values[rung], t.number))
            share = state.definition.rungs[rung]
            return Incumbent(best.id, best.rung_values[rung], share, best.params)
    return None


def _outcomes(state: StudyState) -> dict[str, int]:
    counts = Counter(trial.outcome for trial in state.trials.values())
    return {str(outcome): counts[outcome] for outcome in Outcome}


def _best(state: StudyState) -> Best | None:
    best = next(iter(ranked(state)), None)
    if best is None:
        return None
    return Best(
        trial=best.id,
        value=_final(state, best),
        params=best.params,
        tokens=best.tokens,
        step=best.reports[-1].step if best.reports else 0,
        effective=best.effective,
        checkpoint=best.checkpoint.name if best.checkpoint else None,
    )


def _baseline(state: StudyState) -> Baseline | None:
    trial = state.baseline()
    if trial is None:
        return None
    return Baseline(trial.id, state.final_value(trial), trial.params)


def _row(state: StudyState, trial: TrialState, rank: int | None) -> TrialRow:
    points = evaluations(state, trial)
    finite = [point[2] for point in points if math.isfinite(point[2])]
    return TrialRow(
        trial=trial.id,
        kind=trial.kind,
        rank=rank,
        outcome=trial.outcome or trial.status,
        params=trial.params,
        tokens=trial.tokens,
        fraction=trial.fraction,
        value=points[-1][2] if points else None,
        value_fraction=points[-1][0] if points else None,
        best_value=min(finite, key=lambda value: state.sign * value, default=None),
        seconds=trial.seconds,
        reason=trial.reason,
    )


def _samples(state: StudyState) -> Samples | None:
    order = ranked(state)
    everyone = order + list(state.trials.values())
    untrained = (trial.samples["untrained"] for trial in everyone if "untrained" in trial.samples)
    before = next(untrained, None)
    after = order[0].samples.get("trained") if order else None
    if before is None and after is None:
        return None
    return Samples(state.definition.prompt, untrained=before, best=after)


def _final(state: StudyState, trial: TrialState) -> float:
    """The objective at the full budget of a trial of `ranked`."""
    return trial.rung_values[state.full_rung]


def _why_not_compared(
    state: StudyState, order: list[TrialState], baseline: TrialState | None
) -> str:
    if not order:
        yet = "" if state.ended else " yet"
        return f"No trial has completed its full budget{yet}: there is no best one."
    if baseline is None:
        return (
            "The untuned defaults were not run: whether the search improved on them is not known."
        )
    if baseline in order:
        return (
            f"Only the untuned defaults completed ({state.metric} "
            f"{format.loss(_final(state, baseline))}): there is nothing to compare them with."
        )
    if baseline.outcome is None:
        return "The untuned defaults have not finished: there is nothing to compare with yet."
    kind = str(baseline.outcome).replace("_", " ")
    return (
        f"The untuned defaults gave no value at the full budget ({kind}): whether the search "
        "improved on them is not known."
    )


def _baseline_wins(state: StudyState, order: list[TrialState]) -> str:
    searched = next(trial for trial in order if trial.kind is Kind.SEARCH)
    return (
        f"No completed trial beat the untuned defaults ({state.metric} "
        f"{format.loss(_final(state, order[0]))} at the full budget); the next, trial "
        f"{searched.id}, reached {format.loss(_final(state, searched))}. "
        f"{seeds.caution(seed_spread(state))}"
    )
