"""Command lines that a person can paste into the terminal they look at."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

DEFAULT_STORAGE = "studies"


def python() -> str:
    """`python` where that is this very interpreter, else the path to it."""
    found = shutil.which("python")
    if found is not None and os.path.abspath(found) == os.path.abspath(sys.executable):
        return "python"
    here = Path.cwd()
    path = Path(os.path.abspath(sys.executable))
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def verb(name: str, study: str, storage: object) -> str:
    """The command of a verb for a study; `storage` as `--storage` takes it."""
    words = [study] if str(storage) == DEFAULT_STORAGE else [study, "--storage", str(storage)]
    return f"{python()} -m tune_app {name} {shlex.join(words)}"


def wandb_sync(folder: Path) -> str:
    """The command that sends the offline runs in `folder` to W&B."""
    return f"{python()} -m wandb sync {shlex.quote(str(folder))}/offline-run-*"
