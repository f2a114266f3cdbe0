"""Checks that a checkpoint has exactly the weights of the model that resumes from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from tune_app.errors import Problem, UserError

SHOWN = 3
DEFAULT_ADAPTER = "default"
"""The adapter that peft saves into the checkpoint's own folder, not into a sub-folder."""


def check(model: nn.Module, checkpoint: Path) -> None:
    """Compares the names of the weights of a checkpoint and a model.

    Where they differ, transformers only warns, and trains fresh weights.

    Raises:
        UserError: the checkpoint lacks a weight of the model, or has one that the model lacks.
    """
    saved: set[str] = set()
    for path in checkpoint.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            saved |= set(file.keys())
    peft = _peft_of(model)
    if peft is not None:
        # A checkpoint has the adapters only, and leaves the adapter's name out of theirs.
        own = set(peft.get_peft_model_state_dict(model, adapter_name=DEFAULT_ADAPTER))
        missing, foreign = own - saved, saved - own
    else:
        missing, foreign = _differences(model, saved)
    problems = [
        Problem(
            f"{what} {_some(names)}", str(checkpoint), fix="is it the same trainable as before?"
        )
        for what, names in (
            ("the checkpoint has no weights for", missing),
            ("the model has no weights called", foreign),
        )
        if names
    ]
    if problems:
        raise UserError(problems)


def check_adapters(model: nn.Module) -> None:
    """Checks before training that the model's adapters can be resumed from a checkpoint.

    Raises:
        UserError: they cannot.
    """
    names = sorted(getattr(model, "peft_config", None) or ())
    peft = _peft_of(model)
    if names and peft is None:
        what = "its adapters are in a model that is no peft.PeftModel"
        fix = "transformers.Trainer resumes no other: make it with peft.get_peft_model"
    elif names not in ([], [DEFAULT_ADAPTER]):
        what = f"it has adapters called {', '.join(map(repr, names))}"
        fix = f"a checkpoint has one, {DEFAULT_ADAPTER!r}: leave its name out"
    else:
        return
    raise UserError(Problem(what, "the trainable's model", fix=fix))


def _differences(model: nn.Module, saved: set[str]) -> tuple[set[str], set[str]]:
    """Names of weights that the checkpoint lacks, and of those that the model lacks."""
    own = model.state_dict()
    # The file has only one of several tied weights.
    there = {own[name].data_ptr() for name in saved & own.keys()}
    never_saved = getattr(model, "_keys_to_ignore_on_save", None) or ()
    missing = {name for name, weight in own.items() if weight.data_ptr() not in there}
    missing.difference_update(never_saved)
    return missing, saved - own.keys()


def _peft_of(model: nn.Module) -> Any:
    """The module peft if the model is a `PeftModel`, else None; does not import it."""
    peft = sys.modules.get("peft")
    return peft if peft is not None and isinstance(model, peft.PeftModel) else None


def _some(names: set[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more
