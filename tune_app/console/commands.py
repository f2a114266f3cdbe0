"""Command lines that the user can paste into the terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

DEFAULT_STORAGE = "studies"


def python() -> str:
    """`python` if that is the running interpreter, else the quoted path to it."""
    on_path = shutil.which("python")
    if on_path is not None and os.path.abspath(on_path) == os.path.abspath(sys.executable):
        return "python"
    folder = Path.cwd()
    path = Path(os.path.abspath(sys.executable))
    return shlex.quote(str(path.relative_to(folder) if path.is_relative_to(folder) else path))


def verb(name: str, study: str, storage: object) -> str:
    """The command of a verb for a study; `str(storage)` is the value of `--storage`."""
    words = [study] if str(storage) == DEFAULT_STORAGE else [study, "--storage", str(storage)]
    return f"{python()} -m tune_app {name} {shlex.join(words)}"


def wandb_sync(folder: Path) -> str:
    """The command that uploads the offline runs in `folder` to W&B."""
    return f"{python()} -m wandb sync {shlex.quote(str(folder))}/offline-run-*"
