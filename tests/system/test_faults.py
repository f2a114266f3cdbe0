"""Interrupting and killing a search: nothing that finished is lost, nothing runs twice."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.conftest import SMALL, Shell, ends, kill_group, ray_node, trial_workers
from tune_app.storage.study import STOP_FILE

CHANGES = ("resources.concurrent=2", "budget.tokens=80000", "budget.trials=5")
TWO_SLOTS = tuple(word for change in CHANGES for word in ("--set", change))

pytestmark = pytest.mark.usefixtures("no_orphans")


def has_rung_of_a_searched_trial(events: list[dict[str, Any]]) -> bool:
    searched = [e for e in events if e["event"] == "report" and e["trial"] != "0000"]
    return any(e["rung"] is not None for e in searched)


def check_complete(events: list[dict[str, Any]]) -> None:
    outcomes = ends(events)
    assert len(outcomes) == 5
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
    # Two that come at once are one.
    deadline = time.monotonic() + 30
    while not (shell.study("twice") / STOP_FILE).exists():
        assert time.monotonic() < deadline
    kill_group(process, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped at once" in out
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


IMPATIENT = """
import sys
from tune_app.core import heartbeat
heartbeat.START_TIMEOUT_S, heartbeat.TIMEOUT_S = 60.0, 8.0
from tune_app.__main__ import main
sys.exit(main())
"""
"""The command line of a driver that does not wait half an hour for a worker that hangs."""


def test_killed_and_hanging_workers_cost_no_trial(shell: Shell) -> None:
    words = ("run", str(SMALL), "--name", "worker", *TWO_SLOTS)
    process = shell.start(*words, program=("-c", IMPATIENT))
    shell.wait_for("worker", has_rung_of_a_searched_trial, "a rung")
    trial_workers(process.pid)[0].kill()
    shell.wait_for("worker", lambda events: len(losses(events)) == 1, "a loss")
    shell.wait_for("worker", lambda events: events[-1]["event"] == "report", "going on")
    trial_workers(process.pid)[0].suspend()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    events = shell.journal("worker")
    check_complete(events)
    killed, hung = losses(events)[:2]
    assert killed["reason"] == "its worker process died"
    assert hung["reason"].startswith("its worker hung")
    assert "lost its worker" in out


MUTE = """
import os, signal, sys, time
from pathlib import Path
from benchmarks.chaos import launch, toy

run_segment = toy.run_segment

def run(config):
    first = Path(config["host"].folder) / f"mute-{config['task'].trial}"
    if config["task"].trial in ("0001", "0004") and not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    try:
        run_segment(config)
    finally:
        if config["task"].trial == "0002":
            time.sleep(600)

toy.run_segment = run
sys.exit(launch.main())
"""
"""Toy trials; two of them are stopped before their first word, one keeps its process for good."""

TOY = """
method: random
metric: {name: final_eval_loss, goal: minimize}
parameters: {x: {min: 0.0, max: 1.0}, y: {min: 0.0, max: 1.0}}
tune:
  budget: {steps: 72, trials: 7}
  scheduler: fifo
  resources: {concurrent: 2}
  trackers: []
  baseline: false
"""


def test_a_worker_that_hangs_before_its_first_word_is_replaced(
    shell: Shell, tmp_path: Path
) -> None:
    """So is one that never comes to it: Tune cannot use the process of an earlier trial again."""
    patience = {"CHAOS_HANGS_AFTER_S": "3", "TUNE_FUNCTION_THREAD_TIMEOUT_S": "2"}
    root = str(Path(__file__).parents[2])
    toys = Shell(tmp_path, shell.cache, {"PYTHONPATH": root, **patience})
    (tmp_path / "toy.yaml").write_text(TOY)
    process = toys.start("run", "toy.yaml", "--name", "mute", program=("-c", MUTE))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    events = toys.journal("mute")
    assert set(ends(events).values()) == {"completed"}
    hung = {e["trial"] for e in losses(events) if e["reason"].startswith("its worker hung")}
    assert {"0001", "0004"} <= hung
    assert len(hung) > 2


MINE = """
class Mine:
    def __init__(self, folder):
        self._notes = folder / "notes.txt"

    def on_event(self, event, state):
        with open(self._notes, "a") as notes:
            print(event["event"], file=notes)
        if event["event"] == "report":
            raise ValueError("no room for reports")

    def close(self, timeout_s):
        raise TypeError("nor for an end")

def create(folder):
    return Mine(folder)
"""


def test_a_tracker_that_raises_costs_the_study_nothing(shell: Shell, tmp_path: Path) -> None:
    toys = Shell(tmp_path, shell.cache, {"PYTHONPATH": str(Path(__file__).parents[2])})
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "toy.yaml").write_text(TOY.replace("trackers: []", "trackers: [./mine.py]"))
    launch = "import sys; from benchmarks.chaos import launch; sys.exit(launch.main())"
    process = toys.start("run", "toy.yaml", "--name", "mine", program=("-c", launch))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    events = [event["event"] for event in toys.journal("mine")]
    told = (toys.study("mine") / "notes.txt").read_text().split()
    assert told == events[: events.index("report") + 1]
    assert told[0] == "study_started"
    (line,) = [line for line in out.splitlines() if "mine.py raised" in line]
    assert "ValueError: no room for reports" in line
    assert "mine.py, line 10)" in line
    assert "Traceback" not in out + err
    log = (toys.study("mine") / "logs" / "driver.log").read_text()
    assert "ValueError: no room for reports" in log


def test_a_journal_that_cannot_be_written_ends_the_study_though_a_worker_hangs(
    shell: Shell,
) -> None:
    process = shell.start("run", str(SMALL), "--name", "unwritable", *TWO_SLOTS)
    shell.wait_for("unwritable", has_rung_of_a_searched_trial, "a rung")
    trial_workers(process.pid)[0].suspend()
    written = (shell.study("unwritable") / "journal.jsonl").stat().st_size
    psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (written, written))
    _, err = process.communicate(timeout=90)
    assert process.returncode == 2, err
    assert "journal" in err
    assert "Traceback" not in err


def losses(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "segment_lost"]


def test_two_drivers_on_one_study_are_refused(shell: Shell) -> None:
    process = shell.start("run", str(SMALL), "--name", "busy", *TWO_SLOTS)
    shell.wait_for("busy", lambda events: bool(events), "its start")
    second = shell.run("resume", "busy")
    kill_group(process, signal.SIGINT)
    process.communicate(timeout=60)
    assert second.returncode == 2
    assert "already running" in second.stderr


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a cluster of two kinds of nodes; the second, of 2 CPUs, has no compiler."""
    address = "127.0.0.1:26379"
    head = ("--head", "--port=26379", "--num-cpus=1", "--include-dashboard=false")
    with (
        ray_node(*head),
        ray_node(f"--address={address}", "--num-cpus=2", CXX="/nonexistent"),
    ):
        yield address


def test_a_choice_must_run_on_every_kind_of_node_of_a_cluster(
    shell: Shell, cluster: str, tmp_path: Path
) -> None:
    study = tmp_path / "compiled.yaml"
    choice = "\n  torch_compile: {values: [true, false]}\ntune:"
    study.write_text(SMALL.read_text(encoding="utf-8").replace("\ntune:", choice))
    words = ("--address", cluster, "--set", "budget.trials=2", "--set", "scheduler=fifo")
    result = shell.run("run", str(study), "--name", "cluster", *words)
    assert result.returncode == 0, result.stderr
    assert "Ray: 3 CPUs, 2 nodes" in result.stdout
    (dropped,) = [
        event
        for event in shell.journal("cluster")
        if event["event"] == "choice_dropped" and event["parameter"] == "torch_compile"
    ]
    assert dropped["value"] is True
    assert dropped["reason"].startswith("does not compile")
    assert dropped["reason"].endswith("(on 2 CPU)")
    assert len(ends(shell.journal("cluster"))) == 2
