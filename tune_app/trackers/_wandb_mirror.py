"""Writes a study's trials as W&B runs: one process for the whole study.

    python -m tune_app.trackers._wandb_mirror FOLDER

Online a run appears when its trial begins, and its rows as they are reported. Offline a run is
written as a whole when its trial has ended. See `_remote_mirror` for how the journal is followed,
for the ledger of written runs, and for the retries when the server is unavailable.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tune_app.trackers._remote_mirror import main
from tune_app.trackers._wandb_service import WandbService

if __name__ == "__main__":
    sys.exit(main(WandbService(), Path(sys.argv[1]).resolve()))
