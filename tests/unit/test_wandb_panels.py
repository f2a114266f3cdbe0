"""The panels: made by W&B's own models, saved on a server, loaded back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb_workspaces")

import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces.reports.v2.internal import Spec
from wandb_workspaces.workspaces.internal import WorkspaceViewspec

from tests.support.story import Story
from tests.support.wandb_server import Server, serving
from tests.support.wandb_store import ENTITY
from tune_app.__main__ import main

PANELS = {
    "Parallel Coordinates Plot",
    "Parameter Importance",
    "Markdown Panel",
    "Scatter Plot",
    "Run History Line Plot",
    "Run Comparer",
    "Media Browser",
}


@pytest.fixture
def story(tmp_path: Path) -> Story:
    folder = tmp_path / "studies" / "tiny"
    folder.mkdir(parents=True)
    told = Story(folder)
    told.start()
    told.three_trials()
    return told


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    import wandb

    with serving(tmp_path) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found
    # Its settings are kept in the process: the next test has another server.
    wandb.teardown()


def panels(story: Story, *words: str) -> int:
    return main(["panels", "tiny", "--storage", str(story.folder.parent), *words])


def kinds(section: dict[str, Any]) -> list[str]:
    return [p["viewType"] for s in section["panelBankConfig"]["sections"] for p in s["panels"]]


def test_a_file_holds_what_wandbs_own_models_accept(story: Story, tmp_path: Path) -> None:
    assert panels(story, "--out", str(tmp_path / "panels.json")) == 0
    made = json.loads((tmp_path / "panels.json").read_text())
    WorkspaceViewspec.model_validate(made["workspace"])
    Spec.model_validate(made["report"])
    section = made["workspace"]["section"]
    assert set(kinds(section)) == PANELS
    (run_set,) = section["runSets"]
    (only,) = run_set["filters"]["filters"]
    assert (only["key"]["name"], only["op"], only["value"]) == ("group", "=", "tiny study")


def test_parameters_have_the_axes_of_their_space(story: Story, tmp_path: Path) -> None:
    panels(story, "--out", str(tmp_path / "panels.json"))
    made = json.loads((tmp_path / "panels.json").read_text())
    section = made["workspace"]["section"]["panelBankConfig"]["sections"][0]
    columns = section["panels"][0]["config"]["columns"]
    logs = {column["accessor"]: column.get("log") for column in columns}
    assert logs["config:learning_rate.value"] is True
    assert not logs["config:warmup_steps.value"]
    assert not any("size" in name for name in logs)


def test_our_importance_stands_beside_wandbs_and_is_kept_up(story: Story, server: Server) -> None:
    def shown() -> list[Any]:
        (saved,) = json.loads((story.folder / "wandb" / "panels.json").read_text()).values()
        view = workspaces.Workspace.from_url(saved["workspace"])
        return next(s.panels for s in view.sections if s.name == "Parameters")

    assert panels(story) == 0
    assert "cannot be determined from 3 trials" in shown()[-1].markdown
    for number in range(3, 20):
        story.complete(number, loss=number, learning_rate=10 ** (-3 - number / 10))
    assert panels(story) == 0
    *_, theirs, ours = shown()
    assert isinstance(theirs, reports.ParameterImportancePlot)
    assert "| `learning_rate` | **" in ours.markdown
    assert "| `optim` | " in ours.markdown


def test_what_is_saved_can_be_loaded_back_and_is_saved_once(
    story: Story, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert panels(story, "--json") == 0
    saved = json.loads(capsys.readouterr().out)
    view = workspaces.Workspace.from_url(saved["workspace"])
    assert {type(p).__name__ for s in view.sections for p in s.panels} >= {
        "ParallelCoordinatesPlot",
        "ParameterImportancePlot",
        "MarkdownPanel",
    }
    report = reports.Report.from_url(saved["report"])
    assert sum(isinstance(block, reports.PanelGrid) for block in report.blocks) == 6
    story.complete(3)
    assert panels(story, "--json") == 0
    assert json.loads(capsys.readouterr().out) == saved
    views = [json.loads(row) for (row,) in server.store.ask("select fields from view")]
    assert sorted(view["type"] for view in views) == ["project-view", "runs"]
    assert {view["entityName"] for view in views} == {ENTITY}


def test_without_a_key_the_way_out_is_told(
    story: Story, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert panels(story) == 2
    said = capsys.readouterr().err
    assert "--out FILE" in said
    assert "Traceback" not in said
