"""Interrupting and killing a search: nothing that finished is lost, nothing runs twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.system.conftest import SMALL, Shell, ends, kill_group, trial_workers

TWO_SLOTS = ("--set", "resources.concurrent=2", "--set", "budget.tokens=80000")

pytestmark = pytest.mark.usefixtures("no_orphans")


def has_rung_of_a_searched_trial(events: list[dict[str, Any]]) -> bool:
    searched = [e for e in events if e["event"] == "report" and e["trial"] != "0000"]
    return any(e["rung"] is not None for e in searched)


def check_complete(events: list[dict[str, Any]]) -> None:
    outcomes = ends(events)
    assert len(outcomes) == 7
    assert set(outcomes.values()) <= {"completed", "stopped"}
    assert events[-1]["event"] == "study_ended"


def test_ctrl_c_saves_and_resume_goes_on(shell: Shell) -> None:
    process = shell.start("run", str(SMALL), "--name", "interrupted", *TWO_SLOTS)
    shell.wait_for("interrupted", has_rung_of_a_searched_trial, "a rung")
    kill_group(process, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "-m tune_app resume interrupted" in out
    assert "Traceback" not in out + err
    events = shell.journal("interrupted")
    assert events[-1]["event"] == "study_interrupted"
    for event in events:
        if event["event"] == "trial_interrupted":
            checkpoint = shell.study("interrupted") / event["checkpoint"]
            assert (checkpoint / "model.safetensors").exists()
    done_before = ends(events)

    resumed = shell.run("resume", "interrupted")
    assert resumed.returncode == 0, resumed.stderr
    after = shell.journal("interrupted")
    check_complete(after)
    assert done_before.items() <= ends(after).items()
    assert shell.run("resume", "interrupted").stdout.startswith("interrupted has ended")


def test_ctrl_c_twice_stops_at_once(shell: Shell) -> None:
    process = shell.start("run", str(SMALL), "--name", "twice", *TWO_SLOTS)
    shell.wait_for("twice", has_rung_of_a_searched_trial, "a rung")
    kill_group(process, signal.SIGINT)
    kill_group(process, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "resume twice" in out
    shown = json.loads(shell.run("show", "twice", "--json").stdout)
    assert shown["status"] == "interrupted"


def test_a_killed_driver_loses_no_finished_trial(shell: Shell) -> None:
    process = shell.start("run", str(SMALL), "--name", "killed", *TWO_SLOTS)
    shell.wait_for("killed", lambda events: len(ends(events)) >= 1, "an end")
    process.kill()
    process.communicate(timeout=30)
    before = shell.journal("killed")
    with open(shell.study("killed") / "journal.jsonl", "ab") as file:
        file.write(b'{"event":"report","tri')
    resumed = shell.run("resume", "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert "was cut short" in resumed.stdout
    after = shell.journal("killed")
    check_complete(after)
    assert after[: len(before)] == before


def test_a_killed_worker_costs_no_trial(shell: Shell) -> None:
    process = shell.start("run", str(SMALL), "--name", "worker", *TWO_SLOTS)
    shell.wait_for("worker", has_rung_of_a_searched_trial, "a rung")
    victims = trial_workers(process.pid)
    assert victims
    victims[0].kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    events = shell.journal("worker")
    check_complete(events)
    assert [e for e in events if e["event"] == "segment_lost"]
    assert "lost its worker" in out


def test_two_drivers_on_one_study_are_refused(shell: Shell) -> None:
    process = shell.start("run", str(SMALL), "--name", "busy", *TWO_SLOTS)
    shell.wait_for("busy", lambda events: bool(events), "its start")
    second = shell.run("resume", "busy")
    kill_group(process, signal.SIGINT)
    process.communicate(timeout=60)
    assert second.returncode == 2
    assert "already running" in second.stderr


def test_it_runs_on_a_cluster_that_is_there(shell: Shell) -> None:
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    port = "26379"
    start = [*ray, "start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    environment = {"RAY_AUTH_MODE": "token"}
    subprocess.run(
        start, env={**_environment(), **environment}, check=True, capture_output=True, timeout=120
    )
    try:
        words = ("--address", f"127.0.0.1:{port}", "--set", "budget.trials=3")
        result = shell.run("run", str(SMALL), "--name", "cluster", *words)
        assert result.returncode == 0, result.stderr
        assert len(ends(shell.journal("cluster"))) == 3
    finally:
        subprocess.run([*ray, "stop", "--force"], capture_output=True, timeout=60, check=False)


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)
