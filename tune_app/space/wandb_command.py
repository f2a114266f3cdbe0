"""Reads the command line of a W&B sweep: its literal flags are values, nothing is ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tune_app.space.reader import Path, Reader

Flags = dict[str, tuple[Path, Any]]
"""Value by parameter name, with the place where it stands."""


def flags(document: Mapping[str, Any], reader: Reader) -> Flags:
    """The literal flags: `--epochs=3`, `--epochs 3`, and `--fp16`, which is true.

    Macros such as ${program} and ${args} and everything else is passed over, with a word.
    """
    command, found = document.get("command"), Flags()
    if "program" in document:
        reader.note(("program",), "not used: tune.trainable says what a trial runs")
    if command is None:
        return found
    if not isinstance(command, list):
        reader.problem(("command",), f"{command!r} is no command line", "a list of its words")
        return found
    words = [str(word) for word in command]
    for index, word in enumerate(words):
        if not word.startswith("--") or "$" in word:
            continue
        name, equals, text = word[2:].partition("=")
        follows = words[index + 1] if index + 1 < len(words) else "--"
        literal = not follows.startswith(("-", "$"))
        value = _value(text) if equals else (_value(follows) if literal else True)
        if name:
            found[name.replace("-", "_")] = (("command", index), value)
    told = ", ".join(f"{name}={json.dumps(value)}" for name, (_, value) in found.items())
    what = "not run: trials are started by Ray"
    reader.note(("command",), what + (f"; its flags are constants: {told}" if told else ""))
    return found


def _value(text: str) -> Any:
    """A word of a command line as the number or truth value it stands for, else as text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            found = kind(text)
        except ValueError:
            continue
        return found if abs(found) < float("inf") else text
    return text
