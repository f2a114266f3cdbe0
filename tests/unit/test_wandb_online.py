"""The W&B mirror with the real client, online, against a real server on loopback."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.support.story import DOCUMENT, EFFECTIVE, Story
from tests.support.wandb_server import KEY, Server, Trouble, serving
from tests.support.wandb_store import Run
from tune_app.__main__ import main
from tune_app.core.state import StudyState
from tune_app.trackers._remote_mirror import keep_up, locked
from tune_app.trackers._wandb_run import describe
from tune_app.trackers._wandb_service import WandbService

PROJECT = DOCUMENT["project"]
MIRROR = [sys.executable, "-m", "tune_app.trackers._wandb_mirror"]
WAITS_S = (0.5,)

SOON = {
    "WANDB_INIT_TIMEOUT": "30",
    "WANDB_FINISH_TIMEOUT": "30",
    "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "1",
    "WANDB__GRAPHQL_RETRY_MAX": "1",
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(tmp_path) as found:
        for name, value in {**found.environment, **SOON}.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def impatient(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that never answer."""
    for name in ("WANDB_INIT_TIMEOUT", "WANDB_FINISH_TIMEOUT"):
        monkeypatch.setenv(name, "3")


@pytest.fixture
def story(tmp_path: Path) -> Story:
    folder = tmp_path / "studies" / "tiny"
    folder.mkdir(parents=True)
    told = Story(folder)
    told.start()
    return told


def mirror(folder: Path) -> bool:
    """Brings the server up to what the journal holds now."""
    with locked(folder / "wandb", wait=True):
        return keep_up(WandbService(), folder, lambda: True, patience_s=60, waits_s=WAITS_S)


@contextmanager
def mirroring(folder: Path) -> Iterator[None]:
    """Beside a driver; afterwards everything is on the server."""
    is_told = threading.Event()
    done: list[bool] = []
    (folder / "wandb").mkdir(exist_ok=True)

    def follow() -> None:
        done.append(keep_up(WandbService(), folder, is_told.is_set, 60, WAITS_S))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        is_told.set()
        thread.join(90)
    assert done == [True]


def verb(story: Story, *words: str) -> int:
    return main(["mirror", story.folder.name, "--storage", str(story.folder.parent), *words])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"never happened: {what}")


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def by_trial(server: Server, project: str = PROJECT) -> dict[str, Run]:
    return {run.config["tune"]["trial"]: run for run in server.runs(project).values()}


def check(state: StudyState, runs: dict[str, Run], *, is_final: bool = True) -> None:
    """Holds what the server has against the journal, point by point."""
    assert sorted(runs) == sorted(state.trials)
    for trial in state.trials.values():
        run, wanted = runs[trial.id], describe(state, trial)
        assert run.id == wanted.id
        assert run.fields["displayName"] == wanted.name
        assert run.fields["groupName"] == state.name
        assert run.fields["jobType"] == trial.kind
        assert sorted(run.fields["tags"]) == sorted(wanted.tags)
        assert plain(run.config) == plain(wanted.config)
        rows = [row for row in run.history if "samples" not in row]
        assert [row["_step"] for row in rows] == list(range(len(trial.reports)))
        for row, expected in zip(rows, wanted.history, strict=True):
            for name, value in expected.items():
                assert same(row[name], value), (trial.id, name)
        summary = {key: value for key, value in run.summary.items() if not key.startswith("_")}
        summary.pop("samples", None)
        assert summary == wanted.summary
        assert run.complete
        assert run.exitcode == wanted.exit_code


def plain(value: Any) -> str:
    """Types included; but the client turns 1.0 into 1, which are the same in JSON."""
    text = json.dumps(value, sort_keys=True)
    return re.sub(r"(?<=\d)\.0\b", "", text)


def same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, float):
        return math.isclose(float(got), wanted, rel_tol=1e-12) or str(float(got)) == str(wanted)
    return bool(got == wanted)


def test_the_server_has_what_the_journal_says_point_by_point(server: Server, story: Story) -> None:
    story.three_trials()
    story.tell("study_ended", reason="done")
    assert mirror(story.folder)
    runs = by_trial(server)
    check(story.state, runs)
    assert runs["0000"].summary["final_eval_loss"] == 2.0
    assert runs["0000"].config["effective"] == EFFECTIVE
    assert "winner" in runs["0000"].fields["tags"]
    assert "final_eval_loss" not in runs["0001"].summary
    assert runs["0001"].summary["stopped_early"] is True
    assert list((story.folder / "wandb").glob("run-*")) == []


def test_runs_belong_to_a_sweep_over_the_same_space(server: Server, story: Story) -> None:
    story.complete(0)
    mirror(story.folder)
    story.complete(1)
    mirror(story.folder)
    ((sweep, project, asked),) = server.store.ask("select id, project, fields from sweep")
    assert project == PROJECT
    config = json.loads(asked)["config"]
    for words in ("method: custom", "name: final_eval_loss", "learning_rate:", "type: local"):
        assert words in config
    assert {run.fields["sweep"] for run in by_trial(server).values()} == {sweep}


def test_a_server_without_sweeps_gets_the_same_runs(server: Server, story: Story) -> None:
    server.trouble = Trouble(status=400, only="upsertSweep")
    story.complete(0)
    assert mirror(story.folder)
    check(story.state, by_trial(server))


def test_samples_are_a_table(server: Server, story: Story) -> None:
    trial = story.begin(0)
    story.tell("sample", trial=trial, stage="untrained", prompt="Once", text="@@@")
    story.report(trial, 90, 2.0, rung=2)
    story.tell("sample", trial=trial, stage="trained", prompt="Once", text="upon a time")
    story.end(trial, "completed")
    for _ in range(2):
        assert mirror(story.folder)
    run = by_trial(server)["0000"]
    (row,) = (row for row in run.history if "samples" in row)
    table = json.loads(run.files[row["samples"]["path"]])
    assert table["columns"] == ["stage", "prompt", "text"]
    assert table["data"] == [["untrained", "Once", "@@@"], ["trained", "Once", "upon a time"]]


def test_a_run_is_seen_while_its_trial_runs_and_goes_on_after_a_kill(
    server: Server, story: Story
) -> None:
    def rows() -> list[int]:
        runs = by_trial(server)
        return [row["step"] for row in runs["0000"].history] if "0000" in runs else []

    trial = story.begin(0)
    story.report(trial, 10, 4.0, rung=0)
    process = subprocess.Popen([*MIRROR, str(story.folder)], stdin=subprocess.PIPE)
    try:
        wait_for(lambda: rows() == [10], "the first report is seen")
        assert not by_trial(server)["0000"].complete
        story.report(trial, 20, 3.75)
        wait_for(lambda: rows() == [10, 20], "the second report is seen")
        with_the_key = processes.started(KEY)
        story.report(trial, 30, 3.5, rung=1)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    story.tell("segment_lost", trial=trial, reason="node gone")
    story.tell("segment_started", trial=trial, segment=2, checkpoint="checkpoint-10")
    story.report(trial, 60, 2.5)
    story.report(trial, 90, 2.0, rung=2)
    story.end(trial, "completed")
    assert mirror(story.folder)
    assert rows() == [10, 20, 30, 60, 90]
    check(story.state, by_trial(server))
    assert with_the_key == []
    assert not [text for text in contents(story.folder) if KEY.encode() in text]


def test_a_trial_that_waits_keeps_no_run_open_and_goes_on_in_it(
    server: Server, story: Story
) -> None:
    trial = story.begin(0)
    story.report(trial, 10, 4.0, rung=0)
    story.tell("decision", trial=trial, rung=0, decision="pause")
    assert mirror(story.folder)
    check(story.state, by_trial(server))
    assert "paused" in by_trial(server)["0000"].fields["tags"]
    story.tell("segment_started", trial=trial, segment=2, checkpoint="checkpoints/0000/step-10")
    story.report(trial, 90, 2.0, rung=2)
    story.end(trial, "completed")
    assert mirror(story.folder)
    check(story.state, by_trial(server))


@pytest.mark.usefixtures("impatient")
def test_an_outage_leaves_no_gap(
    server: Server, story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    """Down at the start, and gone again in the middle of a run."""
    said = []

    def warned() -> bool:
        said.append(capsys.readouterr().err)
        return "mirror waits: " in "".join(said)

    server.die()
    story.complete(0)
    with mirroring(story.folder):
        wait_for(warned, "the mirror meets nobody")
        server.revive()
        wait_for(lambda: "0000" in by_trial(server), "the first run arrives")
        trial = story.begin(1)
        story.report(trial, 10, 4.0, rung=0)
        wait_for(lambda: "0001" in by_trial(server), "the second run is open")
        server.die()
        story.report(trial, 20, 3.5)
        story.report(trial, 30, math.nan)
        story.end(trial, "diverged")
        server.revive()
    check(story.state, by_trial(server))
    said.append(capsys.readouterr().err)
    assert "".join(said).count("mirror waits: ") == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", [401, 404])
def test_uploads_that_the_client_gives_up_without_an_error_are_done_again(
    server: Server, story: Story, status: int
) -> None:
    server.trouble = Trouble(status=status, only="file_stream")
    story.complete(0)
    with mirroring(story.folder):
        wait_for(lambda: server.requests.count("file_stream") > 0, "an upload is refused")
        server.trouble = Trouble()
    check(story.state, by_trial(server))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_server_that_refuses_everything_gets_everything_later(
    server: Server, story: Story, status: int
) -> None:
    server.trouble = Trouble(status=status)
    story.complete(0)
    with mirroring(story.folder):
        wait_for(lambda: "model" in server.requests, "a run is refused")
        server.trouble = Trouble()
    check(story.state, by_trial(server))


def test_a_slow_server_gets_everything(server: Server, story: Story) -> None:
    server.trouble = Trouble(delay_s=0.5)
    story.complete(0)
    assert mirror(story.folder)
    check(story.state, by_trial(server))


def test_odd_names_and_many_values_arrive_whole(server: Server, story: Story) -> None:
    long = "x" * 1000
    many = {f"parameter_{number}": number / 7 for number in range(200)}
    trial = story.begin(0, **{long: long, "имя": "значение", "a.b": 1}, **many)
    metrics = {"eval_loss": 1.0, long: math.inf, "odd": -math.inf}
    fields = {"step": 90, "tokens": 9000, "fraction": 1.0, "seconds": 9.0, "rung": 2}
    story.tell("report", trial=trial, metrics=metrics, **fields)
    story.end(trial, "completed", reason=long)
    assert mirror(story.folder)
    check(story.state, by_trial(server))


def test_what_the_worker_used_and_changing_values_are_history(server: Server, story: Story) -> None:
    source = story.begin(0, learning_rate=3e-4)
    trial = story.begin(1, learning_rate=1e-4)
    for name in (source, trial):
        story.report(name, 10, 4.0, rung=0)
    changed = {**story.state.trials[trial].params, "learning_rate": 2.4e-4}
    story.tell(
        "trial_exploited",
        trial=trial,
        source=source,
        rung=0,
        checkpoint="checkpoints/0000/step-10",
        params=changed,
    )
    story.tell("segment_started", trial=trial, segment=2, checkpoint="checkpoints/0000/step-10")
    fields = {"step": 30, "tokens": 3000, "fraction": 1 / 3, "seconds": 9.0, "rung": 1}
    story.tell("report", trial=trial, metrics={"eval_loss": 3.0}, system={"rss_gib": 1.5}, **fields)
    for name in (source, trial):
        story.end(name, "stopped")
    assert mirror(story.folder)
    runs = by_trial(server)
    check(story.state, runs)
    assert [row["params/learning_rate"] for row in runs["0001"].history] == [1e-4, 2.4e-4]
    assert runs["0001"].history[1]["system/rss_gib"] == 1.5
    assert "params/learning_rate" not in runs["0000"].history[0]


def test_what_was_written_offline_goes_online_later_with_the_same_content(
    server: Server, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.three_trials()
    story.tell("study_ended", reason="done")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert mirror(story.folder)
    assert server.requests == []
    runs = [str(path) for path in (story.folder / "wandb").glob("offline-run-*")]
    monkeypatch.setenv("WANDB_MODE", "online")
    sync = [str(Path(sys.executable).parent / "wandb"), "sync", *runs]
    subprocess.run(sync, check=True, capture_output=True, timeout=90, cwd=story.folder)
    synced = by_trial(server)
    check(story.state, synced)
    assert verb(story, "--project", "elsewhere") == 0
    check(story.state, by_trial(server, "elsewhere"))


def test_the_verb_completes_and_restores_each_run_once(
    server: Server, story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    story.three_trials()
    trial = story.begin(3)
    story.report(trial, 10, 4.0, rung=0)
    story.tell("study_interrupted")
    assert verb(story) == 0
    check(story.state, by_trial(server))
    before = len(server.requests)
    capsys.readouterr()
    assert verb(story, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["written"], said["kept"]) == (0, 4)
    assert "upsertBucket" not in server.requests[before:]
    for table in ("run", "line"):
        column = "id" if table == "run" else "run"
        server.store.ask(f"delete from {table} where {column} like '%-0001'")
    assert verb(story) == 0
    check(story.state, by_trial(server))


def test_the_verb_says_that_wandb_is_switched_off(
    story: Story, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    story.complete(0)
    assert verb(story) == 2
    assert "unset WANDB_MODE" in capsys.readouterr().err


def test_one_mirror_at_a_time(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(story.folder / "wandb", wait=True):
        assert verb(story) == 2
    assert "another mirror of this study is running" in capsys.readouterr().err


@pytest.mark.usefixtures("impatient")
def test_the_verb_says_that_nobody_answers_and_leaves_with_2(
    server: Server, story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    server.trouble = Trouble(status=401)
    story.complete(0)
    assert verb(story) == 2
    said = capsys.readouterr().err
    assert "W&B does not accept the runs" in said
    assert "Traceback" not in said
