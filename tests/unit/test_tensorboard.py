"""TensorBoard's files against TensorBoard's own reader."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.support.story import Story
from tune_app.core.state import StudyState
from tune_app.trackers import tensorboard


def read(folder: Path, trial: str) -> EventAccumulator:
    found = EventAccumulator(str(folder / tensorboard.FOLDER / trial))
    found.Reload()
    return found


def curve(folder: Path, trial: str, tag: str = "eval_loss") -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in read(folder, trial).Scalars(tag)]


def params(found: EventAccumulator) -> dict[str, Any]:
    content = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    values = data.session_start_info.hparams.items()
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values}


def test_curves_are_over_tokens_and_only_the_completed_have_a_final_value(tmp_path: Path) -> None:
    story = Story(tmp_path, tensorboard.create(tmp_path))
    story.start()
    story.three_trials()
    for trial in story.state.trials.values():
        wanted = {report.tokens: report.metrics["eval_loss"] for report in trial.reports}
        assert dict(curve(tmp_path, trial.id)) == pytest.approx(wanted, nan_ok=True)
    assert curve(tmp_path, "0000", "final_eval_loss") == [(9000, 2.0)]
    assert "final_eval_loss" not in read(tmp_path, "0001").Tags()["scalars"]
    shown = params(read(tmp_path, "0000"))
    assert (shown["learning_rate"], shown["awkward"]) == (1e-4, "[1, 2]")


def test_work_that_was_lost_and_done_again_is_shown_once(tmp_path: Path) -> None:
    story = Story(tmp_path, tensorboard.create(tmp_path))
    story.start()
    trial = story.begin(0)
    story.report(trial, 10, 4.0, rung=0)
    story.report(trial, 20, 3.75)
    story.tell("segment_lost", trial=trial, reason="node gone")
    story.tell("segment_started", trial=trial, segment=2, checkpoint="checkpoint-10")
    story.report(trial, 20, 3.5)
    assert curve(tmp_path, trial) == [(1000, 4.0), (2000, 3.5)]


def test_a_driver_that_was_killed_leaves_nothing_double_and_nothing_out(tmp_path: Path) -> None:
    story = Story(tmp_path, tensorboard.create(tmp_path))
    story.start()
    trial = story.begin(0)
    story.report(trial, 10, 4.0, rung=0)
    with open(next((tmp_path / "tensorboard" / trial).iterdir()), "ab") as file:
        file.write(b"half a record")
    story.tracker = None
    story.report(trial, 20, 3.5)
    story.tracker = tensorboard.create(tmp_path)
    story.tell("study_resumed", software={}, machine={})
    assert curve(tmp_path, trial) == [(1000, 4.0), (2000, 3.5)]
    story.tell("segment_started", trial=trial, segment=2, checkpoint="checkpoint-10")
    assert curve(tmp_path, trial) == [(1000, 4.0)]
    story.report(trial, 20, 3.5)
    assert curve(tmp_path, trial) == [(1000, 4.0), (2000, 3.5)]


def test_feeding_all_events_again_changes_nothing(tmp_path: Path) -> None:
    story = Story(tmp_path, tensorboard.create(tmp_path))
    story.start()
    story.three_trials()
    files = sorted((tmp_path / "tensorboard").rglob("events*"))
    before = [path.read_bytes() for path in files]
    again, replay = tensorboard.create(tmp_path), StudyState()
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        replay.apply(json.loads(line))
        again.on_event(json.loads(line), replay)
    assert [path.read_bytes() for path in files] == before


def test_files_that_cannot_be_written_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / tensorboard.FOLDER).write_text("a file where a folder should be")
    story = Story(tmp_path, tensorboard.create(tmp_path))
    with caplog.at_level(logging.WARNING):
        story.start()
        story.three_trials()
    assert len(caplog.records) == 1
