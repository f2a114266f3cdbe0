"""What is sent to a cluster, what is refused before anything is, and how a study hears `stop`."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.simulated import document
from tune_app.__main__ import main
from tune_app.cli import _requests, _sent, _submit
from tune_app.core.journal import Journal
from tune_app.core.state import StudyState
from tune_app.engine import demand
from tune_app.errors import UserError
from tune_app.simulation.simulation import MemoryJournal
from tune_app.study import file as study_file

SWEEP = """
method: random
metric: {{name: final_eval_loss, goal: minimize}}
parameters:
  learning_rate: {{min: 0.0001, max: 0.01}}
  dataset: {{values: [{dataset}]}}
tune:
  trainable: {trainable}
  budget: {{tokens: 1000, trials: 3}}
"""
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a person works in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def sweep(folder: Path, trainable: str = "causal_lm", dataset: str = "ru") -> Path:
    path = folder / "sweeps" / "one.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SWEEP.format(trainable=trainable, dataset=dataset))
    return path


def sent(path: Path) -> set[str]:
    return set(_sent.files(study_file.load(path), path))


def own(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")


def test_a_study_without_code_of_its_own_goes_alone(here: Path) -> None:
    own(here, "unrelated.py")
    assert sent(sweep(here)) == {"one.yaml"}


def test_a_trainable_goes_along_with_the_python_files_beside_it(here: Path) -> None:
    own(here, "mine/model.py", "mine/helper.py", "mine/deeper/other.py", "unrelated.py")
    found = sent(sweep(here, "mine/model.py"))
    assert found == {"one.yaml", "mine/model.py", "mine/helper.py"}


def test_a_module_goes_along_with_its_package(here: Path) -> None:
    own(here, "lab/__init__.py", "lab/models/small.py", "lab/data.py", "unrelated.py")
    found = sent(sweep(here, "lab.models.small"))
    assert found == {"one.yaml", "lab/__init__.py", "lab/models/small.py", "lab/data.py"}


def test_a_table_that_it_begins_with_goes_along(here: Path) -> None:
    (here / "runs.csv").write_text(
        "trial,config.learning_rate,tokens,eval_loss\na,0.001,1000,4.0\nb,0.002,1000,3.0\n"
    )
    path = sweep(here)
    path.write_text(path.read_text() + "  warm_start: [runs.csv]\n")
    assert sent(path) == {"one.yaml", "runs.csv"}


def test_data_is_refused_and_code_from_elsewhere_too(here: Path) -> None:
    (here / "texts").mkdir()
    own(here.parent, "elsewhere.py")
    path = sweep(here, "../elsewhere.py", "texts/")
    with pytest.raises(UserError) as caught:
        sent(path)
    told = str(caught.value)
    assert "data is not sent along" in told
    assert "lies outside of the folder" in told


def test_a_folder_that_is_called_like_a_corpus_is_not_taken_for_data(here: Path) -> None:
    (here / "ru").mkdir()
    assert sent(sweep(here)) == {"one.yaml"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["list"], "not a folder that a cluster knows"),
        (["list", "--storage", "/s"], "cannot reach Ray's job server"),
        (["stop", "x", "--storage", "/s"], "cannot reach Ray's job server"),
        (["resume", "x", "--storage", "/s", "--address", "auto"], "--address: does not go"),
        (["resume", "x", "--storage", "/s", "--json"], "--json: does not go together"),
        (["resume", "../x", "--storage", "/s"], "cannot name a study"),
        (["run", "--plan", "--storage", "/s"], "--plan: does not go together"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(
    here: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--submit", NOWHERE]) == 2
    assert told in capsys.readouterr().err


class Head:
    """Runs a job as Ray does: a shell in a copy of what was sent, here until it has ended."""

    def __init__(self, storage: Path, commands: Path) -> None:
        self.storage = storage
        self.commands = commands
        self.done = subprocess.CompletedProcess[str]([], 0)

    def submit(self, command: str, files: Path | None = None) -> str:
        assert "\n" not in command, "Ray prints it, and the first line alone is left out"
        path = f"{self.commands}:{os.environ['PATH']}"
        self.done = subprocess.run(
            command, shell=True, cwd=files, capture_output=True, text=True, env={"PATH": path}
        )
        return "job"

    def follow(self, job: str, write: object) -> int:
        return self.done.returncode

    def driver(self, script: str) -> None:
        """What `python -m tune_app run` does there."""
        (self.commands / "python").write_text(f"#!/bin/sh\n{script}\n")
        (self.commands / "python").chmod(0o755)

    def kept(self) -> str:
        return (self.storage / ".submitted" / "x" / "mine" / "model.py").read_text()


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    """A cluster whose storage has a blank in its path; the study `x` starts there."""
    head = Head(tmp_path / "shared folder", tmp_path / "bin")
    head.commands.mkdir()
    head.driver(f"mkdir '{head.storage}/x'")
    monkeypatch.setattr(_submit, "_jobs", lambda args: head)
    return head


def submit(here: Path, head: Head, code: str) -> int:
    own(here, "mine/model.py")
    (here / "mine" / "model.py").write_text(code)
    path = sweep(here, "mine/model.py")
    storage = ["--storage", str(head.storage)]
    return main(["run", str(path), "--name", "x", *storage, "--submit", NOWHERE])


def test_a_study_keeps_its_code_when_another_is_sent_under_its_name(here: Path, head: Head) -> None:
    assert submit(here, head, "first = 1\n") == 0
    assert submit(here, head, "second = 2\n") == 2
    assert head.kept() == "first = 1\n"
    assert "a study named 'x' exists" in head.done.stderr
    assert "resume x --storage" in head.done.stderr
    assert "another --name" in head.done.stderr


def test_a_study_that_just_begins_keeps_its_code_too(here: Path, head: Head) -> None:
    (head.storage / ".submitted" / "x" / "mine").mkdir(parents=True)
    (head.storage / ".submitted" / "x" / "mine" / "model.py").write_text("first = 1\n")
    assert submit(here, head, "second = 2\n") == 2
    assert head.kept() == "first = 1\n"
    assert "files were sent for a study named 'x'" in head.done.stderr
    assert "choose another --name" in head.done.stderr


def test_a_study_that_was_refused_can_be_sent_again_under_its_name(here: Path, head: Head) -> None:
    start = (head.commands / "python").read_text()
    head.driver("exit 2")
    assert submit(here, head, "mistaken = 1\n") == 2
    head.driver(start)
    assert submit(here, head, "mended = 2\n") == 0
    assert head.kept() == "mended = 2\n"


def test_a_storage_that_takes_no_files_says_so(here: Path, head: Head) -> None:
    head.storage.write_text("no folder")
    assert submit(here, head, "first = 1\n") == 2
    assert "Not a directory" in head.done.stderr


def test_a_driver_runs_in_the_folder_that_is_kept_and_its_exit_code_is_the_jobs(
    here: Path, head: Head
) -> None:
    head.driver(f"mkdir '{head.storage}/x'; pwd; cat mine/model.py; exit 130")
    assert submit(here, head, "first = 1\n") == 130
    assert head.done.stdout == f"{head.storage}/.submitted/x\nfirst = 1\n"
    assert head.kept() == "first = 1\n"


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://host:10001", "http://", "http://a:b"])
def test_only_a_dashboard_is_an_address_to_submit_to(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "--storage", "/s", "--submit", address]) == 2
    assert "not an address of Ray's dashboard" in capsys.readouterr().err


def test_a_study_hears_a_request_once_and_none_of_before(tmp_path: Path) -> None:
    _requests.ask_to_stop(tmp_path)
    heard, calls = threading.Event(), []

    def stop() -> None:
        calls.append(1)
        heard.set()

    with _requests.listening(tmp_path, stop):
        assert not calls
        _requests.ask_to_stop(tmp_path)
        assert heard.wait(30)
    assert calls == [1]
    assert list(tmp_path.iterdir()) == []


def test_stopping_what_does_not_run_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").mkdir()
    journal = Journal(tmp_path / "x")
    journal.append("study_started", study=document())
    journal.close()
    assert main(["stop", "x", "--storage", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "x is not running" in told
    assert "resume x" in told


def test_machines_are_wanted_for_trials_that_could_run_and_not_for_paused_ones() -> None:
    state, journal = StudyState(), MemoryJournal()

    def record(event: str, **fields: object) -> None:
        state.apply(journal.append(event, **fields))

    record("study_started", study=document(trials=5))
    assert demand.runnable_trials(state) == 5
    for number in range(3):
        trial = f"{number:04d}"
        record("trial_created", trial=trial, number=number, kind="search", params={"x": 0.5})
        record("segment_started", trial=trial, segment=1, checkpoint=None)
    assert demand.runnable_trials(state) == 5
    record("trial_ended", trial="0000", outcome="failed", value=None, tokens=0, reason="", error="")
    assert demand.runnable_trials(state) == 4
