"""Whether a checkpoint's weights are all those of the model that goes on from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from tune_app.errors import Problem, UserError

SHOWN = 3
DEFAULT_ADAPTER = "default"
"""The one that peft saves into the checkpoint's own folder."""


def check(model: nn.Module, checkpoint: Path) -> None:
    """transformers only warns where names differ, and would train on from fresh weights.

    Raises:
        UserError: a weight of the model is not there, or one that is there is not the model's.
    """
    saved: set[str] = set()
    for path in checkpoint.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            saved |= set(file.keys())
    peft = _peft_of(model)
    if peft is not None:
        # What they adapt is built anew; only they are saved, under names without their own.
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
    """Before anything is spent: adapters that no checkpoint could bring back.

    Raises:
        UserError: the model has such ones.
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
    """The names of weights that are missing, and of those that the model has not."""
    own = model.state_dict()
    # Of weights that are tied to one another the file has one.
    there = {own[name].data_ptr() for name in saved & own.keys()}
    never_saved = getattr(model, "_keys_to_ignore_on_save", None) or ()
    missing = {name for name, weight in own.items() if weight.data_ptr() not in there}
    missing.difference_update(never_saved)
    return missing, saved - own.keys()


def _peft_of(model: nn.Module) -> Any:
    """The module peft if the model is one of its own; whoever made one has imported it."""
    peft = sys.modules.get("peft")
    return peft if peft is not None and isinstance(model, peft.PeftModel) else None


def _some(names: set[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more
