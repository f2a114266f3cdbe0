"""Reads the command line of a W&B sweep: its literal flags become values; it is never executed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from tune_app.space.reader import Path, Reader

Flags = dict[str, tuple[Path, Any]]
"""By parameter name, the key path and the value of a flag."""


def flags(document: Mapping[str, Any], reader: Reader) -> Flags:
    """The literal flags: `--epochs=3`, `--epochs 3`, and `--fp16`, which is true.

    Macros such as ${program} and ${args} and everything else is ignored, with a note.
    """
    command, literals = document.get("command"), Flags()
    if "program" in document:
        reader.note(("program",), "not used: tune.trainable names what a trial runs")
    if command is None:
        return literals
    if not isinstance(command, list):
        reader.problem(("command",), f"{command!r} is not a command line", "a list of its words")
        return literals
    words = [_word(word) for word in command]
    for index, word in enumerate(words):
        if not word.startswith("--") or "$" in word:
            continue
        raw, equals, text = word[2:].partition("=")
        follows = words[index + 1] if index + 1 < len(words) else "--"
        literal = bool(_NUMBER.fullmatch(follows)) or not follows.startswith(("-", "$"))
        value = _value(text) if equals else (_value(follows) if literal else True)
        name = raw if raw in (document.get("parameters") or ()) else raw.replace("-", "_")
        if not all(name.split(".")):
            reader.problem(("command", index), f"{word!r} names no parameter", "--name=value")
            continue
        if name in literals:
            reader.warn(("command", index), f"--{raw} is given twice: this one counts")
        literals[name] = (("command", index), value)
    constants = ", ".join(f"{name}={json.dumps(value)}" for name, (_, value) in literals.items())
    what = "not run: trials are started by Ray"
    reader.note(
        ("command",), what + (f"; its flags are constants: {constants}" if constants else "")
    )
    return literals


def _word(word: Any) -> str:
    """A word as a shell gets it: YAML has parsed some as numbers or booleans."""
    return json.dumps(word) if isinstance(word, (bool, type(None))) else str(word)


_NUMBER = re.compile(
    r"[-+]?(0|[1-9][0-9]{0,15}|([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?|[0-9]+[eE][-+]?[0-9]{1,3})"
)


def _value(text: str) -> Any:
    """A word of a command line as a number or boolean if it is one, else as text."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    whole = text.lstrip("+-").isdigit()
    return int(text) if whole else (number if math.isfinite(number) else text)
