"""Shows the study, live, in TensorBoard: `tensorboard --logdir FOLDER/tensorboard`.

There is one file per trial, with tokens as the step: the metrics of each report, the values for the
table of hyper-parameters, samples as text and, for a completed trial, the objective under its own
name. Records are appended one by one and no file stays open. After a resume, and when reports were
lost with their worker, a trial's file is rewritten, so repeated events change nothing. Needs the
package `tensorboard`, not TensorFlow or torch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Report, TrialState
from tune_app.storage.atomic import replacing

FOLDER = "tensorboard"

_log = logging.getLogger(__name__)


class TensorBoardTracker:
    """Writes one event file per trial; stops with one warning if that fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve() / FOLDER
        self._reports: dict[str, int] = {}
        """The number of reports in each trial's file."""
        self._works = True

    def on_event(self, event: Event, state: StudyState) -> None:
        if not self._works:
            return
        try:
            if event["event"] in ("study_started", "study_resumed"):
                for trial in state.trials.values():
                    self._rewrite(trial, state)
            elif (trial_or_none := state.trials.get(event.get("trial", ""))) is not None:
                self._update(trial_or_none, state, is_end=event["event"] == "trial_ended")
        except OSError as error:
            self._works = False
            _log.warning("TensorBoard's files in %s are not kept up: %s", self._folder, error)

    def close(self, timeout_s: float) -> None:
        """Does nothing: every record is in its file when `on_event` returns."""

    def _update(self, trial: TrialState, state: StudyState, is_end: bool) -> None:
        written = self._reports.get(trial.id)
        if written is None or written > len(trial.reports):
            self._rewrite(trial, state)
            return
        records = [_scalars(report) for report in trial.reports[written:]]
        if is_end:
            records += _last(trial, state)
        if records:
            with open(self._path(trial), "ab") as file:
                _append(file, records)
        self._reports[trial.id] = len(trial.reports)

    def _rewrite(self, trial: TrialState, state: StudyState) -> None:
        path = self._path(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A resumed study writes a file for each of its trials, in one event.
        with replacing(path, durable=False) as new, open(new, "wb") as file:
            _append(file, _first(trial))
            _append(file, map(_scalars, trial.reports))
            if trial.outcome is not None:
                _append(file, _last(trial, state))
        self._reports[trial.id] = len(trial.reports)

    def _path(self, trial: TrialState) -> Path:
        return self._folder / trial.id / f"events.out.tfevents.{int(trial.created)}"


def _append(file: Any, records: Iterable[Record]) -> None:
    writer = RecordWriter(file)
    for record in records:
        writer.write(record.SerializeToString())


def _first(trial: TrialState) -> Iterator[Record]:
    yield Record(wall_time=trial.created, file_version="brain.Event:2")
    values = {name: _plain(value) for name, value in trial.params.items()}
    started = hparams_pb(values, trial_id=trial.id, start_time_secs=trial.created)
    # Converted: where TensorFlow is installed the object may be of its copy of the protocol.
    summary = Summary.FromString(started.SerializeToString())
    yield Record(wall_time=trial.created, step=0, summary=summary)


def _scalars(report: Report) -> Record:
    system = {f"system/{name}": value for name, value in report.system.items()}
    return _record(report.time, report.tokens, {**report.metrics, **system})


def _last(trial: TrialState, state: StudyState) -> Iterator[Record]:
    ended = trial.ended or trial.created
    final = state.final_value(trial)
    if final is not None:
        yield _record(ended, trial.tokens, {state.metric: final})
    end = {"outcome": str(trial.outcome), "reason": trial.reason, **trial.samples}
    texts = [_text(tag, text) for tag, text in end.items() if text]
    yield Record(wall_time=ended, step=trial.tokens, summary=Summary(value=texts))


def _record(time: float, step: int, values: Mapping[str, float]) -> Record:
    summary = Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in values.items()])
    return Record(wall_time=time, step=step, summary=summary)


def _text(tag: str, text: str) -> Summary.Value:
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    data = text.encode("utf-8", "backslashreplace")
    tensor = TensorProto(dtype=DT_STRING, string_val=[data], tensor_shape=shape)
    return Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


def _plain(value: Any) -> Any:
    """The value as TensorBoard's table can hold it: a number, bool or text."""
    return value if isinstance(value, (bool, int, float, str)) else json.dumps(value)


def create(folder: Path) -> TensorBoardTracker:
    """The tracker of the study in `folder`."""
    return TensorBoardTracker(folder)
