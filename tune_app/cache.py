"""The folder on each machine for files that can be rebuilt or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$TUNE_APP_CACHE, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TUNE_APP_CACHE") or Path(base) / "tune_app")
