"""What a trial looks like as a W&B run. Pure: takes the study's state, never touches W&B."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from tune_app.space import rules
from tune_app.space.domains import fixed, from_document, nested
from tune_app.state import StudyState
from tune_app.trial import Outcome, TrialState

_GOOD_ENDS = {Outcome.COMPLETED, Outcome.STOPPED, Outcome.CANCELLED}
_TAG_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """All of one run. `history` holds its rows in the order of tokens."""

    id: str
    name: str
    group: str
    job_type: str
    project: str
    entity: str | None
    notes: str | None
    tags: tuple[str, ...]
    config: dict[str, Any]
    history: list[dict[str, float]]
    summary: dict[str, Any]
    exit_code: int


def run_id(state: StudyState, trial: str) -> str:
    """The same for a trial in every driver of a study, different for a namesake of the study."""
    digest = hashlib.sha256(f"{state.name}\n{state.started}".encode()).hexdigest()[:8]
    return "-".join((_legal(state.name)[:40].strip("-") or "study", digest, _legal(trial)))


def describe(state: StudyState, trial: TrialState) -> RunRecord:
    """The run of a trial that has ended."""
    document = state.document
    outcome = Outcome.FAILED if trial.outcome is None else trial.outcome
    tags = (document["searcher"]["name"], document["scheduler"]["name"], outcome.value)
    return RunRecord(
        id=run_id(state, trial.id),
        name=f"{state.name}-{trial.id}",
        group=state.name,
        job_type=trial.kind.value,
        project=document["project"],
        entity=document.get("entity"),
        notes=document.get("description"),
        tags=tuple(dict.fromkeys(str(tag)[:_TAG_LIMIT] for tag in tags)),
        config=_config(state, trial),
        history=_history(trial),
        summary=_summary(state, trial, outcome),
        exit_code=0 if outcome in _GOOD_ENDS else 1,
    )


def _config(state: StudyState, trial: TrialState) -> dict[str, Any]:
    document = state.document
    space = {name: from_document(domain) for name, domain in document["parameters"].items()}
    about = {name: document.get(name) for name in ("trainable", "method", "metric", "seed")}
    tune = {
        **about,
        "study": state.name,
        "trial": trial.id,
        "number": trial.number,
        "kind": trial.kind.value,
        "budget": document["budget"],
        "created": trial.created,
        "ended": trial.ended,
        "segments": trial.segments,
        "losses": trial.losses,
    }
    if trial.takeovers:
        tune["takeovers"] = [asdict(takeover) for takeover in trial.takeovers]
    effective = {"effective": trial.effective} if trial.effective else {}
    params = rules.of_document(document).active({**fixed(space), **trial.params})
    return {**nested(params), "tune": tune, **effective}


def _history(trial: TrialState) -> list[dict[str, float]]:
    return [
        {
            **report.metrics,
            "tokens": report.tokens,
            "step": report.step,
            "seconds": report.seconds,
            "fraction": report.fraction,
        }
        for report in trial.reports
    ]


def _summary(state: StudyState, trial: TrialState, outcome: Outcome) -> dict[str, Any]:
    """The objective under its own name for completed trials only: it is a value at full budget."""
    metrics = sorted({name for report in trial.reports for name in report.metrics})
    summary: dict[str, Any] = {
        "outcome": outcome.value,
        "tokens": trial.tokens,
        "seconds": trial.seconds,
        "fraction": trial.fraction,
        **{f"last_{name}": trial.latest(name) for name in metrics},
        **{f"sample_{stage}": text for stage, text in trial.samples.items()},
    }
    final, best = state.final_value(trial), _best(state, trial)
    if final is not None:
        summary[state.metric] = final
    if best is not None:
        summary[f"best_{state.reported_metric}"] = best
    told = {"reason": trial.reason, "error": trial.error}
    summary.update({name: text for name, text in told.items() if text})
    return {name: _tellable(value) for name, value in summary.items()}


def _best(state: StudyState, trial: TrialState) -> float | None:
    values = (report.metrics.get(state.reported_metric) for report in trial.reports)
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return min(finite, key=lambda value: state.sign * value, default=None)


def _tellable(value: Any) -> Any:
    """W&B stores NaN in a summary as null; these strings are what it reads as NaN and infinity."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _legal(text: str) -> str:
    """Only what W&B allows in a run's id."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text)
