"""Describes a trial as a W&B run. Pure functions of the study's state, without the W&B client."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from tune_app.core.definition import budget_document
from tune_app.core.state import StudyState
from tune_app.core.trial import Outcome, Params, TrialState
from tune_app.space import wandb_export
from tune_app.space.domains import nested

_GOOD_ENDS = {Outcome.COMPLETED, Outcome.STOPPED, Outcome.CANCELLED}
_TAG_LIMIT = 64
NAME_LIMIT = 128
"""W&B refuses longer names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The complete content of one run. `history` holds its rows in the order of tokens."""

    id: str
    name: str
    group: str
    job_type: str
    project: str
    entity: str | None
    notes: str | None
    tags: tuple[str, ...]
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    samples: list[list[str]]
    """Rows of stage, prompt and text."""
    tokens: int
    created: float
    exit_code: int

    @property
    def rows(self) -> int:
        """The number of rows of its history in W&B; the samples are one extra row."""
        return len(self.history) + bool(self.samples)

    def digest(self) -> str:
        """A digest of the content: a run is written again when it differs."""
        text = json.dumps({**asdict(self), "history": len(self.history)}, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def run_id(state: StudyState, trial: str) -> str:
    """The run's id: the same in every session, but different for another study of this name."""
    digest = hashlib.sha256(f"{state.name}\n{state.started}".encode()).hexdigest()[:8]
    return "-".join((_legal(state.name)[:40].strip("-") or "study", digest, _legal(trial)))


def describe(state: StudyState, trial: TrialState) -> RunRecord:
    """The run of a trial in its current state, ended or not."""
    study = state.definition
    return RunRecord(
        id=run_id(state, trial.id),
        name=f"{state.name[: NAME_LIMIT - len(trial.id) - 1]}-{trial.id}",
        group=state.name[:NAME_LIMIT],
        job_type=trial.kind.value,
        project=study.project,
        entity=study.entity,
        notes=study.description or None,
        tags=_tags(state, trial),
        config=_config(state, trial),
        history=_history(trial),
        summary=_summary(state, trial),
        samples=[[stage, study.prompt, text] for stage, text in trial.samples.items()],
        tokens=trial.tokens,
        created=trial.created,
        exit_code=0 if trial.outcome in {None, *_GOOD_ENDS} else 1,
    )


def sweep_config(state: StudyState) -> dict[str, Any]:
    """The study as a W&B sweep whose runs are not started by W&B."""
    study = state.definition
    return {
        "name": state.name[:NAME_LIMIT],
        "description": study.description,
        "method": "custom",
        "controller": {"type": "local"},
        "metric": {"name": study.metric.name, "goal": study.metric.goal},
        "parameters": wandb_export.parameters(study.space),
    }


def _tags(state: StudyState, trial: TrialState) -> tuple[str, ...]:
    study = state.definition
    tags = [study.searcher.name, study.scheduler.name, _end(trial)]
    if trial.top_rung is not None:
        tags.append(f"rung {trial.top_rung}")
    if state.ended is not None and trial is state.best():
        tags.append("winner")
    return tuple(dict.fromkeys(str(tag)[:_TAG_LIMIT] for tag in tags))


def _end(trial: TrialState) -> str:
    return str(trial.status if trial.outcome is None else trial.outcome)


def _config(state: StudyState, trial: TrialState) -> dict[str, Any]:
    study = state.definition
    tune = {
        "trainable": study.trainable,
        "method": study.method,
        "metric": asdict(study.metric),
        "seed": study.seed,
        "study": state.name,
        "trial": trial.id,
        "number": trial.number,
        "kind": trial.kind.value,
        "budget": budget_document(study.budget),
        "created": trial.created,
        "ended": trial.ended,
        "segments": trial.segments,
        "losses": trial.losses,
    }
    if trial.takeovers:
        tune["takeovers"] = [asdict(takeover) for takeover in trial.takeovers]
    effective = {"effective": trial.effective} if trial.effective else {}
    return {**nested(study.all_values(trial.params)), "tune": tune, **effective}


def _history(trial: TrialState) -> list[dict[str, Any]]:
    """One row per report; parameters that takeovers changed are in each row as `params/NAME`."""
    return [
        {
            **report.metrics,
            **{f"system/{name}": value for name, value in report.system.items()},
            **{f"params/{name}": value for name, value in changed.items()},
            "tokens": report.tokens,
            "step": report.step,
            "seconds": report.seconds,
            "fraction": report.fraction,
            "_timestamp": report.time,
        }
        for report, changed in zip(trial.reports, _changing(trial), strict=True)
    ]


def _changing(trial: TrialState) -> list[dict[str, Any]]:
    """The values at each report of the parameters that takeovers changed."""
    phases: list[Params] = [takeover.params for takeover in trial.takeovers] + [trial.params]
    names = [n for n in trial.params if any(p.get(n) != trial.params[n] for p in phases)]
    ends = [takeover.rung for takeover in trial.takeovers]
    rows, phase = [], 0
    for report in trial.reports:
        rows.append({name: phases[phase].get(name) for name in names})
        if phase < len(ends) and report.rung == ends[phase]:
            phase += 1
    return rows


def _summary(state: StudyState, trial: TrialState) -> dict[str, Any]:
    """The summary; the objective has its own name for completed trials only: at full budget."""
    metrics = sorted({name for report in trial.reports for name in report.metrics})
    summary: dict[str, Any] = {
        "outcome": _end(trial),
        "stopped_early": trial.outcome is Outcome.STOPPED,
        "rung": trial.top_rung,
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
    end = {"reason": trial.reason, "error": trial.error}
    summary.update({name: text for name, text in end.items() if text})
    return {name: _storable(value) for name, value in summary.items()}


def _best(state: StudyState, trial: TrialState) -> float | None:
    values = (report.metrics.get(state.reported_metric) for report in trial.reports)
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return min(finite, key=lambda value: state.sign * value, default=None)


def _storable(value: Any) -> Any:
    """W&B stores NaN in a summary as null; it reads these strings as NaN and infinity."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _legal(text: str) -> str:
    """Replaces characters that W&B does not allow in a run's id."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text)
