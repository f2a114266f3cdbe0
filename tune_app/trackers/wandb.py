"""Mirrors the trials as W&B runs, in a separate process (see `_remote_process`).

With a key (`WANDB_API_KEY` or netrc) runs are visible while they run. Without one each is written
offline to the study's `wandb` folder when its trial has ended, and can be uploaded with
`wandb sync FOLDER/wandb/offline-run-*` or `python -m tune_app mirror`. `WANDB_MODE` is respected.
"""

from __future__ import annotations

import os
from pathlib import Path

from tune_app.trackers._remote_process import Remote, RemoteTracker

_ONE_RUN_ONLY = {"WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID", "WANDB_SERVICE"}
"""Variables that would assign all trials to one run, sweep or process of the driver."""

WANDB = Remote(
    service="W&B",
    module="tune_app.trackers._wandb_mirror",
    folder="wandb",
    verb="mirror",
    withheld=frozenset(_ONE_RUN_ONLY),
)


def create(folder: Path) -> RemoteTracker:
    """The tracker of the study in `folder`."""
    return RemoteTracker(folder, WANDB, is_enabled=os.environ.get("WANDB_MODE") != "disabled")
