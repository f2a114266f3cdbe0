"""Checkpoints that somebody made to do harm: nothing in them runs, nothing leaves the study."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.segments import Recorder, corpus, run, task
from tune_app.core.task import Task
from tune_app.errors import UserError
from tune_app.storage.checkpoints import FolderCheckpoints

__all__ = ["corpus", "task"]


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.fixture
def study(task: Task, tmp_path: Path) -> Path:
    """A study's folder with one checkpoint, at the first rung."""
    run(task, Recorder(tmp_path / "study", pause_at=(0,)))
    return tmp_path / "study"


def checkpoint(study: Path) -> Path:
    (path,) = (study / "checkpoints" / "0000").glob("step-*")
    return path


def outcome(task: Task, study: Path) -> str:
    """How a trial ends that goes on from it."""
    recorder = run(task, Recorder(study), checkpoint(study))
    return str(recorder.of("trial_ended")["outcome"])


FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "pytorch_model.bin")


@pytest.mark.parametrize("zipped", [False, True], ids=["pickle", "zip"])
def test_a_pickle_in_a_checkpoint_is_not_run(
    task: Task, study: Path, tmp_path: Path, zipped: bool
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(study, whole)
    ends = {}
    for file in FILES:
        shutil.rmtree(study)
        shutil.copytree(whole, study)
        path = checkpoint(study) / file
        bomb = Bomb(tmp_path / "exploded")
        if zipped:
            torch.save(bomb, path)
        else:
            path.write_bytes(pickle.dumps(bomb))
        if file == "pytorch_model.bin":
            (path.parent / "model.safetensors").unlink()
            with pytest.raises(UserError, match="not safetensors"):
                FolderCheckpoints(study).fetch(f"checkpoints/0000/{path.parent.name}")
        ends[file] = outcome(task, study)
        assert not (tmp_path / "exploded").exists(), file
    assert ends.pop("training_args.bin") == "completed", "nobody reads it"
    assert set(ends.values()) == {"failed"}


def test_crafted_safetensors_end_the_trial_and_nothing_else(
    task: Task, study: Path, tmp_path: Path
) -> None:
    weights = checkpoint(study) / "model.safetensors"
    head = b'{"a":{"dtype":"F32","shape":[9000000000],"data_offsets":[0,36000000000]}}'
    for length in (len(head), 2**63, 0):
        weights.write_bytes(length.to_bytes(8, "little") + head)
        assert outcome(task, study) == "failed"
    save_file({"../../escaped": torch.zeros(3)}, weights)
    assert outcome(task, study) == "failed"
    assert not list(tmp_path.rglob("escaped*"))


def test_weights_of_another_model_are_not_taken_for_this_ones(task: Task, study: Path) -> None:
    path = checkpoint(study) / "model.safetensors"
    saved = load_file(path)
    first, *others = sorted(saved)
    for changed in (
        {name: saved[name] for name in others},
        saved | {"more": torch.zeros(3)},
        {name: saved[name] for name in others} | {"renamed": saved[first]},
    ):
        save_file(changed, path, {"format": "pt"})
        recorder = run(task, Recorder(study), checkpoint(study))
        ended = recorder.of("trial_ended")
        assert ended["outcome"] == "failed"
        assert first in ended["reason"] or "more" in ended["reason"]
    save_file(saved, path, {"format": "pt"})
    assert outcome(task, study) == "completed"
