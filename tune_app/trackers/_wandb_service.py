"""W&B as the mirror of any service sees it."""

from __future__ import annotations

import re
from pathlib import Path

from tune_app.core.state import StudyState
from tune_app.core.trial import TrialState
from tune_app.trackers._remote_pass import NO_ANSWER, reason_of
from tune_app.trackers._wandb_run import RunRecord, describe
from tune_app.trackers._wandb_writer import Target, Writer
from tune_app.trackers.wandb import WANDB


class WandbService:
    """Describes trials as W&B runs and writes them with W&B's client.

    Args:
        target: where runs go, in place of what the study says.
    """

    remote = WANDB

    def __init__(self, target: Target | None = None) -> None:
        self._target = target or Target()

    def describe(self, state: StudyState, trial: TrialState) -> RunRecord:
        return describe(state, trial)

    def client(self, folder: Path, record: RunRecord) -> Writer:
        return Writer(folder, self._target, record)

    def reason(self, error: Exception) -> str:
        """The client packs the server's answer into a sentence of its own."""
        if "deadline exceeded" in str(error):
            return NO_ANSWER
        reason = reason_of(error)
        status = re.search(r"\berror ([45]\d\d)\b", str(error))
        is_plain = reason == type(error).__name__
        return f"error {status[1]}" if status and is_plain else reason
