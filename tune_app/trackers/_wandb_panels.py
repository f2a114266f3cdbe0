"""A W&B workspace and a report for a study's runs, made with `wandb-workspaces`.

Both show the same panels. They can be written to a file without an account, or saved on a server,
where saving again changes what was saved before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as workspaces

from tune_app.analysis import importance_words
from tune_app.core.state import StudyState
from tune_app.space.domains import Domain, Drawn, Fixed, Float, Int
from tune_app.storage.atomic import write_atomically
from tune_app.trackers._wandb_run import NAME_LIMIT

Sections = dict[str, list[Any]]

MAX_SCATTERS = 24
"""The most scatter plots: more would be unreadable."""


def sections(state: StudyState) -> Sections:
    """All panels by the name of their section."""
    searched = _searched(state)
    loss, reported = reports.SummaryMetric(state.metric), state.reported_metric
    best = reports.SummaryMetric(f"best_{reported}")
    columns = [
        reports.ParallelCoordinatesPlotColumn(reports.Config(name), log=_is_log(domain))
        for name, domain in searched.items()
    ]
    columns.append(reports.ParallelCoordinatesPlotColumn(loss))
    scatters = [
        reports.ScatterPlot(
            title=f"{state.metric} over {name}",
            x=reports.Config(name),
            y=loss,
            log_x=_is_log(domain),
        )
        for name, domain in list(searched.items())[:MAX_SCATTERS]
    ]
    return {
        "Parameters": [
            reports.ParallelCoordinatesPlot(title="completed trials", columns=columns),
            reports.ParameterImportancePlot(with_respect_to=state.metric),
            reports.MarkdownPanel(markdown=_importance(state)),
        ],
        "Loss over each parameter": scatters,
        "Learning curves": [
            _curve(reported, "tokens"),
            _curve("train_loss", "tokens"),
            _curve("grad_norm", "tokens", log_y=True),
            _curve("learning_rate", "tokens"),
        ],
        "Correlations": [
            _scatter("last_grad_norm", "last_train_loss"),
            _scatter("last_train_loss", f"last_{reported}"),
            _scatter("last_grad_norm", f"last_{reported}"),
        ],
        "Early stopping": [
            _curve(reported, "fraction", title=f"{reported} by share of the budget"),
            reports.ScatterPlot(
                title="how far each trial came", x=reports.SummaryMetric("fraction"), y=best
            ),
        ],
        "Trials": [
            reports.RunComparer(diff_only="split"),
            reports.MediaBrowser(title="samples", media_keys=["samples"]),
        ],
    }


def workspace(state: StudyState, entity: str, project: str) -> Any:
    """A saved view of the project with only the study's runs."""
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=_title(state),
        sections=_workspace_sections(state),
        settings=workspaces.WorkspaceSettings(x_axis="tokens"),
        runset_settings=workspaces.RunsetSettings(
            filters=_filters(state),
            order=[workspaces.Ordering(workspaces.Summary(state.metric), ascending=_is_low(state))],
        ),
    )


def report(state: StudyState, entity: str, project: str) -> Any:
    """A W&B report: the study's results in words, then the panels."""
    return reports.Report(
        entity=entity, project=project, title=_title(state), blocks=_blocks(state), width="fluid"
    )


def as_json(state: StudyState, entity: str, project: str) -> dict[str, Any]:
    """The specifications of workspace and report as they would be sent to W&B."""
    models = {
        "workspace": workspace(state, entity, project)._to_model(),
        "report": report(state, entity, project)._to_model(),
    }
    return {
        name: json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
        for name, model in models.items()
    }


def save(state: StudyState, entity: str, project: str, urls: Path) -> dict[str, str]:
    """Saves workspace and report on the server; returns their URLs.

    Args:
        urls: a JSON file with the URLs of earlier saves; it is updated.

    Raises:
        Exception: any error of the client.
    """
    place = f"{entity}/{project}"
    all_saved = json.loads(urls.read_text(encoding="utf-8")) if urls.exists() else {}
    before: dict[str, str] = all_saved.get(place, {})
    view = _saved_before(workspaces.Workspace, before.get("workspace")) or workspace(
        state, entity, project
    )
    view.sections = _workspace_sections(state)
    view.save()
    document = _saved_before(reports.Report, before.get("report")) or report(state, entity, project)
    document.blocks = _blocks(state)
    document.save()
    saved = {"workspace": str(view.url), "report": str(document.url)}
    write_atomically(urls, json.dumps(all_saved | {place: saved}, indent=2))
    return saved


def _saved_before(kind: Any, url: str | None) -> Any:
    """The workspace or report at `url`, None if it was not saved or no longer exists."""
    if url is None:
        return None
    try:
        return kind.from_url(url)
    except (ValueError, TypeError, KeyError):
        return None


def _workspace_sections(state: StudyState) -> list[Any]:
    return [
        workspaces.Section(name=name, panels=panels, is_open=True)
        for name, panels in sections(state).items()
    ]


def _blocks(state: StudyState) -> list[Any]:
    runset = reports.Runset(name=state.name, filters=_filters(state))
    blocks: list[Any] = [reports.TableOfContents(), reports.H1("What was found")]
    blocks += [reports.P(text) for text in _words(state)]
    for name, panels in sections(state).items():
        blocks += [reports.H1(name), reports.PanelGrid(runsets=[runset], panels=panels)]
    return blocks


def _importance(state: StudyState) -> str:
    """Our parameter importance, with intervals; W&B's panel has none."""
    return f"**What mattered**\n\n{importance_words.section(state)}"


def _filters(state: StudyState) -> list[Any]:
    return [workspaces.Metric("group") == state.name[:NAME_LIMIT]]


def _words(state: StudyState) -> list[str]:
    summary = importance_words.in_full(state)
    parts = (summary.improvement, summary.importance, summary.spent)
    texts = [part.text for part in parts if part is not None]
    if (samples := summary.samples) is not None:
        stages = (("untrained", samples.untrained), ("best", samples.best))
        texts += [f"{stage}: {text}" for stage, text in stages if text]
    return texts


def _title(state: StudyState) -> str:
    return f"{state.name}: {state.metric}"


def _is_low(state: StudyState) -> bool:
    return state.sign > 0


def _searched(state: StudyState) -> dict[str, Domain]:
    domains = state.definition.space
    return {name: domain for name, domain in domains.items() if not isinstance(domain, Fixed)}


def _is_log(domain: Domain) -> bool | None:
    match domain:
        case Float() | Int():
            return domain.log or None
        case Drawn():
            return "log" in domain.shape or None
        case _:
            return None


def _curve(y: str, x: str, title: str | None = None, log_y: bool | None = None) -> Any:
    return reports.LinePlot(title=title or f"{y} over {x}", x=x, y=[y], log_y=log_y)


def _scatter(x: str, y: str) -> Any:
    return reports.ScatterPlot(
        title=f"{y} over {x}",
        x=reports.SummaryMetric(x),
        y=reports.SummaryMetric(y),
        regression=True,
    )
