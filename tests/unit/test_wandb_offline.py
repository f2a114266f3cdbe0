"""The W&B mirror against the real client, offline, and W&B's own reader."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.story import DOCUMENT, EFFECTIVE, Story
from tune_app.core.definition import StudyDefinition
from tune_app.core.state import StudyState
from tune_app.trackers import _wandb_writer
from tune_app.trackers import wandb as wandb_tracker
from tune_app.trackers._remote_mirror import keep_up, locked
from tune_app.trackers._remote_pass import Mirror
from tune_app.trackers._wandb_run import describe, run_id
from tune_app.trackers._wandb_service import WandbService
from tune_app.trackers._wandb_writer import _has_key


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def mirror(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the mirror over what the journal holds now; its standard input is closed at once."""
    command = [sys.executable, "-m", "tune_app.trackers._wandb_mirror", str(folder)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


def run_folders(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def inspect(run: Path, *options: str) -> str:
    (file,) = run.glob("*.wandb")
    wandb = Path(sys.executable).parent / "wandb"
    command = [str(wandb), "leet", "inspect", *options, "--json", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def mirrored(folder: Path) -> list[str]:
    lines = (folder / "wandb" / "mirrored.jsonl").read_text().splitlines()
    return list(dict.fromkeys(json.loads(line)["trial"] for line in lines))


def wait_for(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"never happened: {what}")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Three trials, mirrored by the tracker as a driver uses it."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        story = Story(folder, wandb_tracker.create(folder))
        story.start()
        story.three_trials()
        story.tell("study_ended", reason="done")
        assert story.tracker is not None
        story.tracker.close(60)
    return story


@pytest.fixture(scope="module")
def runs(study: Story) -> dict[str, dict[str, Any]]:
    """What W&B's own reader finds in the runs of `study`, by trial."""
    summaries = [json.loads(inspect(run, "--summary")) for run in run_folders(study.folder)]
    return {run["config"]["tune"]["trial"]: run for run in summaries}


def test_every_ended_trial_is_one_run_with_the_config_of_the_journal(
    study: Story, runs: dict[str, dict[str, Any]]
) -> None:
    assert sorted(runs) == sorted(study.state.trials) == sorted(mirrored(study.folder))
    for trial in study.state.trials.values():
        config = dict(runs[trial.id]["config"])
        assert config.pop("tune")["budget"] == DOCUMENT["budget"]
        assert config.pop("effective") == EFFECTIVE
        expected = {"size": "nano", **trial.params}
        assert json.dumps(config, sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_a_run_carries_its_study_and_its_outcome(
    study: Story, runs: dict[str, dict[str, Any]]
) -> None:
    exits = {"0000": 0, "0001": 0, "0002": 1}
    more = {"0000": {"rung 2", "winner"}, "0001": {"rung 0"}, "0002": {"rung 0"}}
    for trial, outcome in (("0000", "completed"), ("0001", "stopped"), ("0002", "diverged")):
        run = runs[trial]
        assert run["run_id"] == run_id(study.state, trial)
        assert run["name"] == f"tiny study-{trial}"
        assert run["project"] == "trackers-test"
        assert run["notes"] == "about nothing"
        assert set(run["tags"]) == {"tpe", "asha", outcome} | more[trial]
        assert run["summary"]["stopped_early"] is (outcome == "stopped")
        assert run["summary"]["outcome"] == outcome
        assert run["exit_code"] == exits[trial]
    assert runs["0000"]["state"] == "finished"


def test_only_a_completed_trial_has_a_value_of_the_objective(
    runs: dict[str, dict[str, Any]],
) -> None:
    summaries = {trial: run["summary"] for trial, run in runs.items()}
    assert summaries["0000"]["final_eval_loss"] == 2.0
    assert summaries["0001"]["last_eval_loss"] == 4.5
    assert summaries["0002"]["last_eval_loss"] == "NaN"
    assert summaries["0002"]["best_eval_loss"] == 4.25
    assert summaries["0001"]["reason"] == "stopped at rung 0"
    for trial in ("0001", "0002"):
        assert "final_eval_loss" not in summaries[trial]
        assert "eval_loss" not in summaries[trial]


def test_the_history_holds_every_report_against_tokens(study: Story) -> None:
    for run in run_folders(study.folder):
        records = [json.loads(line) for line in inspect(run).splitlines()]
        rows = [record["history"]["item"] for record in records if record["type"] == "history"]
        trial = study.state.trials[run.name.rsplit("-", 1)[-1]]
        assert [row["tokens"] for row in rows] == [report.tokens for report in trial.reports]
        for row, report in zip(rows, trial.reports, strict=True):
            assert float(row["eval_loss"]) == pytest.approx(
                report.metrics["eval_loss"], nan_ok=True
            )
            assert (row["step"], row["seconds"]) == (report.step, report.seconds)
        (metric,) = (record["metric"] for record in records if record["type"] == "metric")
        assert (metric["glob_name"], metric["step_metric"]) == ("*", "tokens")


def test_the_mirror_says_nothing_when_all_is_well(study: Story) -> None:
    assert (study.folder / "logs" / "wandb_mirror.log").read_text() == ""


def test_a_trial_that_ended_before_a_resume_is_not_mirrored_twice(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    story.complete(0)
    unfinished = story.begin(1)
    story.report(unfinished, 10, 4.0, rung=0)
    story.tell("study_interrupted")
    assert mirror(tmp_path).returncode == 0
    assert mirrored(tmp_path) == ["0000"]
    story.tell("study_resumed", software={}, machine={})
    story.report(unfinished, 90, 3.0, rung=2)
    story.end(unfinished, "completed")
    story.complete(2)
    assert mirror(tmp_path).returncode == 0
    assert mirrored(tmp_path) == ["0000", "0001", "0002"]
    assert len(run_folders(tmp_path)) == 3


def test_work_that_was_lost_and_done_again_is_logged_once(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    trial = story.begin(0)
    story.report(trial, 10, 4.0, rung=0)
    story.report(trial, 20, 3.75)
    story.tell("segment_lost", trial=trial, reason="node gone")
    story.tell("segment_started", trial=trial, segment=2, checkpoint="checkpoint-10")
    story.report(trial, 20, 3.5)
    story.end(trial, "cancelled")
    history = describe(story.state, story.state.trials[trial]).history
    assert [(row["step"], row["eval_loss"]) for row in history] == [(10, 4.0), (20, 3.5)]


def test_a_mirror_that_is_killed_is_completed_by_the_next(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    for number in range(40):
        story.complete(number)
    command = [sys.executable, "-m", "tune_app.trackers._wandb_mirror", str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        # A run's folder that the ledger does not list yet: the mirror is in the middle of it.
        wait_for(lambda: len(run_folders(tmp_path)) >= 3, "three runs are begun")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert len(mirrored(tmp_path)) < 40
    assert mirror(tmp_path).returncode == 0
    assert mirrored(tmp_path) == sorted(story.state.trials)
    ids = [run.name.split("-", 3)[-1] for run in run_folders(tmp_path)]
    assert sorted(ids) == [run_id(story.state, trial) for trial in sorted(story.state.trials)]
    assert json.loads(inspect(run_folders(tmp_path)[2], "--summary"))["exit_code"] == 0


def test_a_run_without_a_line_in_the_ledger_is_written_anew(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    story.complete(0)
    mirror(tmp_path)
    ledger = tmp_path / "wandb" / "mirrored.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-9])
    (before,) = run_folders(tmp_path)
    (before / "stale").touch()
    assert mirror(tmp_path).returncode == 0
    assert mirrored(tmp_path) == ["0000"]
    (after,) = run_folders(tmp_path)
    assert not (after / "stale").exists()


def test_the_mirror_of_a_killed_driver_finishes_and_ends(tmp_path: Path) -> None:
    driver = (
        "import os, pathlib, sys\n"
        "from tune_app.core.journal import Journal\n"
        "from tune_app.core.state import StudyState\n"
        "from tune_app.trackers import wandb\n"
        "tracker = wandb.create(pathlib.Path(sys.argv[1]))\n"
        "tracker.on_event({'event': 'study_started', 'time': 0.0}, StudyState())\n"
        "print(tracker._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    story = Story(tmp_path)
    story.start()
    story.complete(0)
    done = subprocess.run([sys.executable, "-c", driver, str(tmp_path)], capture_output=True)
    pid = int(done.stdout)
    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: _is_gone(pid), "the mirror of a killed driver ends")
    assert mirrored(tmp_path) == ["0000"]


def _is_gone(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rsplit(")", 1)[1].split()[0] == "Z"


def test_a_closed_tracker_leaves_a_slow_mirror_to_finish(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = wandb_tracker.create(tmp_path)
    story = Story(tmp_path, tracker)
    story.start()
    story.complete(0)
    with caplog.at_level(logging.WARNING):
        tracker.close(0.0)
        tracker.close(0.0)
    assert len(caplog.records) == 1
    wait_for((tmp_path / "wandb" / "mirrored.jsonl").exists, "the mirror finishes by itself")


@pytest.mark.parametrize("blocked", ["wandb", "logs"])
def test_a_mirror_that_cannot_write_leaves_the_study_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, blocked: str
) -> None:
    (tmp_path / blocked).write_text("a file where a folder should be")
    tracker = wandb_tracker.create(tmp_path)
    story = Story(tmp_path, tracker)
    with caplog.at_level(logging.WARNING):
        story.start()
        story.complete(0)
        tracker.close(60)
    assert len(caplog.records) == 1
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 9


def test_a_full_disk_costs_no_run_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story(tmp_path)
    story.start()
    story.complete(0)
    monkeypatch.setattr(_wandb_writer, "ROOM_BYTES", 1 << 60)
    service, waits_s = WandbService(), (0.2,)
    with locked(tmp_path / "wandb", wait=True):
        assert not keep_up(service, tmp_path, lambda: True, patience_s=0.3, waits_s=waits_s)
        assert "W&B mirror waits: No space left on device" in capsys.readouterr().err
        assert not (tmp_path / "wandb" / "mirrored.jsonl").exists()
        monkeypatch.setattr(_wandb_writer, "ROOM_BYTES", 0)
        assert keep_up(service, tmp_path, lambda: True, patience_s=0.3, waits_s=waits_s)
    assert mirrored(tmp_path) == ["0000"]
    assert len(run_folders(tmp_path)) == 1


def test_without_wandb_the_mirror_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "elsewhere" / "wandb"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('wandb is not installed')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    tracker = wandb_tracker.create(tmp_path)
    story = Story(tmp_path, tracker)
    story.start()
    story.complete(0)
    with caplog.at_level(logging.WARNING):
        tracker.close(60)
    (said,) = (record.getMessage() for record in caplog.records)
    assert said == "no runs are mirrored: wandb is not installed"


def test_wandb_that_is_disabled_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tracker = wandb_tracker.create(tmp_path)
    story = Story(tmp_path, tracker)
    story.start()
    tracker.close(1)
    assert not (tmp_path / "logs").exists()


def test_the_mirror_reads_what_was_written_before_the_word_to_end(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.start()
    (tmp_path / "wandb").mkdir()
    seen = Mirror(WandbService(), tmp_path)
    asked: list[bool] = []

    def told() -> bool:
        if not asked:
            story.tell("trial_created", trial="0000", number=0, kind="search", params={})
        asked.append(True)
        return True

    seen.run(told, poll_s=0.0)
    assert "0000" in seen._state.trials


def test_without_a_key_runs_are_written_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    story = Story(tmp_path)
    story.start()
    story.complete(0)
    assert mirror(tmp_path).returncode == 0
    assert len(run_folders(tmp_path)) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("machine wandb.example.org login user password k\n", True),
        ("machine api.wandb.ai login user password k\n", True),
        ("machine elsewhere.example.org login user password k\n", False),
        ("this is no netrc file\n", False),
    ],
)
def test_a_key_in_a_netrc_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: bool
) -> None:
    (tmp_path / "netrc").write_text(text)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    settings = SimpleNamespace(
        api_key=None, identity_token_file=None, base_url="https://wandb.example.org"
    )
    assert _has_key(settings) is found


def test_run_ids_differ_between_studies_of_one_name_and_not_between_drivers(tmp_path: Path) -> None:
    study = StudyDefinition.from_document(DOCUMENT)
    state, namesake = StudyState(study, started=1.0), StudyState(study, started=2.0)
    assert run_id(state, "0001") == run_id(StudyState(study, started=1.0), "0001")
    assert run_id(state, "0001") != run_id(namesake, "0001")
    odd = StudyState(replace(study, name="поиск/№1: a?b#c%"), started=1.0)
    assert set(run_id(odd, "0001")).isdisjoint("/\\#?%: ")
