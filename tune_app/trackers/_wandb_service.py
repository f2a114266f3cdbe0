"""W&B as a `Service` of the mirror."""

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
        target: project and entity that replace the study's own.
    """

    remote = WANDB

    def __init__(self, target: Target | None = None) -> None:
        self._target = target or Target()

    def describe(self, state: StudyState, trial: TrialState) -> RunRecord:
        """See `Service.describe`."""
        return describe(state, trial)

    def client(self, folder: Path, record: RunRecord) -> Writer:
        """See `Service.client`.

        Raises:
            ImportError: wandb is not installed.
        """
        return Writer(folder, self._target, record)

    def reason(self, error: Exception) -> str:
        """The reason without the text that W&B's client wraps around the server's answer."""
        if "deadline exceeded" in str(error):
            return NO_ANSWER
        reason = reason_of(error)
        status = re.search(r"\berror ([45]\d\d)\b", str(error))
        is_plain = reason == type(error).__name__
        return f"error {status[1]}" if status and is_plain else reason
