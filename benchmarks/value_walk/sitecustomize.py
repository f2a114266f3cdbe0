"""Notes where two values of a trial go, in each Python process that has this folder on its path.

A process writes one line for each file of the package at the first call that hands it the value:
the time in ns, the value's name, the file. A value is handed over when it is an argument, or in a
mapping that is one, or in a field of an argument, or in a mapping there. So a function that gets
the state of the whole study has not been handed it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

LEARNING_RATE = float(os.environ.get("VALUE_WALK_LEARNING_RATE", "nan"))
OUT = os.environ.get("VALUE_WALK_OUT")
PACKAGE = os.environ.get("VALUE_WALK_PACKAGE", "")
noted: set[tuple[str, str]] = set()


def handed_over(argument: object) -> Iterator[str]:
    """Names of the values that an argument carries."""
    for value in (argument, *_parts(argument)):
        if isinstance(value, float) and value == LEARNING_RATE:
            yield "learning_rate"
        if isinstance(value, Mapping):
            if value.get("learning_rate") == LEARNING_RATE:
                yield "learning_rate"
            if isinstance(value.get("eval_loss"), float):
                yield "eval_loss"


def _parts(argument: object) -> list[Any]:
    if is_dataclass(argument) and not isinstance(argument, type):
        return [getattr(argument, item.name, None) for item in fields(argument)]
    if isinstance(argument, Mapping):
        return list(argument.values())
    return []


def watch(frame: FrameType, event: str, _: object) -> None:
    """Called by Python at each call."""
    file = frame.f_code.co_filename
    if event != "call" or not file.startswith(PACKAGE):
        return
    count = frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount
    for name in frame.f_code.co_varnames[:count]:
        for value in handed_over(frame.f_locals.get(name)):
            note(value, file)


def note(value: str, file: str) -> None:
    """Writes the first time down."""
    if (value, file) not in noted:
        noted.add((value, file))
        with Path(OUT or os.devnull, f"{os.getpid()}").open("a", encoding="utf-8") as notes:
            notes.write(f"{time.time_ns()}\t{value}\t{file}\n")


if OUT:
    sys.setprofile(watch)
    threading.setprofile(watch)
