"""Whether a checkpoint's weights are all those of the model that goes on from it."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import nn

from tune_app.errors import Problem, UserError

SHOWN = 3


def check(model: nn.Module, checkpoint: Path) -> None:
    """transformers only warns where names differ, and would train on from fresh weights.

    Raises:
        UserError: a weight of the model is not there, or one that is there is not the model's.
    """
    saved: set[str] = set()
    for path in checkpoint.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            saved |= set(file.keys())
    own = model.state_dict()
    # Of weights that are tied to one another the file has one.
    there = {own[name].data_ptr() for name in saved & own.keys()}
    never_saved = getattr(model, "_keys_to_ignore_on_save", None) or ()
    missing = {name for name, weight in own.items() if weight.data_ptr() not in there}
    missing.difference_update(never_saved)
    problems = [
        Problem(
            f"{what} {_some(names)}", str(checkpoint), fix="is it the same trainable as before?"
        )
        for what, names in (
            ("the checkpoint has no weights for", missing),
            ("the model has no weights called", saved - own.keys()),
        )
        if names
    ]
    if problems:
        raise UserError(problems)


def _some(names: set[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more
