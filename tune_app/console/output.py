"""Standard output for verbs that print once and end."""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_WIDTH = 240
"""Columns of a line that goes to a pipe or a file, where nothing needs to be squeezed."""


def stdout() -> Console:
    """As wide as the terminal; wide enough for any table where there is none."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(file=sys.stdout, highlight=False, width=width)
