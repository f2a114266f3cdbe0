"""A whole search from the command line, and what it leaves behind."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.system.conftest import SMALL, Shell, ends

ONE_SLOT = ("--set", "resources.concurrent=1")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder of this module's own, with nothing prepared and no other study in it."""
    return Shell(tmp_path_factory.mktemp("search"), tmp_path_factory.mktemp("cold"))


@pytest.fixture(scope="module")
def searched(shell: Shell) -> subprocess.CompletedProcess[str]:
    result = shell.run("run", str(SMALL), "--name", "first", *ONE_SLOT)
    assert result.returncode == 0, result.stderr + result.stdout
    return result


def reports(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = ("trial", "step", "tokens", "fraction", "metrics", "rung")
    return [{key: e[key] for key in kept} for e in events if e["event"] == "report"]


def suggestions(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(e["trial"], e["params"]) for e in events if e["event"] == "trial_created"]


def test_every_trial_ends_once_with_an_outcome(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    outcomes = ends(shell.journal("first"))
    assert len(outcomes) == 7
    assert set(outcomes.values()) <= {"completed", "stopped"}
    assert outcomes["0000"] == "completed"
    assert list(outcomes.values()).count("completed") >= 2


def test_nobody_elses_chatter_reaches_the_terminal(
    searched: subprocess.CompletedProcess[str],
) -> None:
    assert searched.stderr == ""
    for word in ("Warning", "warning", "WARN", "raylet", "pid=", "wandb:", "Traceback", "%|"):
        assert word not in searched.stdout


def test_the_terminal_tells_what_a_person_needs(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    for words in (
        "reading ru",
        "corpus ru: ",
        "left out: optim = adamw_apex_fused (NVIDIA apex is not installed)",
        "the space:",
        "dashboard http://127.0.0.1:",
        "early stopping saved",
        "than the untuned defaults",
        "-m tune_app report first",
        "wandb sync",
        str(shell.study("first") / "report" / "report.md"),
    ):
        assert words in searched.stdout, words


def test_the_study_folder_holds_what_is_promised(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    folder = shell.study("first")
    assert (folder / "report" / "report.md").stat().st_size > 1000
    assert len(list((folder / "report").glob("*.png"))) == 3
    assert (folder / "logs" / "driver.log").exists()
    best = json.loads(shell.run("show", "first", "--json").stdout)["best"]
    assert (folder / best["checkpoint"] / "model.safetensors").exists()


def test_the_same_seed_and_one_slot_give_the_same_search_with_a_wandb_that_is_down(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    nobody = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0123456789" * 4}
    with_key = replace(shell, environment={**shell.environment, **nobody})
    again = with_key.run("run", str(SMALL), "--name", "second", *ONE_SLOT)
    _end_mirror(shell.study("second"))
    assert again.returncode == 0, again.stderr
    first, second = shell.journal("first"), shell.journal("second")
    assert suggestions(first) == suggestions(second)
    assert reports(first) == reports(second)
    (said,) = (line for line in again.stdout.splitlines() if "W&B mirror waits" in line)
    assert said.endswith("nobody answers; later: python -m tune_app mirror second")
    assert again.stderr == ""


def _end_mirror(folder: Path) -> None:
    """It would wait ten minutes for W&B to come back."""
    processes.end(processes.started(str(folder)))


def test_each_run_in_wandb_equals_its_trial_in_the_journal(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    events = shell.journal("first")
    inspected = _inspect_all(shell.study("first") / "wandb")
    assert len(inspected) == 7
    by_trial = {run["config"]["tune"]["trial"]: run for run in inspected}
    params = dict(suggestions(events))
    for event in (e for e in events if e["event"] == "trial_ended"):
        run = by_trial[event["trial"]]
        assert {key: run["config"][key] for key in params[event["trial"]]} == params[event["trial"]]
        assert run["summary"]["outcome"] == event["outcome"]
        assert run["summary"].get("final_eval_loss") == event["value"]
        assert run["exit_code"] == 0


def _inspect_all(folder: Path) -> list[dict[str, Any]]:
    found = []
    with open(folder / "mirror.lock") as lock:
        # On a busy machine the mirror goes on for a while after the study has ended.
        fcntl.flock(lock, fcntl.LOCK_SH)
    for path in sorted(folder.rglob("run-*.wandb")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json"]
        out = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
        found.append(json.loads(out.stdout))
    return found


def test_the_optuna_storage_opens_with_the_right_states(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = str(shell.study("first") / "optuna.journal")
    study = optuna.load_study(study_name="first", storage=JournalStorage(JournalFileBackend(path)))
    outcomes = ends(shell.journal("first"))
    states = {"completed": "COMPLETE", "stopped": "PRUNED"}
    expected = [states[outcomes[name]] for name in sorted(outcomes)]
    assert [trial.state.name for trial in study.trials] == expected


def test_what_the_worker_used_is_told_with_every_report(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    used = [event["system"] for event in shell.journal("first") if event["event"] == "report"]
    assert all(0.1 < item["rss_gib"] < 10 and item["cpus"] > 0 for item in used)


def test_what_ran_is_recorded_for_every_trial(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    events = shell.journal("first")
    params = dict(suggestions(events))
    effective = {e["trial"]: e["effective"] for e in events if e["event"] == "trial_effective"}
    assert effective.keys() == params.keys()
    for trial, values in effective.items():
        assert values["tokens_per_step"] == 64 * params[trial]["per_device_train_batch_size"]
        assert values["optimizer"].lower().endswith(params[trial]["optim"].split("_")[0])


def test_the_evaluation_is_the_same_for_every_trial(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    data = next(e for e in shell.journal("first") if e["event"] == "study_prepared")["data"]
    assert data["eval_tokens"] == 8192


def test_list_and_report_work_on_it(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    rows = json.loads(shell.run("list", "--json").stdout)
    assert {"name": "first", "status": "ended", "trials": 7}.items() <= rows[0].items()
    before = (shell.study("first") / "report" / "report.md").read_bytes()
    assert shell.run("report", "first").returncode == 0
    assert (shell.study("first") / "report" / "report.md").read_bytes() == before


def test_json_goes_to_stdout_alone(shell: Shell) -> None:
    words = ("--set", "budget.trials=1", "--set", "scheduler=fifo", "--json")
    result = shell.run("run", str(SMALL), "--name", "json", *words)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["best"]["trial"] == "0000"
    assert "trial 0000 completed" in result.stderr


def test_a_name_that_is_taken_is_refused(
    searched: subprocess.CompletedProcess[str], shell: Shell
) -> None:
    before = (shell.study("first") / "journal.jsonl").read_bytes()
    result = shell.run("run", str(SMALL), "--name", "first")
    assert result.returncode == 2
    assert "-m tune_app resume first" in result.stderr
    assert (shell.study("first") / "journal.jsonl").read_bytes() == before
