"""Arguments and output that verbs share: `--storage`, a study's name, JSON."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, TextIO

from tune_app.console import commands
from tune_app.storage import places
from tune_app.storage.places import Storage


def add_storage(parser: argparse.ArgumentParser) -> None:
    """`--storage` and `--json`, for verbs that work on a storage."""
    parser.add_argument(
        "--storage",
        type=_storage,
        default=commands.DEFAULT_STORAGE,
        metavar="DIR",
        help="where studies live: a folder, or s3://BUCKET/PREFIX",
    )
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def add_name(parser: argparse.ArgumentParser) -> None:
    """The argument NAME of a study."""
    parser.add_argument("name", metavar="NAME", help="a study's name, as `list` shows it")


def _storage(text: str) -> Storage:
    return places.at(text)


def print_json(value: Any, stream: TextIO | None = None) -> None:
    """Prints strict JSON on `stream`, or on stdout.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    target = stream or sys.stdout
    json.dump(value, target, ensure_ascii=False, indent=2, allow_nan=False)
    target.write("\n")
