"""Journals that somebody made to do harm: nothing runs, nothing leaves the study."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated import document, on_disk
from tune_app.__main__ import main

READERS = ("show", "report", "resume", "list")
OUTSIDE = ["../../x/step-1", "/etc/step-1", "checkpoints/../../step-1", "checkpoints/0001/x/step-1"]
OUTSIDE += ["checkpoints/0001/step-1/..", "checkpoints//step-1", "checkpoints/0001\n/step-1", ""]
OUTSIDE += ["checkpoints/0001/step-" + "9" * 5000, "checkpoints/٣/step-1", "~/step-1"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "studies" / "victim"
    folder.mkdir(parents=True)
    simulation = on_disk(folder, document(trials=3, name="victim", working_directory="."))
    simulation.run()
    simulation.close()
    (tmp_path / "x" / "step-1").mkdir(parents=True)
    (tmp_path / "x" / "step-1" / "precious").touch()
    return folder


def changed(study: Path, kind: str, **fields: Any) -> None:
    """The journal with other values in the first event of a kind."""
    path = study / "journal.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    wanted = (e for e in events if e["event"] == kind and (kind != "report" or e["checkpoint"]))
    next(wanted).update(fields)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All verbs tell of it in one message, and leave everything as it was."""
    before = listing(study.parent.parent)
    for verb in READERS[:3]:
        assert main([verb, "victim", "--storage", str(study.parent)]) == 2
        said = capsys.readouterr()
        assert said.err.startswith("error:")
        assert "Traceback" not in said.err + said.out
    assert main(["list", "--json", "--storage", str(study.parent)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["status"] == "unreadable"
    assert listing(study.parent.parent) == before


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if ".lease" not in path.parts)


@pytest.mark.parametrize("path", OUTSIDE[:-4] + OUTSIDE[-3:], ids=lambda path: path[:24])
def test_a_checkpoint_outside_of_the_study_is_refused(
    study: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(study, "report", checkpoint=path)
    refused(study, capsys)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", "", "0001/../../x", "\0", 3])
def test_a_trial_that_is_no_number_is_refused(
    study: Path, name: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(study, "trial_created", trial=name)
    refused(study, capsys)


@pytest.mark.parametrize(
    "line",
    ['{"event":' * 100_000, "[" * 100_000, '{"event":"report","time":' + "9" * 5000 + "}"],
    ids=["deep", "deeper", "huge"],
)
def test_json_that_is_made_to_break_a_reader_is_refused(
    study: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study / "journal.jsonl"
    path.write_text(line + "\n" + path.read_text())
    refused(study, capsys)


@pytest.mark.parametrize("event", ["__class__", "_place", "apply", "__init__", "requeue"])
def test_an_event_cannot_name_what_is_no_event(
    study: Path, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(study / "journal.jsonl", "a") as file:
        file.write(json.dumps({"event": event, "time": 0, "trial": "0000"}) + "\n")
    assert main(["show", "victim", "--json", "--storage", str(study.parent)]) == 0


@pytest.mark.parametrize("part", ["report", "logs", "checkpoints", "journal.jsonl", ".lease"])
def test_a_study_whose_parts_are_links_to_elsewhere_is_refused(
    study: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = study.parent.parent / "elsewhere"
    if (study / part).exists():
        shutil.move(study / part, outside)
    else:
        outside.mkdir()
    os.symlink(outside, study / part)
    for verb in READERS[:3]:
        assert main([verb, "victim", "--storage", str(study.parent)]) == 2
        assert "a link that leaves the study's folder" in capsys.readouterr().err


DEEP = ["logs/trials/0000.log", "logs/driver.log", "report/.report.md.partial", "checkpoints/0001"]
DEEP += ["wandb/mirror.lock", "wandb/run-1-x"]


@pytest.mark.parametrize("part", DEEP)
def test_a_link_to_elsewhere_is_refused_however_deep_it_lies(
    study: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = study.parent.parent / "x" / "not yet there"
    (study / part).parent.mkdir(parents=True, exist_ok=True)
    (study / part).unlink(missing_ok=True)
    os.symlink(outside, study / part)
    for verb in READERS[:3]:
        assert main([verb, "victim", "--storage", str(study.parent)]) == 2
        assert f"{part}: a link that leaves the study's folder" in capsys.readouterr().err
    assert not outside.exists()


def test_links_within_a_study_and_those_that_wandb_makes_are_none_of_our_business(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "logs").mkdir(exist_ok=True)
    os.symlink(study / "report", study / "logs" / "report")
    os.symlink("loop", study / "logs" / "loop")
    run = study / "wandb" / "offline-run-20260101_000000-x" / "logs"
    run.mkdir(parents=True)
    os.symlink(study.parent.parent, run / "debug-core.log")
    assert main(["show", "victim", "--storage", str(study.parent)]) == 0
